"""The Submodels of an evaluation: all checked first, then a stack at a time."""

import dataclasses
from collections import abc

import tensorflow as tf

from lingvo_like.stack import stack as stack_lib
from lingvo_like.submodel import (
    file as submodel_file,
    heard as heard_lib,
    layout as submodel_layout,
)
from tasks import tables
from tasks.asr.training import model_directory

# Submodels of one stack. Each replica holds the whole stack, whomever it
# transcribes: 512 of the paper's largest Submodels are 2.4 GB.
PAGE = 512


@dataclasses.dataclass(frozen=True)
class TestedSubmodels:
    """The Submodels of a run's speakers; none of them is in memory.

    Attributes:
        constants: from the layout and the base.
        train_minutes: dict of speaker to minutes of training speech.
        sha256: dict of speaker to the SHA-256 of the Submodel's content.
        heard: dict of speaker to the recordings that the Submodel, and those
            that it came from, learned from: `heard.keys`.
    """

    directory: model_directory.ModelDirectory
    base_fingerprint: str
    layout: submodel_layout.Layout
    constants: submodel_layout.Constants
    train_minutes: dict[str, float]
    sha256: dict[str, str]
    heard: dict[str, frozenset[str]]

    @property
    def page_size(self) -> int:
        """The number of Submodels that are held at once."""
        return min(PAGE, len(self.sha256))

    def stack(self, more: int = 0) -> stack_lib.Stack:
        """A stack for those held at once, and for so many more behind them."""
        slots = [f"place {place}" for place in range(self.page_size + more)]
        return stack_lib.Stack(slots, self.layout, self.constants)

    @staticmethod
    def pages(slots: list[int]) -> list[list[int]]:
        """Splits slots, in order, into as many as a stack holds at once."""
        return [
            slots[first : first + PAGE] for first in range(0, len(slots), PAGE)
        ]

    def load(self, stack: stack_lib.Stack, speakers: abc.Iterable[str]) -> None:
        """Puts speakers' Submodels into the first slots, in order.

        Raises:
            ValueError: a Submodel has changed since it was checked.
        """
        for slot, speaker in enumerate(speakers):
            path = self.directory.submodel(speaker)
            each = submodel_file.load(path, self.base_fingerprint, self.layout)
            if each.metadata.sha256 != self.sha256[speaker]:
                raise ValueError(
                    f"{path}: changed during the evaluation; start it again"
                )
            stack.write(slot, each.tensors)


def read(
    directory: model_directory.ModelDirectory,
    speakers: abc.Sequence[str],
    base_fingerprint: str,
    layout: submodel_layout.Layout,
    constants: submodel_layout.Constants,
) -> TestedSubmodels:
    """Reads the speakers' files once, to know that all of them can be used.

    Raises:
        ValueError: a speaker has no Submodel, or one that cannot be used.
    """
    missing = [
        speaker
        for speaker in speakers
        if not tf.io.gfile.exists(directory.submodel(speaker))
    ]
    if missing:
        raise ValueError(
            f"{directory.submodels}: no Submodel of "
            f"{tables.first_names(missing)}, {len(missing)} of the "
            f"{tables.counted(len(speakers), 'speaker')} in the test manifest; "
            f"train them, or name those to evaluate with --speakers"
        )
    minutes, sha256, heard = {}, {}, {}
    for speaker in speakers:
        path = directory.submodel(speaker)
        metadata = submodel_file.load(path, base_fingerprint, layout).metadata
        # A renamed file would serve somebody else's Submodel.
        if metadata.speaker != speaker:
            raise ValueError(
                f"{path}: is the Submodel of {metadata.speaker!r}, not of "
                f"{speaker!r}"
            )
        sha256[speaker] = metadata.sha256
        heard[speaker] = heard_lib.unpack(metadata.heard)
        if "train_seconds_of_speech" in metadata.training:
            seconds = metadata.training["train_seconds_of_speech"]
            minutes[speaker] = seconds / 60.0
    return TestedSubmodels(
        directory,
        base_fingerprint,
        layout,
        constants,
        minutes,
        sha256,
        heard,
    )
