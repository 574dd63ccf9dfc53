"""The recordings that speakers enrol with and are judged by."""

import collections
import itertools
from collections import abc

from lingvo_like.base_models import base_model
from params import schema
from tasks import tables
from tasks.asr.data import inspection, preparation, rejections


def read(
    base: base_model.BaseModel,
    experiment: schema.Experiment,
    manifest: str,
    dev_manifest: str,
    speakers: abc.Collection[str],
    min_seconds: float,
) -> tuple[
    dict[str, preparation.SpeakerUtterances],
    dict[str, preparation.SpeakerUtterances],
    rejections.Rejections,
]:
    """The usable utterances of the speakers to enrol.

    Args:
        experiment: that the space was trained by.
        dev_manifest: may be empty.
        speakers: ids; all of the manifest if empty.

    Returns:
        utterances by speaker, to learn from and to be judged by, and what was
        left out.

    Raises:
        ValueError: a named speaker has no usable utterance, or nobody has, or
            a recording is in both manifests.
        OSError: a manifest is missing.
    """
    left_out = rejections.Rejections()
    read = preparation.reader(base, experiment, left_out)
    train = _long_enough(read(manifest), manifest, min_seconds, left_out)
    missing = sorted(set(speakers) - set(train))
    more = f" ({left_out.summary()})" if left_out else ""
    if missing:
        raise ValueError(
            f"{manifest}: no usable utterance of {', '.join(missing[:5])}{more}"
        )
    if not train:
        raise ValueError(f"{manifest}: nobody has a usable utterance{more}")
    preparation.remark_on_labels(base, manifest, train, left_out)
    dev = {}
    if dev_manifest:
        dev = read(dev_manifest)
        dev = _long_enough(dev, dev_manifest, min_seconds, left_out)
        _check_apart(train, dev, dev_manifest)
    chosen = sorted(set(speakers) or train)
    return _by_speaker(chosen, train), _by_speaker(chosen, dev), left_out


def _by_speaker(chosen, utterances):
    by_slot = preparation.by_slot(chosen, utterances)
    return {data.speaker: data for data in by_slot.values()}


def _long_enough(speakers, path, min_seconds, left_out):
    """Speakers' utterances that are long enough to learn from."""
    result = {}
    for speaker, utterances in speakers.items():
        kept = []
        for utterance in utterances:
            if utterance.duration >= min_seconds:
                kept.append(utterance)
            else:
                left_out.add(
                    utterance.audio_filepath,
                    utterance.utt_id,
                    "too short to learn from",
                    f"{utterance.duration:.2f} s, at least {min_seconds:g} s",
                )
        if kept:
            result[speaker] = kept
        else:
            left_out.add(path, speaker, inspection.NOTHING_USABLE)
    return result


def _check_apart(train, dev, path):
    """Refuses to judge by recordings to learn from: it would prove nothing."""
    learned = collections.defaultdict(list)
    for utterance in itertools.chain(*train.values()):
        learned[utterance.audio_filepath].append(utterance)
    both = sorted(
        utterance.utt_id
        for utterance in itertools.chain(*dev.values())
        # Two utterances may be parts of one recording.
        for other in learned[utterance.audio_filepath]
        if utterance.offset < other.offset + other.duration
        and other.offset < utterance.offset + utterance.duration
    )
    if both:
        raise ValueError(
            f"{path}: also among the recordings to learn from: "
            f"{tables.first_names(both)}; name others to judge by, or leave "
            "--dev_manifest away"
        )
