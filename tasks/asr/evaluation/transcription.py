"""Transcribes many speakers' utterances, each in a bucket of its own length."""

import tqdm

from params import schema
from tasks.asr.data import input_pipeline, schedule


def transcribe(base, speakers, step, places=4, utterances=4, title=""):
    """The text of every utterance.

    Args:
        base: the `BaseModel` that `step` decodes with.
        speakers: dict of slot to `SpeakerUtterances`.
        step: function of a batch, from `task.transcriber`.
        places, utterances: speakers of a batch, and utterances of each.
        title: str, of the progress bar.

    Returns:
        dict of (slot, utterance's index) to (text, score).
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
    groups = schedule.evaluation_groups(
        {
            slot: schedule.SpeakerData(
                slot,
                data.speaker,
                [round(u.duration * base.sample_rate) for u in data.utterances],
                base.bucket_samples,
                utterances,
                seed=0,
            )
            for slot, data in speakers.items()
        },
        places,
    )
    found = {}
    total = sum(len(data.utterances) for data in speakers.values())
    with tqdm.tqdm(total=total, desc=title, unit="utt") as progress:
        batches = input_pipeline.dataset(loader.batch, groups)
        for group, batch in zip(groups, batches, strict=True):
            texts, scores = (x.numpy() for x in step(batch))
            for place, minibatch in group.placed:
                for row, index in enumerate(minibatch.utterances):
                    found[minibatch.speaker, index] = (
                        texts[place, row].decode("utf-8", "replace"),
                        float(scores[place, row]),
                    )
                progress.update(len(minibatch.utterances))
    return found
