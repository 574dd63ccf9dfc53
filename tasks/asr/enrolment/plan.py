"""What an enrolment does: its values, its runs, and what each learns from.

A run is a slot of the job. Each speaker has one that learns from all of the
speaker's utterances, which is kept; without dev utterances there are others,
the folds, that leave some texts out and say how well it goes on those.
"""

import dataclasses
import math

MODES = ("zero_shot", "embedding", "full")
AUTO = "auto"
# What a speaker's error rate was measured on.
DEV, FOLDS, OWN = "dev", "folds", "own"


@dataclasses.dataclass(frozen=True)
class Values:
    """How speakers are enrolled; tuned for seconds, not for minutes."""

    seed: int = 0
    # Steps that learn an embedding, and utterances of each step.
    embedding_steps: int = 6
    embedding_utterances: int = 1
    # In units of how far the space's own speakers lie from their mean.
    embedding_learning_rate: float = 0.4
    # How many of the space's speakers it may start at: the nearest ones.
    embedding_neighbors: int = 8
    # Steps in which all of a Submodel learns, from the embedding's point on.
    full_steps: int = 40
    full_utterances: int = 4
    full_learning_rate: float = 1e-3
    full_warmup_steps: int = 5
    # With fewer utterances "auto" does not try it.
    full_min_utterances: int = 15
    # How often a mode looks at its held-out loss, besides before it begins.
    embedding_evaluations: int = 2
    full_evaluations: int = 4
    # Nothing is learned or sought where the held-out loss is below it already.
    good_loss: float = 0.02
    # A speaker stops whose held-out loss has not sunk by such a part in so
    # many looks.
    min_gain: float = 0.02
    embedding_patience: int = 1
    full_patience: int = 2
    # Leave-one-out up to so many utterances, then so many folds.
    max_folds: int = 3
    # Runs that share a step.
    runs_per_step: int = 12
    speakers_per_job: int = 64
    # Shorter recordings are left out.
    min_seconds: float = 0.3
    # Padded lengths are rounded up to it, or its double: one compiled program
    # each, which a speaker's few steps are not worth, and the many of a full
    # slot are.
    bucket_seconds: float = 4.0
    full_bucket_seconds: float = 1.0


_LOWEST = {
    "embedding_steps": 1,
    "embedding_utterances": 1,
    "embedding_neighbors": 0,
    "full_steps": 1,
    "full_utterances": 1,
    "full_min_utterances": 1,
    "full_warmup_steps": 0,
    "embedding_evaluations": 1,
    "full_evaluations": 1,
    "embedding_patience": 1,
    "full_patience": 1,
    "max_folds": 2,
    "runs_per_step": 1,
    "speakers_per_job": 1,
    # Each padded length is a program.
    "bucket_seconds": 0.1,
    "full_bucket_seconds": 0.1,
}
_POSITIVE = ("embedding_learning_rate", "full_learning_rate")


@dataclasses.dataclass(frozen=True)
class Run:
    """One slot of the job.

    Attributes:
        key: str, what its random streams are drawn by; differs from others'.
        speaker: str.
        train: indices of the speaker's utterances that it learns from.
        held_out: indices of those that it is judged by.
        is_final: bool, whether it is what the speaker gets.
    """

    key: str
    speaker: str
    train: tuple[int, ...]
    held_out: tuple[int, ...]
    is_final: bool


def check(values):
    """Refuses values that no enrolment can run with.

    Raises:
        ValueError: names the value, what it must be and what came.
    """
    for name, lowest in _LOWEST.items():
        if getattr(values, name) < lowest:
            raise ValueError(
                f"`{name}` must be at least {lowest}. "
                f"Received: {getattr(values, name)}."
            )
    for name in _POSITIVE:
        if getattr(values, name) <= 0:
            raise ValueError(
                f"`{name}` must be positive. Received: {getattr(values, name)}."
            )
    if values.min_gain >= 1:
        raise ValueError(
            f"`min_gain` must be below 1. Received: {values.min_gain}."
        )


def check_mode(mode, has_encoder):
    """Refuses a mode that there is not, or that the space cannot do.

    Raises:
        ValueError: says which there are, or what the space lacks.
    """
    if mode not in (AUTO, *MODES):
        raise ValueError(
            f"the mode must be one of {', '.join((AUTO, *MODES))}. "
            f"Received: {mode!r}."
        )
    if mode == "zero_shot" and not has_encoder:
        raise ValueError(
            "zero_shot needs a space with a speaker encoder, and this one has "
            "none; take --mode=embedding, or train a space with "
            "space.speaker_encoder=true"
        )


def evidence(texts, num_dev):
    """What a speaker's error rate is measured on: DEV, FOLDS or OWN.

    Args:
        texts: of the utterances to learn from.
        num_dev: int, utterances to be judged by.
    """
    if num_dev:
        return DEV
    return FOLDS if len(set(texts)) > 1 else OWN


def runs(speaker, texts, num_dev, max_folds):
    """The runs of one speaker, the final one first.

    Args:
        speaker: str.
        texts: of the utterances to learn from, the first ones. Those of one
            text, of several microphones for instance, are left out together:
            who has learned one knows the others.
        num_dev: int, utterances to be judged by, after those.
        max_folds: int.

    Returns:
        list of `Run`. A single text with no other beside it is what the
        speaker is judged by too.
    """
    num_train = len(texts)
    everything = tuple(range(num_train))
    kind = evidence(texts, num_dev)
    held_out = ()
    if kind == DEV:
        held_out = tuple(range(num_train, num_train + num_dev))
    elif kind == OWN:
        held_out = everything
    result = [Run(speaker, speaker, everything, held_out, True)]
    if kind == FOLDS:
        places = {
            text: place for place, text in enumerate(dict.fromkeys(texts))
        }
        num_folds = min(len(places), max_folds)
        for fold in range(num_folds):
            held_out = tuple(
                i for i in everything if places[texts[i]] % num_folds == fold
            )
            result.append(
                Run(
                    f"{speaker}\x1ffold{fold}",
                    speaker,
                    tuple(i for i in everything if i not in held_out),
                    held_out,
                    False,
                )
            )
    return result


def modes_to_try(mode, has_encoder, num_utterances, values):
    """What a speaker may end with.

    Args:
        mode: one of `MODES`, or `AUTO`.
        has_encoder: bool, whether the space has a speaker encoder.
        num_utterances: int, of the speaker, to learn from.
        values: `Values`.
    """
    if mode != AUTO:
        return (mode,)
    modes = ("zero_shot",) if has_encoder else ()
    modes += ("embedding",)
    if num_utterances >= values.full_min_utterances:
        modes += ("full",)
    return modes


def bucket_seconds(modes, longest, values):
    """What the padded lengths of a speaker's utterances are rounded up to.

    Args:
        modes: what is tried.
        longest: float, seconds of the speaker's longest utterance.
        values: `Values`.
    """
    if "full" in modes:
        return values.full_bucket_seconds
    # One length for all of them, as far as that is little silence.
    return values.bucket_seconds * min(
        2, math.ceil(longest / values.bucket_seconds)
    )


def evaluation_steps(num_steps, evaluations):
    """The steps after which a held-out loss is taken, ascending.

    Each is half of the next one, since few utterances are soon learned by
    heart.
    """
    return sorted({max(1, num_steps >> i) for i in range(evaluations)})
