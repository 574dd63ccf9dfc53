"""The plan of an enrolment: its values, its runs, and what each learns from.

A run is a slot of the job. Each speaker has a final run, which learns from all
of the speaker's utterances and is kept. Without dev utterances there are also
folds: runs that leave some texts out and show how well learning does on those.
"""

import dataclasses
import math
from collections import abc

from params import settings

MODES = ("zero_shot", "embedding", "full")
AUTO = "auto"
# What a speaker's error rate is measured on: utterances given for that, folds
# (such as leave-one-out), or a single text that is judged by itself.
EVIDENCE = DEV, FOLDS, OWN = "dev", "folds", "own"


@dataclasses.dataclass(frozen=True)
class Values(settings.Section):
    """How speakers are enrolled; tuned for seconds, not for minutes.

    Raises:
        ValueError: a value is out of its range; names it.
    """

    seed: int = settings.value(0, "Seed of all random draws.")
    embedding_steps: int = settings.value(
        6, "Steps that learn an embedding.", at_least=1
    )
    embedding_utterances: int = settings.value(
        1, "Utterances of a run in each of these steps.", at_least=1
    )
    embedding_learning_rate: float = settings.value(
        0.4,
        "Learning rate of embeddings, in units of the distance of the space's "
        "own speakers from their mean.",
        above=0,
    )
    embedding_neighbors: int = settings.value(
        8,
        "Nearest speakers of the space that an embedding may start at.",
        at_least=0,
    )
    full_steps: int = settings.value(
        40,
        "Steps that learn a whole Submodel, starting from the embedding's.",
        at_least=1,
    )
    full_utterances: int = settings.value(
        4, "Utterances of a run in each of these steps.", at_least=1
    )
    full_learning_rate: float = settings.value(
        1e-3, "Highest learning rate of full, after the warmup.", above=0
    )
    full_warmup_steps: int = settings.value(
        5, "Steps in which that rate rises from zero.", at_least=0
    )
    full_min_utterances: int = settings.value(
        15,
        "--mode=auto does not try full with fewer utterances.",
        at_least=1,
    )
    embedding_evaluations: int = settings.value(
        2,
        "Measurements of the held-out loss of embedding, after the one before "
        "the first step.",
        at_least=1,
    )
    full_evaluations: int = settings.value(4, "The same, of full.", at_least=1)
    good_loss: float = settings.value(
        0.02,
        "A speaker whose held-out loss is below this learns no further.",
        at_least=0.0,
    )
    min_gain: float = settings.value(
        0.02,
        "A speaker stops when the held-out loss has not fallen by this "
        "fraction within the patience of the mode.",
        below=1,
    )
    embedding_patience: int = settings.value(
        1, "Patience of embedding, in evaluations.", at_least=1
    )
    full_patience: int = settings.value(
        2, "Patience of full, in evaluations.", at_least=1
    )
    max_folds: int = settings.value(
        3,
        "Leave-one-out up to this many texts, then this many folds.",
        at_least=2,
    )
    runs_per_step: int = settings.value(
        12, "Runs of a speaker that share a step, at most.", at_least=1
    )
    speakers_per_step: int = settings.value(
        1,
        "Speakers that share a step. More are faster on an accelerator; on a "
        "CPU the empty places of a step cost as much as the others.",
        at_least=1,
    )
    speakers_per_job: int = settings.value(
        64, "Speakers that are enrolled at once.", at_least=1
    )
    min_seconds: float = settings.value(
        0.3, "Shorter recordings are left out.", at_least=0.0
    )
    # Each length is a compiled program, which an embedding's few steps are not
    # worth.
    bucket_seconds: float = settings.value(
        4.0,
        "Padded lengths are rounded up to this or its double; each is compiled "
        "once.",
        at_least=0.1,
    )
    full_bucket_seconds: float = settings.value(
        1.0, "The same, where full is tried.", at_least=0.1
    )


@dataclasses.dataclass(frozen=True)
class Run:
    """One slot of the job.

    Attributes:
        key: what its random streams are drawn by; unique in the job.
        train: indices of the speaker's utterances that it learns from.
        held_out: indices of the utterances that it is judged by.
        is_final: whether its result is what the speaker gets.
    """

    key: str
    speaker: str
    train: tuple[int, ...]
    held_out: tuple[int, ...]
    is_final: bool


def check_mode(mode: str, has_encoder: bool) -> None:
    """Refuses a mode that does not exist, or that the space cannot do.

    Raises:
        ValueError: lists the modes, or says what the space lacks.
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


def evidence(texts: abc.Collection[str], num_dev: int) -> str:
    """The evidence for a speaker's error rate, one of `EVIDENCE`."""
    if num_dev:
        return DEV
    return FOLDS if len(set(texts)) > 1 else OWN


def runs(
    speaker: str, texts: abc.Sequence[str], num_dev: int, max_folds: int
) -> list[Run]:
    """The runs of one speaker, the final one first.

    Args:
        texts: of the utterances to learn from, which come first. A fold leaves
            out all utterances of a text together: a run that has learned one
            knows the others.
        num_dev: number of utterances to be judged by, which follow.
    """
    everything = tuple(range(len(texts)))
    kind = evidence(texts, num_dev)
    held_out = {
        DEV: tuple(range(len(texts), len(texts) + num_dev)),
        FOLDS: (),
        OWN: everything,
    }[kind]
    result = [Run(speaker, speaker, everything, held_out, True)]
    if kind != FOLDS:
        return result
    numbers = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    num_folds = min(len(numbers), max_folds)
    for fold in range(num_folds):
        held_out = tuple(
            i for i in everything if numbers[texts[i]] % num_folds == fold
        )
        train = tuple(i for i in everything if i not in held_out)
        key = f"{speaker}\x1ffold{fold}"
        result.append(Run(key, speaker, train, held_out, False))
    return result


def modes_to_try(
    mode: str, has_encoder: bool, num_utterances: int, values: Values
) -> tuple[str, ...]:
    """The modes that compete for a speaker."""
    if mode != AUTO:
        return (mode,)
    modes = ("zero_shot",) if has_encoder else ()
    modes += ("embedding",)
    if num_utterances >= values.full_min_utterances:
        modes += ("full",)
    return modes


def bucket_seconds(
    modes: abc.Container[str], longest: float, values: Values
) -> float:
    """The length that a speaker's padded lengths are rounded up to.

    Args:
        longest: seconds of the speaker's longest utterance.
    """
    if "full" in modes:
        return values.full_bucket_seconds
    # One length for all utterances, unless that adds much silence.
    return values.bucket_seconds * min(
        2, math.ceil(longest / values.bucket_seconds)
    )


def evaluation_steps(num_steps: int, evaluations: int) -> list[int]:
    """The steps after which a held-out loss is measured, ascending.

    Each is half of the next one: few utterances are soon learned by heart.
    """
    return sorted({max(1, num_steps >> i) for i in range(evaluations)})


def even_places(counts: abc.Iterable[int], most: int) -> int:
    """The number of rows in a step that lets everybody finish soonest.

    A power of two: what speakers ask for has few shapes, each compiled once.

    Args:
        counts: number of rows of each padded length; lengths never mix.
    """
    counts = list(counts)

    def cost(places: int) -> int:
        # An empty place costs as much as a full one; a step costs about one
        # place more.
        return sum(-(-count // places) for count in counts) * (places + 1)

    largest = min(most, max(counts)).bit_length()
    return min((1 << i for i in reversed(range(largest))), key=cost)
