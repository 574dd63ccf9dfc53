"""The part of a run that goes on when its manifests have changed.

A speaker keeps its slot for as long as the run is there. One whose lines are
gone, or whose recordings are others now, trains no further; everybody else goes
on as they would have.
"""

import contextlib
import dataclasses
from collections import abc
from typing import Any

from lingvo_like import files
from params import schema
from tasks import tables
from tasks.asr.data import inspection, preparation
from tasks.asr.training import checkpoint, model_directory, run_description

CHANGED = (
    "the recordings or the texts are not those that the run began with; train "
    "in another --model_dir with the new ones, or with --start_from"
)
LOST = "no recording is left that can be used"

# What a run keeps of its description, whatever the manifests are now.
_OF_THE_RUN = ("data", "start", "cohort", "cohorts_by")


@dataclasses.dataclass(frozen=True)
class Continuation:
    """A job as it begins or goes on.

    Attributes:
        corpus: by the run's own slots, of the speakers who go on.
        description: what `experiment.json` is to hold.
        begins: whether the job is a new one, also in the folder of a run whose
            Submodels its speakers start from.
        withdrawn: speakers whose lines are gone from the manifests.
        set_aside: slots that cannot go on, with the reason.
    """

    corpus: preparation.Corpus
    description: dict[str, Any]
    begins: bool = False
    withdrawn: tuple[str, ...] = ()
    set_aside: dict[int, str] = dataclasses.field(default_factory=dict)


def of_run(
    directory: model_directory.ModelDirectory,
    saved: dict[str, Any] | None,
    description: dict[str, Any],
    corpus: preparation.Corpus,
    experiment: schema.Experiment,
) -> Continuation:
    """How a job goes on in a folder, or that it begins there.

    Args:
        saved: from `ModelDirectory.read_experiment`.
        description: of the run that is asked for.
        corpus: what the manifests have now.

    Raises:
        ValueError: the folder has another run.
    """
    if saved is None:
        return Continuation(corpus, description, begins=True)
    if _begins_anew(directory, saved, description, experiment):
        return Continuation(corpus, description, begins=True)
    begins = not (
        checkpoint.count(directory.checkpoints) or directory.has_submodels()
    )
    if begins:
        # Nobody has learned anything.
        saved = saved | {
            name: description[name]
            for name in _OF_THE_RUN
            if name in description
        }
    missing = run_description.check_agreement(
        directory.path, saved, description, experiment, may_lose=True
    )
    known = list(saved["data"])
    unusable = {
        each.utt_id
        for each in corpus.left_out
        if each.reason in (inspection.NOTHING_USABLE, preparation.TOO_FEW)
    }
    withdrawn = [s for s in missing if s not in description["data"]]
    withdrawn = tuple(s for s in withdrawn if s not in unusable)
    return Continuation(
        dataclasses.replace(
            corpus,
            speakers=tuple(known),
            train=_in_slots(corpus.train, known, missing),
            dev=_in_slots(corpus.dev, known, missing),
        ),
        saved | {k: v for k, v in description.items() if k not in _OF_THE_RUN},
        begins,
        withdrawn,
        {
            known.index(s): CHANGED if s in description["data"] else LOST
            for s in missing
            if s not in withdrawn
        },
    )


def _begins_anew(directory, saved, description, experiment):
    """Whether a run's speakers are to go on from the run's own Submodels.

    The command that began to do so finishes it: it begins nothing anew as long
    as nothing is new.
    """
    path = files.absolute(directory.path)
    if description.get("start", {}).get("path") != path:
        return False
    run_description.check_program(directory.path, saved, description["program"])
    if saved.get("start", {}).get("path") == path:
        with contextlib.suppress(ValueError):
            missing = run_description.check_agreement(
                directory.path, saved, description, experiment, may_lose=True
            )
            if not any(speaker in description["data"] for speaker in missing):
                return False
    unfinished = _unfinished(directory, saved, description)
    if unfinished:
        raise ValueError(
            f"{directory.path}: the run is not finished: "
            f"{tables.first_names(unfinished)}. The command that began it "
            "finishes it; then its speakers can go on, or in another "
            "--model_dir now"
        )
    return True


def _unfinished(directory, saved, description):
    """Speakers who could still go on in the run as it is."""
    found = checkpoint.read(directory.checkpoints)
    if found is None:
        return []
    state, _ = found
    return [
        speaker
        for (speaker, digest), each in zip(
            saved["data"].items(), state["speakers"], strict=False
        )
        if not each["finished"] and description["data"].get(speaker) == digest
    ]


def texts(
    directory: model_directory.ModelDirectory, continued: Continuation
) -> dict[str, list[str]]:
    """Speaker to the texts that the speaker has trained on.

    Those of speakers who have withdrawn are not kept.
    """
    corpus, kept = continued.corpus, {}
    if continued.set_aside:
        before = directory.read_texts()
        names = [corpus.speakers[slot] for slot in continued.set_aside]
        kept = {name: before[name] for name in names if name in before}
    return kept | {
        data.speaker: [utterance.text for utterance in data.utterances]
        for data in corpus.train.values()
    }


def _in_slots(
    by_slot: preparation.BySlot,
    known: list[str],
    missing: abc.Container[str],
) -> preparation.BySlot:
    slots = {speaker: slot for slot, speaker in enumerate(known)}
    return {
        slots[data.speaker]: dataclasses.replace(data, slot=slots[data.speaker])
        for data in by_slot.values()
        if data.speaker not in missing
    }
