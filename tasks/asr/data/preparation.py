"""From manifests to what a job trains on: checked before hours of training.

Whatever cannot be used is left out with its reason, or refused as a whole
with `strict`; nothing goes silently.
"""

import collections
import dataclasses
import hashlib
import json

from tasks.asr.batches import input_pipeline
from tasks.asr.data import manifest, rejections


@dataclasses.dataclass(frozen=True)
class Corpus:
    """The speakers of a job with their utterances.

    Attributes:
        speakers: ids in slot order.
        train: dict of slot to `SpeakerUtterances`.
        dev: the same, for the speakers that have any.
        digests: dict of speaker to the SHA-256 of what it trains on.
        left_out: `Rejections`.
    """

    speakers: tuple[str, ...]
    train: dict
    dev: dict
    digests: dict
    left_out: rejections.Rejections


def prepare(base, experiment, train_manifest, dev_manifest="", strict=False):
    """Reads and checks the manifests of a job.

    Args:
        base: the `BaseModel`: its longest utterance, its tokens.
        experiment: `schema.Experiment`.
        train_manifest, dev_manifest: paths; no dev if empty.
        strict: refuse if anything is unusable.

    Raises:
        ValueError: nothing usable is left, or `strict` and something is not.
        OSError: a manifest is missing.
    """
    left_out = rejections.Rejections()
    train = read_speakers(
        base, train_manifest, left_out, experiment.augment.speed_factors
    )
    fewest = experiment.train.min_utterances
    for speaker, utterances in list(train.items()):
        if len(utterances) < fewest:
            left_out.add(
                train_manifest,
                speaker,
                "speaker has too few utterances",
                f"{len(utterances)}, train.min_utterances is {fewest}",
            )
            del train[speaker]
    dev = {}
    if dev_manifest:
        dev = read_speakers(base, dev_manifest, left_out)
    for speaker in sorted(set(dev) - set(train)):
        left_out.add(dev_manifest, speaker, "dev speaker is not in training")
        del dev[speaker]
    for speaker in sorted(set(train) - set(dev)) if dev_manifest else ():
        left_out.add(
            dev_manifest,
            speaker,
            "speaker has no dev utterance: trains all steps, keeps the last",
        )
    if strict:
        left_out.raise_if_any("the manifests")
    if not train:
        raise ValueError(
            f"{train_manifest}: no speaker is left to train: "
            f"{left_out.summary()}"
        )
    speakers = tuple(sorted(train))
    return Corpus(
        speakers=speakers,
        train=by_slot(base, speakers, train),
        dev=by_slot(base, speakers, dev),
        digests={
            speaker: digest(train[speaker], dev.get(speaker, []))
            for speaker in speakers
        },
        left_out=left_out,
    )


def read_speakers(base, path, left_out, speed_factors=(1.0,)):
    """A manifest's usable utterances: dict of speaker to a list.

    Speakers who have none are left out by name, beside their utterances.

    Args:
        base: the `BaseModel` that must be able to take them.
        path: the manifest.
        left_out: `Rejections`, which grows.
        speed_factors: factors of augmentation, which change lengths.
    """
    slowest = min(1.0, *speed_factors)
    fastest = 1.0 / max(1.0, *speed_factors)
    utterances, unusable = manifest.read(path)
    left_out.extend(unusable)
    before = utterances
    # A sample of margin for the rounding of a changed speed.
    longest = base.seconds(base.max_samples - 2) * slowest
    if slowest == 1.0:
        longest = base.seconds(base.max_samples)
    utterances, unusable = manifest.check_audio(utterances, longest)
    left_out.extend(unusable)
    speakers = collections.defaultdict(list)
    for utterance in utterances:
        try:
            tokens = base.tokenize(utterance.text)
        except ValueError as error:
            left_out.add(
                utterance.audio_filepath,
                utterance.utt_id,
                "transcript has what the base cannot write",
                str(error),
            )
            continue
        if not tokens:
            left_out.add(
                utterance.audio_filepath,
                utterance.utt_id,
                "transcript has nothing that the base can write",
                utterance.text[:40],
            )
        elif len(tokens) > base.max_tokens:
            left_out.add(
                utterance.audio_filepath,
                utterance.utt_id,
                "transcript longer than the base takes",
                f"{len(tokens)} tokens, base.max_tokens is {base.max_tokens}",
            )
        elif not base.fits(
            int(utterance.duration * base.sample_rate * fastest), tokens
        ):
            left_out.add(
                utterance.audio_filepath,
                utterance.utt_id,
                "too short for its transcript",
                f"{utterance.duration:.2f} s for {len(tokens)} tokens",
            )
        else:
            speakers[utterance.speaker].append(utterance)
    usable = [each for speaker in speakers.values() for each in speaker]
    manifest.name_lost(path, before, usable, left_out)
    return dict(speakers)


def by_slot(base, speakers, utterances):
    """Gives each speaker that has utterances its slot, with the tokens.

    Args:
        base: the `BaseModel` that tokenises.
        speakers: ids in slot order.
        utterances: dict of speaker to a list of `Utterance`.

    Returns:
        dict of slot to `SpeakerUtterances`.
    """
    return {
        slot: input_pipeline.SpeakerUtterances(
            speaker=speaker,
            slot=slot,
            utterances=tuple(utterances[speaker]),
            tokens=tuple(
                tuple(base.tokenize(u.text)) for u in utterances[speaker]
            ),
        )
        for slot, speaker in enumerate(speakers)
        if utterances.get(speaker)
    }


def digest(*utterances):
    """SHA-256 over lists of `Utterance`: their ids, texts and lengths."""
    content = [
        [(u.utt_id, u.text, round(u.duration, 4), u.offset) for u in part]
        for part in utterances
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
