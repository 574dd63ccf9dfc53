"""Compares Submodels that trained together with Submodels that trained alone.

    python -m tests.benchmarks.equivalence [--base=BASE] [--work_dir=DIR]

The Submodels of 16 simulated speakers are trained in one job, and each of them
once more in a run of its own, with dropout, SpecAugment and speed perturbation
on. Then the whole model is fine-tuned for each speaker on the same data, to
see how far Submodels trail it. Every run makes the same number of updates from
the same minibatches.

A run alone has a step of the same shape as the joint run, with its other
places empty. So what a speaker's rows compute is the same to the bit, whoever
is beside them. A program of another shape (--alone_places=1) rounds
differently, and 200 training steps amplify that.
"""

import collections
import json
import pathlib

import numpy as np

from tests.benchmarks import jobs

AUGMENTATION = (
    "submodel.dropout_rate=0.1",
    "augment.speed_factors=0.9,1.0,1.1",
    "augment.num_freq_masks=1",
    "augment.num_time_masks=1",
    "augment.time_mask_max_frames=10",
)


def largest_difference(together, alone):
    """The largest difference between two tensors, relative to their scale.

    A tensor's scale is its largest absolute value in the run alone.
    """
    return max(
        float(
            np.abs(together[name] - value).max()
            / max(np.abs(value).max(), 1e-12)
        )
        for name, value in alone.items()
    )


def fine_tune_all(base_path, values, arguments, corpus, data):
    """Fine-tunes the whole model for each speaker: dict of speaker to errors.

    Each speaker's are kept in the work folder: what was cut off goes on.
    """
    from params import bases
    from tasks.asr.bases import training as base_training
    from tasks.asr.recognition import transcription

    totals = {}
    base = jobs.load_base(base_path, values)
    start = {k: v.numpy() for k, v in base.named_weights().items()}
    transcriber = transcription.Transcriber(base)
    trainer = None
    settings = {
        "base": base.fingerprint(),
        "steps": arguments.steps,
        "utterances": arguments.utterances,
        "learning_rate": arguments.fine_tune_learning_rate,
    }
    for slot, speaker in enumerate(corpus.speakers):
        kept = pathlib.Path(arguments.work_dir, f"fine_tuned_{slot}.json")
        if kept.exists():
            found = json.loads(kept.read_text())
            if found["settings"] == settings:
                totals[speaker] = tuple(found["errors"])
                continue
        speech = {speaker: list(corpus.train[slot].utterances)}
        if trainer is None:
            trainer = base_training.BaseTrainer(
                base,
                bases.BaseTraining(
                    num_steps=arguments.steps,
                    utterances_per_step=values.train.utterances_per_speaker,
                    learning_rate=arguments.fine_tune_learning_rate,
                    warmup_steps=10,
                    weight_decay=0.0,
                    eval_every_steps=10**9,
                ),
                values.augment,
            )
        for name, weight in base.named_weights().items():
            weight.assign(start[name])
        trainer.run(speech)
        totals |= jobs.word_errors(
            base,
            {slot: data[slot]},
            title=f"{speaker} fine-tuned",
            transcriber=transcriber,
        )
        kept.write_text(
            json.dumps({"settings": settings, "errors": totals[speaker]})
        )
    return totals


def main():
    parser = jobs.parser("equivalence", __doc__)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--speakers", type=int, default=16)
    parser.add_argument("--utterances", type=int, default=1)
    parser.add_argument("--places", type=int, default=2)
    # The paper's; at 32, Submodels trail full fine-tuning further.
    parser.add_argument("--bottleneck_dim", type=int, default=64)
    parser.add_argument("--alone_places", type=int, default=0)
    parser.add_argument("--fine_tune_learning_rate", type=float, default=3e-5)
    parser.add_argument("--no_fine_tuning", action="store_true")
    arguments = jobs.parse(parser)
    folder = jobs.simulate(
        f"{arguments.work_dir}/speech",
        num_speakers=arguments.speakers,
        utterances_per_speaker=90,
        dev_utterances=0,
        test_utterances=40,
        voices="0:22",
        seed=7,
    )
    values = jobs.experiment(
        "whisper.ShortAdapters",
        [
            f"train.num_steps={arguments.steps}",
            f"train.utterances_per_speaker={arguments.utterances}",
            f"train.speakers_per_step={arguments.places}",
            f"train.eval_every_steps={arguments.steps}",
            f"adapter.bottleneck_dim={arguments.bottleneck_dim}",
            *AUGMENTATION,
        ],
    )
    base = jobs.load_base(arguments.base, values)
    before = base.fingerprint()
    corpus = jobs.prepare(base, values, folder)
    data = jobs.test_data(base, folder / "test.jsonl", corpus.speakers)

    joint = jobs.Job(base, values, corpus, f"{arguments.work_dir}/joint")
    joint.trainer.run()
    alone_values = jobs.with_train(
        values, speakers_per_step=arguments.alone_places or arguments.places
    )
    # All single runs share a stack, so that the program compiles once; a run
    # steps only its own slot.
    shared = jobs.Job(
        base, alone_values, corpus, f"{arguments.work_dir}/alone/none"
    ).task
    files = collections.defaultdict(dict)
    differences = {}
    for slot, speaker in enumerate(corpus.speakers):
        single = jobs.Job(
            base,
            alone_values,
            corpus,
            f"{arguments.work_dir}/alone/{slot}",
            reuse=shared,
            selected=[slot],
        )
        single.trainer.run()
        files["joint"][speaker] = joint.tensors(speaker)
        files["alone"][speaker] = single.tensors(speaker)
        differences[speaker] = largest_difference(
            files["joint"][speaker], files["alone"][speaker]
        )
    errors = {"base": jobs.word_errors(base, data, title="base")}
    for kind, tensors in files.items():
        errors[kind] = jobs.word_errors(
            base,
            data,
            jobs.stack_of(
                base, tensors, corpus.speakers, joint.task.stack.layout
            ),
            title=kind,
        )
    untouched = base.fingerprint() == before
    if not arguments.no_fine_tuning:
        report(errors, differences, untouched)
        errors["fine-tuned"] = fine_tune_all(
            arguments.base, values, arguments, corpus, data
        )
    report(errors, differences, untouched)


def ratio_interval(above, below, num_bootstrap=1000):
    """The 95 % interval of the ratio, by resampling speakers.

    Args:
        above, below: dicts of the same speakers to (errors, words), of the
            same words.
    """
    errors = np.array([(above[s][0], below[s][0]) for s in above], float)
    draw = np.random.default_rng(0)
    drawn = errors[
        draw.integers(len(errors), size=(num_bootstrap, len(errors)))
    ].sum(axis=1)
    ratios = drawn[:, 0] / np.maximum(drawn[:, 1], 1.0)
    return [float(each) for each in np.percentile(ratios, (2.5, 97.5))]


def report(errors, differences, base_untouched):
    kinds = list(errors)
    print(
        f"{'speaker':<10} {'weights':>9} " + " ".join(f"{k:>10}" for k in kinds)
    )
    for speaker, difference in differences.items():
        rates = [jobs.rate({speaker: errors[k][speaker]}) for k in kinds]
        print(
            f"{speaker:<10} {difference:9.1e} "
            + " ".join(f"{value:10.2f}" for value in rates)
        )
    totals = {kind: jobs.rate(errors[kind]) for kind in kinds}
    print(
        f"{'all':<10} {max(differences.values()):9.1e} "
        + " ".join(f"{totals[k]:10.2f}" for k in kinds)
    )
    tuned = totals.get("fine-tuned")
    print(
        json.dumps(
            {
                "max_relative_weight_difference": max(differences.values()),
                "max_wer_difference_points": max(
                    abs(
                        jobs.rate({s: errors["joint"][s]})
                        - jobs.rate({s: errors["alone"][s]})
                    )
                    for s in differences
                ),
                "base_wer": totals["base"],
                "submodels_wer": totals["joint"],
                "fine_tuned_wer": tuned,
                "submodels_over_fine_tuned": (
                    totals["joint"] / tuned if tuned else None
                ),
                "submodels_over_fine_tuned_interval": (
                    ratio_interval(errors["joint"], errors["fine-tuned"])
                    if tuned
                    else None
                ),
                "base_untouched": base_untouched,
            }
        )
    )


if __name__ == "__main__":
    main()
