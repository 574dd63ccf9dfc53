"""Texts of utterances by recognisers, and their errors with intervals."""

import dataclasses
from collections import abc

import numpy as np

from tasks.asr.data import preparation, text
from tasks.asr.evaluation import bootstrap, recordings, scoring
from tasks.asr.recognition import transcription

_NUM_BOOTSTRAP = 1000


@dataclasses.dataclass(frozen=True)
class Heard:
    """One utterance, and what each recogniser made of it, by its name."""

    speaker: str
    utt_id: str
    language: str
    reference: str
    hypotheses: dict[str, str]


def test_data(base, path):
    """The test utterances by slot, as `tasks.evaluate` takes them."""
    data, _ = recordings.read(base, str(path), normalizer=text.AUTO)
    return data


def transcribe(
    transcriber: transcription.Transcriber,
    data: abc.Mapping[int, preparation.SpeakerUtterances],
    name: str,
) -> list[Heard]:
    """The `Heard` of a recogniser, which gets that name."""
    found = transcriber.transcribe(data, name)
    return [
        Heard(
            each.speaker,
            each.utt_id,
            each.language,
            each.text,
            {name: found[slot, index].text},
        )
        for slot, speaker in data.items()
        for index, each in enumerate(speaker.utterances)
    ]


def counts(heard: abc.Iterable[Heard], name, by_letter=False):
    """By speaker, errors and words of each utterance: `[utterances, 2]`.

    Args:
        name: of the recogniser.
        by_letter: letters take the place of words; spaces are none.
    """
    speakers, references, hypotheses = [], [], []
    for each in sorted(heard, key=lambda h: (h.speaker, h.utt_id)):
        normalizer = text.choose(text.AUTO, each.language)
        texts = [
            text.normalize(words, normalizer)
            for words in (each.reference, each.hypotheses[name])
        ]
        if by_letter:
            texts = [" ".join(words.replace(" ", "")) for words in texts]
        if texts[0]:
            speakers.append(each.speaker)
            references.append(texts[0])
            hypotheses.append(texts[1])
    errors = scoring.word_errors(references, hypotheses)
    found = {}
    for row in zip(speakers, errors, references, strict=True):
        speaker, error, reference = row
        found.setdefault(speaker, []).append((error, len(reference.split())))
    return {speaker: np.array(rows) for speaker, rows in found.items()}


def figures(heard: abc.Sequence[Heard], name):
    """By speaker, the error rates in percent with their 95 % intervals."""
    found = {}
    for unit, by_letter in (("wer", False), ("cer", True)):
        for speaker, rows in counts(heard, name, by_letter).items():
            row = found.setdefault(speaker, {"utterances": len(rows)})
            errors, total = rows.sum(axis=0)
            rates = resampled(speaker, rows)
            row[unit] = 100.0 * float(errors / total)
            row[f"{unit}_interval"] = bootstrap.interval(100.0 * rates[:, 0])
    return found


def group_figures(heard: abc.Sequence[Heard], name, speakers):
    """The mean of some speakers' word error rates, in percent, and interval."""
    rows = {
        speaker: found
        for speaker, found in counts(heard, name).items()
        if speaker in speakers
    }
    rates = [found[:, 0].sum() / found[:, 1].sum() for found in rows.values()]
    drawn = bootstrap.draw_speakers(
        rows, np.stack([resampled(*item) for item in rows.items()]), seed=0
    )
    return {
        "wer": 100.0 * float(np.mean(rates)),
        "wer_interval": bootstrap.interval(100.0 * drawn[..., 0].mean(axis=1)),
        "speakers": len(rows),
    }


def resampled(speaker, rows):
    """A speaker's error rates `[draws, 1]`, in draws of the utterances.

    The draws depend on the speaker's name and the number of utterances alone,
    so that recognisers are compared on the same.
    """
    return bootstrap.speaker_rates(
        speaker, rows[:, 1], rows[:, :1], _NUM_BOOTSTRAP, seed=0
    )
