"""Transcribes many speakers' utterances, each in a bucket of its own length."""

import numpy as np
import tqdm

from params import schema
from tasks.asr.batches import input_pipeline, schedule
from tasks.asr.training import task
from tpu.distribute import replicas as replicas_lib


def transcriber(base, stack=None, beam_size=1, replicas=None):
    """The step of evaluation on some replicas; see `task.transcriber`.

    Args:
        base: a `BaseModel`.
        stack: the `Stack` of the Submodels; None for the base model alone.
        beam_size: int, 1 for greedy.
        replicas: `Replicas` that base and stack were made on; None for one.

    Returns:
        a function of a list of batches, one for each replica of this process,
        that returns a list of their texts and scores, `[s, u]` each.
    """
    if replicas is None or replicas.is_plain:
        step = task.transcriber(base, stack, beam_size)
        return lambda batches: [step(batch) for batch in batches]
    recognize = replicas.replicate(task.recognizer(base, stack, beam_size))

    def transcribe(batches):
        result = []
        for batch, found in zip(batches, recognize(batches), strict=True):
            tokens, lengths, scores = found
            shape = batch["lengths"].shape
            # An accelerator has no strings.
            texts = base.detokenize(tokens, lengths).numpy().reshape(shape)
            result.append((texts, scores.reshape(shape)))
        return result

    return transcribe


def transcribe(
    base, speakers, step, places=4, utterances=4, title="", replicas=None
):
    """The text of every utterance.

    Args:
        base: the `BaseModel` that `step` decodes with.
        speakers: dict of slot to `SpeakerUtterances`.
        step: function from `transcriber`; for one replica also a function of
            a batch, from `task.transcriber`.
        places, utterances: speakers of a batch, and utterances of each.
        title: str, of the progress bar.
        replicas: `Replicas` that share the utterances; None for one.

    Returns:
        dict of (slot, utterance's index) to (text, score), in every process.
    """
    loader = input_pipeline.Loader(
        speakers,
        base.sample_rate,
        base.max_tokens,
        places,
        utterances,
        schema.Augment(),
        seed=0,
    )
    schedules = {
        slot: schedule.MinibatchSchedule(
            slot,
            data.speaker,
            [round(u.duration * base.sample_rate) for u in data.utterances],
            base.bucket_samples,
            utterances,
            seed=0,
        )
        for slot, data in speakers.items()
    }
    total = sum(len(data.utterances) for data in speakers.values())
    if replicas is None:
        replicas, of_batch = replicas_lib.Replicas(), step

        def step(batches):
            return [of_batch(batch) for batch in batches]

    found = {}
    with tqdm.tqdm(total=total, desc=title, unit="utt") as progress:
        for groups, batches in _steps(schedules, loader, places, replicas):
            for group, result in zip(groups, step(batches), strict=True):
                texts, scores = map(np.asarray, result)
                for place, minibatch in group.placed:
                    for row, index in enumerate(minibatch.utterances):
                        found[minibatch.slot, index] = (
                            texts[place, row].decode("utf-8", "replace"),
                            float(scores[place, row]),
                        )
                    progress.update(len(minibatch.utterances))
    rows = [[*key, *value] for key, value in found.items()]
    return {
        (slot, index): (text, score)
        for of_process in replicas.workers.gather(rows)
        for slot, index, text, score in of_process
    }


def _steps(schedules, loader, places, replicas):
    """Yields the groups of this process's replicas, and their batches."""
    local = replicas.local
    parts = [
        schedule.split(group, replicas.num_replicas, places)[
            local.start : local.stop
        ]
        for group in schedule.evaluation_groups(
            schedules, places * replicas.num_replicas
        )
    ]
    batches = iter(
        input_pipeline.dataset(
            loader.batch, [group for groups in parts for group in groups]
        )
    )
    for groups in parts:
        yield groups, [next(batches) for _ in groups]
