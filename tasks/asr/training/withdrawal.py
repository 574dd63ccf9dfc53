"""Takes one person out of the folder of a run, an enrolment or an evaluation.

What belongs to the person alone is removed: the Submodel's file, the rows of
the checkpoints, the embedding of a space, texts, losses. Caches, figures that
count everybody, and other files that cannot be told apart by person are removed
as a whole; the next run of the command that wrote them makes them again.
`experiment.json`, which says who is in the run, comes last: what was cut off
goes on when it is called again.
"""

import contextlib
import dataclasses
import functools
import json
import posixpath
from collections import abc
from typing import Any

import numpy as np
import tensorflow as tf

from lingvo_like import files, json_values
from lingvo_like.space import embedding_space, file as space_file
from lingvo_like.submodel import file as submodel_file
from tasks.asr import kept_bases
from tasks.asr.training import (
    checkpoint,
    model_directory,
    run_description,
)

# They name and count everybody.
_FIGURES = ("left_out.txt", "report.html", "results.json")
_OPTIMIZER = "optimizer/"
_WEIGHT = "weight/"


@dataclasses.dataclass(frozen=True)
class Withdrawal:
    """The account of a person who was taken out of a folder.

    Attributes:
        removed: paths below the folder, each with what was removed of it.
        remains: sentences on what is left of the person there.
    """

    folder: str
    removed: tuple[str, ...]
    remains: tuple[str, ...]


def check(folder: str, speaker: str) -> None:
    """Checks that one can take a person out of a folder.

    Raises:
        ValueError: it is no folder of a run, an enrolment or an evaluation, or
            one of a base model; or nobody else is in the run.
        OSError: it cannot be read.
    """
    directory = model_directory.ModelDirectory(folder)
    known = [directory.experiment, directory.space, directory.submodels]
    # Of an evaluation there may be the texts alone, once a person is out.
    names = ("enrolment.jsonl", "results.json", "hypotheses.jsonl")
    known += map(directory.in_folder, names)
    if not any(map(files.exists, known)):
        raise ValueError(
            f"{folder}: not the folder of a run, an enrolment or an evaluation"
        )
    saved = directory.read_experiment()
    if saved:
        run_description.check_program(folder, saved, run_description.TRAIN)
        if list(saved["data"]) == [speaker]:
            raise ValueError(
                f"{folder}: {speaker!r} is the only speaker of the run; remove "
                "the folder, and do not name it"
            )


def withdraw(folder: str, speaker: str) -> Withdrawal:
    """Takes a person out of a folder.

    Args:
        folder: of a run, also one of a space, of an enrolment, or of an
            evaluation.

    Raises:
        ValueError: as `check`, or a file in it is damaged.
        OSError: another process uses it, or it cannot be written.
    """
    check(folder, speaker)
    directory = model_directory.ModelDirectory(folder)
    with directory.lock():
        removed, remains = [], []
        saved = directory.read_experiment() or {"data": {}}
        in_run = speaker in saved["data"]
        # What only goes away comes first: it makes room on a full disk.
        if in_run:
            removed += _caches(directory)
        for part in (folder, posixpath.join(folder, "enrolled")):
            removed += _enrolled(folder, part, speaker)
        for part in (folder, directory.evaluation):
            removed += _evaluated(folder, part, speaker)
        if in_run:
            removed += _run(directory, list(saved["data"]), speaker)
        removed += _space(directory, speaker)
        if removed:
            _remove_leftovers(folder)
        if in_run:
            data = {k: v for k, v in saved["data"].items() if k != speaker}
            saved.get("start", {}).get("submodels", {}).pop(speaker, None)
            saved.get("cohort", {}).get("of", {}).pop(speaker, None)
            directory.write_experiment({**saved, "data": data})
            removed.append("experiment.json (the line)")
    made_of = kept_bases.MADE_OF_FILE
    if in_run and _names(posixpath.join(saved["base"], made_of), speaker):
        remains.append(
            f"the short base {saved['base']} was fitted on their speech too, "
            f"and {made_of} in it names them; a run needs it for as long as "
            "it is there"
        )
    if in_run and saved.get("cohort"):
        remains.append(
            "the cohort's Submodel was trained on their speech too, and those "
            "of others may have started from it; only what is trained anew "
            "without it is free of that"
        )
    if any(each.startswith("space") for each in removed):
        remains.append(
            "the basis of the space was fitted on their speech too; only a "
            "space trained anew without it is free of that"
        )
    return Withdrawal(folder, tuple(removed), tuple(remains))


def _remove_leftovers(folder):
    """Removes what killed processes were writing, of whomever."""
    for path, _, names in tf.io.gfile.walk(folder):
        for name in names:
            if name.startswith(files.TEMPORARY_PREFIX):
                tf.io.gfile.remove(posixpath.join(path, name))


def _caches(directory):
    """Files whose names do not tell of which person they are."""
    paths = (
        directory.activations,
        directory.checks,
        directory.left_out,
        directory.tensorboard,
    )
    return [
        f"{posixpath.basename(path)} (whole)" for path in paths if _remove(path)
    ]


def _run(directory, speakers, speaker):
    """The files that only a run has, without `experiment.json`."""
    removed = []
    if _checkpoints(directory.checkpoints, speakers, speaker):
        removed.append("checkpoints (the rows)")
    if _lines(directory.history, speaker):
        removed.append("history.jsonl (the lines)")
    path = posixpath.join(
        directory.started_from, submodel_file.file_name(speaker)
    )
    if _remove(path):
        removed.append(posixpath.relpath(path, directory.path))
    of_cohort = model_directory.ModelDirectory(directory.cohort)
    for path in filter(_remove, (of_cohort.texts, of_cohort.left_out)):
        removed.append(f"{posixpath.relpath(path, directory.path)} (whole)")
    if files.exists(directory.texts):
        texts = directory.read_texts()
        if texts.pop(speaker, None) is not None:
            directory.write_texts(texts)
            removed.append("train_texts.json (the texts)")
    return removed


def _enrolled(folder, part, speaker):
    """The Submodel's file, and the line about the enrolment."""
    removed = []
    path = posixpath.join(part, "submodels", submodel_file.file_name(speaker))
    if _remove(path):
        removed.append(posixpath.relpath(path, folder))
    path = posixpath.join(part, "enrolment.jsonl")
    if _lines(path, speaker):
        removed.append(f"{posixpath.relpath(path, folder)} (the line)")
    return removed


def _evaluated(folder, part, speaker):
    """The lines of the person, and the figures that count them."""
    part_of = functools.partial(posixpath.join, part)
    removed, hypotheses = [], part_of("hypotheses.jsonl")
    if _names(part_of("results.json"), speaker) or _names(hypotheses, speaker):
        for name in filter(_remove, map(part_of, _FIGURES)):
            removed.append(f"{posixpath.relpath(name, folder)} (whole)")
    # Last, so that what was cut off goes on.
    if _lines(hypotheses, speaker):
        removed.append(f"{posixpath.relpath(hypotheses, folder)} (the lines)")
    return removed


def _names(path, speaker):
    """Whether a file of JSON has the id, or an utterance of it, as a string."""
    data = files.read(path) if files.exists(path) else b""
    return any(
        json.dumps(speaker)[:-1].encode() + end in data for end in (b'"', b"/")
    )


def _space(directory, speaker):
    if not files.exists(directory.space):
        return []
    space = space_file.load(directory.space)
    if speaker not in space.speakers:
        return []
    space_file.save(directory.space, space_file.without(space, speaker))
    return ["space.safetensors (the embedding)"]


def _lines(path, speaker):
    """Removes the lines about a speaker; whether there were any."""
    if not files.exists(path):
        return False
    lines, kept = files.read(path).splitlines(keepends=True), []
    for line in lines:
        with _damaged(path):
            if json_values.strict_json(line.decode()).get("speaker") != speaker:
                kept.append(line)
    if kept != lines:
        files.write_atomically(path, b"".join(kept))
    return kept != lines


class _Rows:
    """A variable of a checkpoint without the row of a slot.

    It is read when it is converted, so that memory holds one at a time.
    """

    def __init__(self, variable: checkpoint.Saved, row: int | None):
        self._variable, self._row = variable, row

    def __array__(
        self, dtype: Any = None, copy: bool | None = None
    ) -> np.ndarray:
        value = self._variable.read()
        return value if self._row is None else np.delete(value, self._row, 0)


def _checkpoints(directory, speakers, speaker):
    """Writes the newest one again without a speaker's row; removes the others.

    Returns:
        Whether there was a checkpoint with the speaker.
    """
    # First, which makes room for the new one.
    checkpoint.keep_newest(directory)
    found = checkpoint.read(directory)
    if found is None:
        return False
    state, variables = found
    if len(state["speakers"]) == len(speakers):
        slot, residents = speakers.index(speaker), sorted(state["residents"])
        # Rows are in the order of the slots that have one.
        row = residents.index(slot) if slot in residents else None
        embedding = _WEIGHT + embedding_space.EMBEDDING
        is_space = embedding in variables
        kept: dict[str, Any] = {
            name: _Rows(
                variable,
                row if not is_space or _is_of_slots(name) else None,
            )
            for name, variable in variables.items()
        }
        if is_space:
            mean = np.asarray(kept[embedding]).mean(axis=0, dtype=np.float64)
            kept[_WEIGHT + embedding_space.MEAN] = mean.astype(np.float32)
        checkpoint.save(directory, kept, _state_without(state, slot, speaker))
    checkpoint.keep_newest(directory)
    return True


def _is_of_slots(name: str) -> bool:
    """Whether a space's variable has a row for each speaker."""
    return name == _WEIGHT + embedding_space.EMBEDDING or name.startswith(
        f"{_OPTIMIZER}{embedding_space.EMBEDDING}/"
    )


def _state_without(state, slot, speaker):
    return {
        **state,
        "history": [r for r in state["history"] if r["speaker"] != speaker],
        "speakers": [s for i, s in enumerate(state["speakers"]) if i != slot],
        "residents": [
            each - (each > slot) for each in state["residents"] if each != slot
        ],
    }


def _remove(path):
    """Removes a file or folder; whether it was there."""
    if not files.exists(path):
        return False
    if tf.io.gfile.isdir(path):
        tf.io.gfile.rmtree(path)
    else:
        tf.io.gfile.remove(path)
    return True


@contextlib.contextmanager
def _damaged(path: str) -> abc.Iterator[None]:
    try:
        yield
    except (AttributeError, ValueError) as error:
        raise ValueError(f"{path}: damaged: {error}; remove it") from None
