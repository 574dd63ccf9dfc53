"""From manifests to what a job trains on: checked before hours of training.

What cannot be used is left out with its reason, or refused as a whole with
`strict`. Nothing goes silently.
"""

import collections
import dataclasses
import functools
import hashlib
import itertools
import json
from collections import abc

from lingvo_like import text_folding
from lingvo_like.base_models import base_model, labels
from params import schema
from tasks.asr.data import inspection, languages, manifest, rejections

# Why a whole speaker is left out.
TOO_FEW = "speaker has too few utterances"


@dataclasses.dataclass(frozen=True)
class TokenizedUtterances:
    """Utterances with the tokens of their transcripts."""

    utterances: tuple[manifest.Utterance, ...]

    def num_samples(self, base: base_model.BaseModel) -> list[int]:
        """The length of each utterance, in samples."""
        return [base.num_samples(u.duration) for u in self.utterances]


@dataclasses.dataclass(frozen=True)
class SpeakerUtterances(TokenizedUtterances):
    """One speaker's utterances."""

    speaker: str
    slot: int

    @property
    def language(self) -> str:
        """The code of the language that they speak; "" where several."""
        found = {each.language for each in self.utterances}
        return found.pop() if len(found) == 1 else ""


# A speaker to the speaker's utterances, with their tokens.
BySpeaker = dict[str, list[manifest.Utterance]]
BySlot = dict[int, SpeakerUtterances]


@dataclasses.dataclass(frozen=True)
class Corpus:
    """The speakers of a job with their utterances.

    Attributes:
        speakers: ids in slot order.
        train, dev: by slot; in `dev` those speakers who have any.
        digests: speaker to the SHA-256 of what the speaker trains on.
        left_out: what cannot be used.
    """

    speakers: tuple[str, ...]
    train: BySlot
    dev: BySlot
    digests: dict[str, str]
    left_out: rejections.Rejections

    def utterances_by_speaker(
        self,
    ) -> dict[str, tuple[manifest.Utterance, ...]]:
        """The utterances that each speaker learns from."""
        return {data.speaker: data.utterances for data in self.train.values()}


def prepare(
    base: base_model.BaseModel,
    experiment: schema.Experiment,
    train_manifest: str,
    dev_manifest: str = "",
    strict: bool = False,
    checks_folder: str | None = None,
) -> Corpus:
    """Reads and checks the manifests of a job.

    Args:
        dev_manifest: "" if there is none.
        strict: refuse if anything is unusable.
        checks_folder: see `inspection.Decoding`.

    Raises:
        ValueError: nothing usable is left, or `strict` and something is not.
        OSError: a manifest is missing.
    """
    left_out = rejections.Rejections()
    read = reader(base, experiment, left_out, checks_folder)
    train = read(train_manifest, speed_factors=experiment.augment.speed_factors)
    fewest = experiment.train.min_utterances
    for speaker, utterances in list(train.items()):
        if len(utterances) < fewest:
            left_out.add(
                train_manifest,
                speaker,
                TOO_FEW,
                f"{len(utterances)}, train.min_utterances is {fewest}",
            )
            del train[speaker]
    remark_on_labels(base, train_manifest, train, left_out)
    dev = {}
    if dev_manifest:
        dev = read(dev_manifest)
        _compare(train, dev, dev_manifest, left_out)
    if strict:
        left_out.raise_if_any("the manifests")
    if not train:
        raise ValueError(
            f"{train_manifest}: no speaker is left to train: "
            f"{left_out.summary()}"
        )
    speakers = tuple(sorted(train))
    digests = {
        each: digest(train[each], dev.get(each, [])) for each in speakers
    }
    return Corpus(
        speakers,
        by_slot(speakers, train),
        by_slot(speakers, dev),
        digests,
        left_out,
    )


def _compare(
    train: BySpeaker,
    dev: BySpeaker,
    dev_manifest: str,
    left_out: rejections.Rejections,
) -> None:
    """Names the speakers of one manifest alone; they leave `dev`."""
    for speaker in sorted(set(dev) - set(train)):
        left_out.add(dev_manifest, speaker, "dev speaker is not in training")
        del dev[speaker]
    for speaker in sorted(set(train) - set(dev)):
        left_out.add(
            dev_manifest,
            speaker,
            "speaker has no dev utterance: trains all steps, keeps the last",
        )


def reader(
    base: base_model.BaseModel,
    experiment: schema.Experiment,
    left_out: rejections.Rejections,
    checks_folder: str | None = None,
) -> abc.Callable[..., BySpeaker]:
    """`read_speakers` for what an experiment learns from or is judged by.

    Args:
        left_out: grows with each manifest that is read.
        checks_folder: see `inspection.Decoding`.

    Returns:
        a function from a manifest's path to the utterances of each speaker. It
        also takes `speed_factors`.
    """
    return functools.partial(
        read_speakers,
        base,
        left_out=left_out,
        max_tokens=experiment.train.max_tokens,
        default_language=experiment.default_language,
        trim_silence=experiment.data.trim_silence,
        checks_folder=checks_folder,
    )


def read_speakers(
    base: base_model.BaseModel,
    path: str,
    left_out: rejections.Rejections,
    max_tokens: int | None,
    speed_factors: abc.Sequence[float] = (1.0,),
    default_language: str = "",
    trim_silence: bool = False,
    checks_folder: str | None = None,
) -> BySpeaker:
    """A manifest's utterances that the base can take, with their tokens.

    Speakers who have none are left out by name, beside their utterances. The
    utterances of a speaker are in the order of their ids.

    Args:
        left_out: grows.
        max_tokens: the most tokens of a transcript, `train.max_tokens`. None
            for utterances that are only recognised: they get no tokens, and
            whatever their transcripts say, they are kept.
        speed_factors: augmentation changes lengths by these.
        default_language: of utterances whose lines name none.
        trim_silence, checks_folder: see `inspection.Decoding`.

    Raises:
        ValueError: the base does not know an utterance's language, or as
            `inspection.read`.
        OSError: there is no such file.
    """
    slowest = min(1.0, *speed_factors)
    fastest = 1.0 / max(1.0, *speed_factors)
    # A sample of margin for the rounding of a changed speed.
    margin = 2 if slowest < 1.0 else 0
    longest = base.seconds(base.max_samples - margin) * slowest
    utterances, unusable = inspection.read(
        path,
        decoding=inspection.Decoding(longest, trim_silence, checks_folder),
        spoken=languages.Spoken(base.languages, default_language),
    )
    left_out.extend(unusable)
    speakers = collections.defaultdict(list)
    for each in utterances:
        if max_tokens is None:
            speakers[each.speaker].append(each)
            continue
        try:
            tokens = _tokens(base, each, fastest, max_tokens)
        except rejections.UnusableError as error:
            left_out.add(
                each.audio_filepath, each.utt_id, error.reason, error.detail
            )
        else:
            speakers[each.speaker].append(
                dataclasses.replace(each, tokens=tokens)
            )
    usable = [each for speaker in speakers.values() for each in speaker]
    inspection.name_lost(path, utterances, usable, left_out)
    # Nothing depends on the order of a manifest's lines.
    return {
        speaker: sorted(each, key=lambda utterance: utterance.utt_id)
        for speaker, each in speakers.items()
    }


def _tokens(
    base: base_model.BaseModel,
    utterance: manifest.Utterance,
    fastest: float,
    max_tokens: int,
) -> tuple[int, ...]:
    """The transcript's tokens; an error where the base cannot write them.

    Args:
        fastest: what the fastest speech leaves of the duration.
    """
    try:
        tokens = tuple(base.tokenize(utterance.text))
    except labels.UnwritableError as error:
        raise rejections.UnusableError(error.reason, error.detail) from None
    if not tokens or not text_folding.is_word(utterance.text):
        raise rejections.UnusableError(
            "transcript has nothing that the base can write",
            utterance.text[:40],
        )
    if len(tokens) > base.max_tokens:
        raise rejections.UnusableError(
            "transcript longer than the base model can write",
            f"{len(tokens)} tokens, it writes at most {base.max_tokens}",
        )
    if len(tokens) > max_tokens:
        raise rejections.UnusableError(
            "transcript longer than training takes",
            f"{len(tokens)} tokens, train.max_tokens is {max_tokens}; "
            f"--set=train.max_tokens={len(tokens)} takes it",
        )
    num_samples = int(utterance.duration * base.sample_rate * fastest)
    if not base.fits(num_samples, list(tokens)):
        raise rejections.UnusableError(
            "too short for its transcript",
            f"{utterance.duration:.2f} s for {len(tokens)} tokens",
        )
    return tokens


def remark_on_labels(
    base: base_model.BaseModel,
    path: str,
    speakers: BySpeaker,
    left_out: rejections.Rejections,
) -> None:
    """Adds one remark on transcripts that are learnt without their marks.

    Args:
        path: of their manifest.
        speakers: from `read_speakers`.
        left_out: grows.
    """
    marks, first, count = set(), None, 0
    for utterance in itertools.chain(*speakers.values()):
        text = text_folding.fold(utterance.text)
        lost = set(filter(text_folding.is_mark, text))
        # Whisper tokenizes a text to label it, and many texts have no marks.
        if lost:
            lost -= set(base.label(text))
        if lost:
            count += 1
            first = first or utterance
            marks |= lost
    if first:
        left_out.remark(
            path,
            f"{first.utt_id} first",
            "transcripts are learnt without marks that the base never writes",
            f"{count} of them: {' '.join(sorted(marks))}",
        )


def by_slot(
    speakers: abc.Sequence[str],
    utterances: abc.Mapping[str, abc.Sequence[manifest.Utterance]],
) -> BySlot:
    """By slot, for speakers in slot order who have utterances."""
    return {
        slot: SpeakerUtterances(tuple(utterances[speaker]), speaker, slot)
        for slot, speaker in enumerate(speakers)
        if utterances.get(speaker)
    }


def digest(*utterances: abc.Iterable[manifest.Utterance]) -> str:
    """SHA-256 over utterances: their ids, texts, lengths and languages."""
    content = [
        [
            (u.utt_id, u.text, round(u.duration, 4), u.offset, u.language)
            for u in part
        ]
        for part in utterances
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
