"""Kinds of Submodel at equal numbers of parameters.

    python -m tests.benchmarks.kinds [--work_dir=DIR] [--sizes=0.05,0.2,0.8]

Each kind (adapters on outputs of the encoder, and of encoder and decoder, LoRA
on projections, rotations of their singular directions, biases, scales) is
trained at each size, in percent of the base's parameters, on real voices, on
the same voices altered as a severe disorder would, and on simulated severe
speakers (extra `simulate`), all in one job. Of a kind's choices of sites, the
first that comes near the size is taken, with the largest rank that fits. Biases
and scales have a natural most, one value for each output of every site: a row
for which more was allowed is marked `most`.

The learning rate of a kind is one of --learning_rates: the one with the least
loss on dev texts, at --rate_size and under the first of --seeds. The figures
are the mean word error rates of a group's speakers on texts that were not
heard, over seeds. A kind's score is the mean over groups of its error over the
base's.
What is done is kept in DIR: `--only=lora` takes the rows of some kinds.
"""

import json
import pathlib

import numpy as np

from tasks.asr import layouts
from tasks.asr.data import manifest
from tasks.asr.recognition import transcription
from tests.benchmarks import (
    heard as heard_lib,
    jobs,
    kinds_of_a_size,
    real_speech,
)


def parse():
    parser = real_speech.parser("kinds", __doc__, "asterisk-en,asterisk-es")
    parser.add_argument("--sizes", default="0.05,0.2,0.8", help="percent")
    parser.add_argument(
        "--rate_size",
        default="0.2",
        help="the size at which learning rates are compared (%(default)s)",
    )
    parser.add_argument("--only", default="", help="some of the kinds")
    parser.add_argument("--learning_rates", default="5e-4,2e-3,8e-3")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--simulated_speakers", type=int, default=4)
    parser.add_argument("--simulated_utterances", type=int, default=100)
    parser.add_argument(
        "--no_altered", action="store_true", help="without altered voices"
    )
    arguments = parser.parse_args()
    for name in ("sizes", "only", "learning_rates", "seeds"):
        values = getattr(arguments, name).split(",")
        setattr(arguments, name, [each for each in values if each])
    arguments.only = arguments.only or list(kinds_of_a_size.CHOICES)
    for kind in arguments.only:
        if kind not in kinds_of_a_size.CHOICES:
            known = ", ".join(kinds_of_a_size.CHOICES)
            parser.error(f"unknown kind {kind!r}: {known}")
    return arguments


def speech(arguments):
    """The manifests by split, and the speakers of each group."""
    folder = pathlib.Path(arguments.work_dir)
    spoken = real_speech.voices(arguments)
    sources = {"real": spoken}
    every = [each for split in real_speech.SPLITS for each in spoken[split]]
    if not arguments.no_altered:
        path = real_speech.write(arguments, "to_alter", every)
        altered = jobs.simulate(
            folder / "altered", manifest=path, severities="severe"
        )
        sources["altered"] = read(altered)
    if arguments.simulated_speakers:
        count = arguments.simulated_utterances
        simulated = jobs.simulate(
            folder / "simulated",
            num_speakers=arguments.simulated_speakers,
            severities="severe",
            utterances_per_speaker=count,
            dev_utterances=max(count // 10, 1),
            test_utterances=max(count // 4, 1),
        )
        sources["simulated"] = read(simulated)
    groups = {
        name: sorted({each.speaker for each in found["test"]})
        for name, found in sources.items()
    }
    manifests = {
        split: real_speech.write(
            arguments,
            split,
            [each for found in sources.values() for each in found[split]],
        )
        for split in real_speech.SPLITS
    }
    return manifests, groups


def read(folder):
    """The utterances of a corpus's folder, by split."""
    return {
        split: manifest.read_lines(folder / f"{split}.jsonl").utterances
        for split in real_speech.SPLITS
    }


class Runs:
    """The runs of the benchmark, each made once."""

    def __init__(self, arguments):
        self._arguments = arguments
        self.manifests, self.groups = speech(arguments)
        self._short, _ = real_speech.short_base(
            arguments, self.manifests["train"]
        )
        self.base = jobs.load_base(self._short, real_speech.experiment([]))
        self._data = heard_lib.test_data(self.base, self.manifests["test"])
        self.num_base_values = real_speech.num_base_values(self.base)
        self.base_errors = self._errors("base", None, [])

    def train(self, kind, fitted, learning_rate, seed):
        """Trains a kind; returns the folder and the mean loss on dev texts.

        Sizes beyond a kind's most share their runs.
        """
        arguments = self._arguments
        settings = [
            f"train.num_steps={arguments.steps}",
            f"train.seed={seed}",
            f"optimizer.learning_rate={learning_rate}",
            *arguments.set,
            *fitted.overrides,
        ]
        name = f"{kind}_{fitted.num_values}_{learning_rate}_{seed}"
        folder = pathlib.Path(arguments.work_dir, "runs", name)
        real_speech.train(folder, self._short, self.manifests, settings)
        files = jobs.submodels(folder)
        losses = [file.metadata.training["dev_loss"] for file in files.values()]
        if any(loss is None for loss in losses):
            raise SystemExit(f"{folder}: a Submodel has no dev speech")
        return folder, float(np.mean(losses))

    def errors(self, folder, fitted):
        """By group, the error rates of a run's Submodels."""
        experiment = real_speech.experiment(
            [*self._arguments.set, *fitted.overrides]
        )
        stack = jobs.stack_of_run(
            self.base,
            folder,
            self._data,
            layouts.of(self.base.sites, experiment),
        )
        return self._errors(
            folder.name, stack, real_speech.digest_of_run(folder)
        )

    def _errors(self, name, stack, digests):
        settings = [
            self.base.fingerprint(),
            real_speech.digest(self.manifests["test"]),
            digests,
        ]

        def hear():
            heard = heard_lib.transcribe(
                transcription.Transcriber(self.base, stack),
                self._data,
                "heard",
            )
            return {
                group: heard_lib.group_figures(heard, "heard", speakers)
                for group, speakers in self.groups.items()
            }

        folder = pathlib.Path(self._arguments.work_dir, "errors")
        return real_speech.kept(folder / f"{name}.json", settings, hear)


def fit(runs, arguments, kind, size):
    """The sites and the rank of a kind at a size; None if nothing fits."""
    budget = int(runs.num_base_values * float(size) / 100.0)
    return kinds_of_a_size.fit(
        runs.base.sites, kinds_of_a_size.CHOICES[kind], budget, arguments.set
    )


def dev_losses(runs, arguments, kind):
    """By learning rate, the mean loss on dev texts at --rate_size."""
    fitted = fit(runs, arguments, kind, arguments.rate_size)
    if fitted is None:
        raise SystemExit(
            f"{kind}: nothing fits --rate_size={arguments.rate_size}"
        )
    return {
        rate: runs.train(kind, fitted, rate, arguments.seeds[0])[1]
        for rate in arguments.learning_rates
    }


def row_of(runs, arguments, kind, size, losses):
    """Trains and tests a kind at a size: its row; None if nothing fits.

    Args:
        losses: on dev texts, by learning rate.
    """
    fitted = fit(runs, arguments, kind, size)
    if fitted is None:
        return None
    rate = min(losses, key=lambda each: losses[each])
    folders = [
        runs.train(kind, fitted, rate, seed)[0] for seed in arguments.seeds
    ]
    by_seed = [runs.errors(folder, fitted) for folder in folders]
    groups = {
        group: {
            "wer": float(np.mean([each[group]["wer"] for each in by_seed])),
            "wer_by_seed": [each[group]["wer"] for each in by_seed],
            "intervals_by_seed": [
                each[group]["wer_interval"] for each in by_seed
            ],
        }
        for group in runs.groups
    }
    base = runs.base_errors
    return {
        "kind": kind,
        "size": float(size),
        "percent": 100.0 * fitted.num_values / runs.num_base_values,
        "num_values": fitted.num_values,
        "is_most": fitted.is_most,
        "settings": fitted.overrides,
        "learning_rate": float(rate),
        "dev_losses": losses,
        "groups": groups,
        "score": score(groups, base),
    }


def score(groups, base):
    """The mean of a kind's errors over the base's, of groups where it errs."""
    ratios = [
        row["wer"] / base[group]["wer"]
        for group, row in groups.items()
        if base[group]["wer"]
    ]
    return float(np.mean(ratios)) if ratios else 1.0


def table(rows, groups, base):
    """Prints kind x size x group."""
    head = f"{'kind':<16} {'size %':>7} {'is %':>7} {'':<5} {'rate':>7}"
    print(head + "".join(f"{g:>11}" for g in groups) + f"{'score':>8}")
    print(
        f"{'base':<45} "
        + "".join(f"{base[g]['wer']:11.1f}" for g in groups)
        + f"{1:8.2f}"
    )
    for row in rows:
        print(
            f"{row['kind']:<16} {row['size']:7.2f} {row['percent']:7.3f} "
            f"{'most' if row['is_most'] else '':<5} "
            f"{row['learning_rate']:7.0e}"
            + "".join(f"{row['groups'][g]['wer']:11.1f}" for g in groups)
            + f"{row['score']:8.2f}"
        )


def main():
    arguments = parse()
    runs = Runs(arguments)
    rows = []
    for kind in arguments.only:
        losses = dev_losses(runs, arguments, kind)
        for size in arguments.sizes:
            row = row_of(runs, arguments, kind, size, losses)
            if row:
                rows.append(row)
            else:
                print(f"{kind}: nothing fits {size} %")
    rows.sort(key=lambda row: row["size"])
    table(rows, runs.groups, runs.base_errors)
    # A kind that has no row at some size cannot win over all sizes.
    scores = {
        kind: float(np.mean(found))
        for kind in arguments.only
        if len(found := [r["score"] for r in rows if r["kind"] == kind])
        == len(arguments.sizes)
    }
    print(
        json.dumps(
            {
                "winner": (
                    min(scores, key=lambda kind: scores[kind])
                    if scores
                    else None
                ),
                "winner_by_size": {
                    size: min(
                        (r for r in rows if r["size"] == size),
                        key=lambda row: row["score"],
                    )["kind"]
                    for size in sorted({row["size"] for row in rows})
                },
                "scores": scores,
                "base": runs.base_errors,
                "rows": rows,
            }
        )
    )


if __name__ == "__main__":
    main()
