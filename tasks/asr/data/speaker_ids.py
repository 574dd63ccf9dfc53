"""Speaker ids that can be published: refused early, or mapped to allowed ones.

A speaker's id becomes the name under which a server finds the Submodel, so an
id that no store takes is found before anything is trained.
"""

import collections
import csv
import dataclasses
import hashlib
import io
import re
import unicodedata
from collections import abc

from lingvo_like.store import ids
from tasks import tables
from tasks.asr.data import manifest

MAP = "`--map_ids` of import_corpus and split_manifest makes allowed ids"
_SHOWN = 5
# Leaves room for what keeps two ids apart.
_MAX_LENGTH = 100


def check(
    places: abc.Sequence[str], utterances: abc.Sequence[manifest.Utterance]
) -> None:
    """Raises unless every speaker's id can be published.

    Args:
        places: where each utterance was found, such as `train.jsonl:7`.

    Raises:
        ValueError: names the ids that no store takes, and those that differ
            only in case, each with its first place.
    """
    first: dict[str, str] = {}
    for place, each in zip(places, utterances, strict=True):
        first.setdefault(each.speaker, place)
    odd = [speaker for speaker in first if not ids.is_valid(speaker)]
    if odd:
        raise ValueError(
            f"{_listed(odd, first)}: a speaker id {ids.RULE}. Change it, or "
            f"map it: {MAP}, and a table of them"
        )
    for alike in _alike(first):
        raise ValueError(
            f"{_listed(alike, first)}: these speaker ids differ only in case. "
            "Write one person's the same everywhere; if they are different "
            f"people, {MAP}"
        )


def mapped(
    utterances: abc.Sequence[manifest.Utterance],
) -> tuple[list[manifest.Utterance], dict[str, str]]:
    """The utterances with allowed speaker ids.

    Letters lose their accents, everything else that is not allowed becomes a
    dash, and digits of the id's SHA-256 follow: a person gets the same id in
    every manifest, and nobody else does. Ids that are allowed stay.

    Returns:
        the utterances, and each id that changed with the one it had before.
    """
    kept, new = set(), {}
    for speaker in sorted({each.speaker for each in utterances}):
        # The first of those that differ in case alone keeps its id.
        if ids.is_valid(speaker) and speaker.casefold() not in kept:
            kept.add(speaker.casefold())
        else:
            digest = hashlib.sha256(speaker.encode()).hexdigest()
            name = _readable(speaker) or "speaker"
            new[speaker] = f"{name}-{digest[:8]}"
    renamed = [
        dataclasses.replace(each, speaker=new.get(each.speaker, each.speaker))
        for each in utterances
    ]
    return renamed, {name: speaker for speaker, name in new.items()}


def table(names: abc.Mapping[str, str]) -> str:
    """CSV of the ids of `mapped` and what they were."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "speaker"])
    writer.writerows(names.items())
    return text.getvalue()


def describe(names: abc.Mapping[str, str], path: str) -> str:
    """Lines for a terminal on the ids of `mapped`, whose table is at `path`."""
    if not names:
        return ""
    changed = tables.counted(len(names), "speaker id")
    lines = [f"{changed} changed (table: {path}):"]
    each = [f"  {speaker} is {name}" for name, speaker in names.items()]
    lines += tables.shortened(each, _SHOWN, "  ... ")
    return "\n".join(lines) + "\n"


def _readable(speaker: str) -> str:
    plain = unicodedata.normalize("NFKD", speaker)
    plain = plain.encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._-]+|\.\.+", "-", plain)
    plain = re.sub(r"--+", "-", plain).strip("._-")[:_MAX_LENGTH]
    return plain if ids.is_valid(plain) else ""


def _alike(speakers: abc.Iterable[str]) -> list[list[str]]:
    groups = collections.defaultdict(list)
    for speaker in speakers:
        groups[speaker.casefold()].append(speaker)
    return [group for group in groups.values() if len(group) > 1]


def _listed(speakers: abc.Sequence[str], places: abc.Mapping[str, str]) -> str:
    named = [f"{places[each]}: {each!r}"[:200] for each in speakers]
    return "; ".join(tables.shortened(named, _SHOWN))
