"""Cohorts: speakers who share one Submodel, trained on all their speech.

It is the baseline that a personal Submodel has to beat, and its usual start. A
job trains it as the Submodel of one more speaker, whose id no person can have.
"""

import collections
import dataclasses
from collections import abc

from tasks import tables
from tasks.asr.data import manifest, preparation

# One cohort of everybody, or one for each value of a field of the manifest.
ALL = "all"
FIELDS = ("language", "etiology", "severity")
BY = (ALL, *FIELDS)
# The ids of people begin with a letter or a digit.
ID = "_cohort"


def is_cohort(speaker: str) -> bool:
    """Whether an id is that of a cohort."""
    return speaker == ID or speaker.startswith(f"{ID}.")


def title(cohort: str) -> str:
    """A cohort's id in words, such as "cohort of language es"."""
    _, *parts = cohort.split(".", 2)
    return " ".join(["cohort", *(["of", *parts] if parts else [])])


def of_speaker(
    utterances: abc.Iterable[manifest.Utterance], by: str
) -> str | None:
    """The id of a speaker's cohort; None without the field.

    Args:
        utterances: of the speaker, who belongs where most of them do.
    """
    if by == ALL:
        return ID
    values = collections.Counter(
        filter(None, (_value(u, by) for u in utterances))
    )
    if not values:
        return None
    value, _ = min(values.items(), key=lambda item: (-item[1], item[0]))
    return f"{ID}.{by}.{value}"


def find(
    utterances: abc.Sequence[manifest.Utterance],
    cohorts: abc.Collection[str],
) -> str | None:
    """The one of some cohorts' ids that a speaker belongs to, if any does."""
    kinds = {ALL if each == ID else each.split(".")[1] for each in cohorts}
    for by in sorted(kinds, key=BY.index):
        if (cohort := of_speaker(utterances, by)) in cohorts:
            return cohort
    return None


@dataclasses.dataclass(frozen=True)
class Cohorts:
    """The cohorts of a job.

    Attributes:
        by: one of `BY`.
        members: by the cohort's id, the slots of its speakers.
        alone: speakers whose cohort would be themselves.
        without: speakers whose recordings lack the field.
    """

    by: str
    members: dict[str, tuple[int, ...]]
    alone: tuple[str, ...]
    without: tuple[str, ...]

    def describe(self) -> str:
        """One line on the cohorts that are trained, and on who is in none."""
        sizes = [
            f"{title(cohort)} ({tables.counted(len(slots), 'speaker')})"
            for cohort, slots in self.members.items()
        ]
        parts = [f"trained first: {tables.first_names(sizes, 8)}"]
        if self.alone:
            names = tables.first_names(self.alone)
            parts.append(f"nobody shares the {self.by} of {names}")
        if self.without:
            names = tables.first_names(self.without)
            parts.append(f"no {self.by} is given of {names}")
        return "; ".join(parts)


def check(by: str) -> None:
    """Raises a ValueError for what is none of `BY`."""
    if by not in BY:
        raise ValueError(
            f"--cohort must be one of {', '.join(BY)}. Received: {by!r}."
        )


def group(corpus: preparation.Corpus, by: str) -> Cohorts:
    """The cohorts of a corpus.

    Raises:
        ValueError: there is no such field or no line has it, or no two
            speakers are in one cohort.
    """
    check(by)
    members, without = collections.defaultdict(list), []
    for slot, data in sorted(corpus.train.items()):
        cohort = of_speaker(data.utterances, by)
        if cohort is None:
            without.append(data.speaker)
        else:
            members[cohort].append(slot)
    if not members:
        there = [
            field
            for field in FIELDS
            if any(
                _value(u, field)
                for d in corpus.train.values()
                for u in d.utterances
            )
        ]
        raise ValueError(
            f"--cohort={by}: no line of the train manifest has `{by}`; they "
            f"have {' and '.join(there) or 'none of such fields'}, and "
            "--cohort makes one cohort of everybody"
        )
    alone = [
        corpus.train[slots[0]].speaker
        for slots in members.values()
        if len(slots) == 1
    ]
    kept = {c: tuple(s) for c, s in sorted(members.items()) if len(s) > 1}
    if not kept:
        raise ValueError(
            f"--cohort: a cohort of one speaker ({tables.first_names(alone)}) "
            "would be that speaker's own Submodel; train without the flag, or "
            "on more speakers"
        )
    return Cohorts(by, kept, tuple(alone), tuple(without))


def corpus_of(
    corpus: preparation.Corpus, cohorts: Cohorts
) -> preparation.Corpus:
    """The speech of each cohort as that of one speaker."""
    names = tuple(cohorts.members)
    train, dev = (
        preparation.by_slot(
            names,
            {
                cohort: _joined(data, slots)
                for cohort, slots in cohorts.members.items()
            },
        )
        for data in (corpus.train, corpus.dev)
    )
    digests = {
        data.speaker: preparation.digest(
            data.utterances, dev[slot].utterances if slot in dev else ()
        )
        for slot, data in train.items()
    }
    return preparation.Corpus(names, train, dev, digests, corpus.left_out)


def _joined(data, slots):
    return [
        # An id is unique among the utterances of one speaker.
        dataclasses.replace(each, utt_id=f"{each.speaker}/{each.utt_id}")
        for slot in slots
        if slot in data
        for each in data[slot].utterances
    ]


def _value(utterance, field):
    if field == "severity":
        return utterance.labelled_severity or ""
    return getattr(utterance, field)
