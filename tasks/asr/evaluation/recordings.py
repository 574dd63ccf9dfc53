"""The test manifest: whose recordings are evaluated, and what is left out."""

import collections
import dataclasses
from collections import abc

from lingvo_like import text_folding
from lingvo_like.base_models import base_model, labels
from lingvo_like.submodel import heard as heard_lib
from tasks.asr.data import preparation, rejections, text
from tasks.asr.evaluation import severity as severity_lib

# Why an utterance is left out that can be recognised.
HEARD = "the speaker's Submodel, or their cohort's, learned from this recording"


def read(
    base: base_model.BaseModel,
    path: str,
    selected: abc.Sequence[str] = (),
    strict: bool = False,
    normalizer: str = "none",
    trim_silence: bool = False,
    default_language: str = "",
) -> tuple[dict[int, preparation.SpeakerUtterances], rejections.Rejections]:
    """The test manifest's speakers, by slot, and what was left out.

    No utterance is left out for the length of its transcript, or for marks
    that the base model never writes: what training does not take is recognised
    and scored. Only where nobody can tell what was said, as in `[noise]`, is
    it left out.

    Args:
        selected: speaker ids; all of the manifest if empty.
        strict: refuse if any utterance is unusable.
        normalizer: `text.AUTO` or one of `text.NORMALIZERS`. An utterance
            without a word under it has no error rate and is left out.
        default_language: of utterances whose lines name none.

    Raises:
        ValueError: nothing is usable, a selected speaker has nothing usable,
            a speaker has two severities, or the base or the normaliser is not
            for the language of an utterance.
    """
    left_out = rejections.Rejections()
    by_speaker = collections.defaultdict(list)
    read_speakers = preparation.read_speakers(
        base,
        path,
        left_out,
        max_tokens=None,
        trim_silence=trim_silence,
        default_language=default_language,
    )
    for speaker, utterances in read_speakers.items():
        for utterance in utterances:
            try:
                chosen = text.choose(normalizer, utterance.language)
                _check_reference(utterance.text, chosen)
            except labels.UnwritableError as error:
                left_out.add(
                    path,
                    utterance.utt_id,
                    error.reason,
                    f"{speaker}: {error.detail}",
                )
            else:
                by_speaker[speaker].append(utterance)
    if strict:
        left_out.raise_if_any(f"manifest {path}")
    unknown = sorted(set(selected) - set(by_speaker))
    if unknown:
        raise ValueError(
            f"{path}: --speakers names {', '.join(unknown)}, who have no "
            "usable utterance there"
        )
    speakers = tuple(sorted(selected or by_speaker))
    if not speakers:
        raise ValueError(f"{path}: nothing usable: {left_out.summary()}")
    for speaker in speakers:
        _check_one_severity(path, speaker, by_speaker[speaker])
    return preparation.by_slot(speakers, by_speaker), left_out


def without_heard(
    data: dict[int, preparation.SpeakerUtterances],
    heard: abc.Mapping[str, abc.Set[str]],
    left_out: rejections.Rejections,
) -> dict[int, preparation.SpeakerUtterances]:
    """The utterances that a speaker's Submodel has not learned from.

    Args:
        heard: by speaker, `heard.keys` of recordings.
        left_out: grows by the others.

    Raises:
        ValueError: nothing is left.
    """
    kept = {}
    for slot, each in data.items():
        new = []
        for utterance in each.utterances:
            if heard_lib.keys([utterance.sha256]) & heard[each.speaker]:
                left_out.add(utterance.audio_filepath, utterance.utt_id, HEARD)
            else:
                new.append(utterance)
        if new:
            kept[slot] = dataclasses.replace(each, utterances=tuple(new))
    if not kept:
        raise ValueError(
            "nothing is left to evaluate: the Submodels learned from every "
            "recording of the test manifest, also under other names; record "
            "others, or split them with tasks.split_manifest"
        )
    return kept


def _check_reference(transcript, normalizer):
    """Refuses a transcript that does not tell which words were said."""
    labels.check_speech(text_folding.fold(transcript))
    if not text.normalize(transcript, normalizer):
        raise labels.UnwritableError(
            "no word in its transcript, as normalised for scoring",
            repr(transcript),
        )


def _check_one_severity(path, speaker, utterances):
    found = {}
    for each in utterances:
        severity = severity_lib.name(each.labelled_severity)
        found.setdefault(severity, each.utt_id)
    (severity, utt_id), *others = found.items()
    for other, other_id in others:
        raise ValueError(
            f"{path}: speaker {speaker!r} must have one severity, but "
            f"utterance {utt_id!r} has {severity!r} and {other_id!r} has "
            f"{other!r}; give all lines of a speaker the same"
        )
