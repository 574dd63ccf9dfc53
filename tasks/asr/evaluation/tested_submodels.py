"""The Submodels of an evaluation: all checked first, then a stack at a time."""

import dataclasses

import tensorflow as tf

from lingvo_like.stack import stack
from lingvo_like.submodel import file as submodel_file
from tasks.asr.training import model_directory

# Of one stack, which each replica holds whole, whoever it transcribes: 512 of
# the paper's largest are 2.4 GB.
PAGE = 512


@dataclasses.dataclass(frozen=True)
class Submodels:
    """The Submodels of a run's speakers, none of them in memory.

    Attributes:
        directory: `ModelDirectory`.
        base_fingerprint: str.
        layout: `Layout`.
        residual_weight: float.
        train_minutes: dict of speaker to minutes of training speech.
        sha256: dict of speaker to the Submodel's content.
    """

    directory: model_directory.ModelDirectory
    base_fingerprint: str
    layout: submodel_file.Layout
    residual_weight: float
    train_minutes: dict
    sha256: dict

    def stack(self):
        """A `Stack` of places for as many Submodels as are held at once."""
        count = min(PAGE, len(self.sha256))
        places = [f"place {place}" for place in range(count)]
        return stack.Stack(places, self.layout, self.residual_weight)

    @staticmethod
    def pages(slots):
        """Lists of slots, in order, whose Submodels that holds at once."""
        return [
            slots[first : first + PAGE] for first in range(0, len(slots), PAGE)
        ]

    def load(self, places, speakers):
        """Puts some speakers' Submodels into the first places, in order.

        Args:
            places: `Stack`, of `stack`.
            speakers: ids.

        Raises:
            ValueError: one has changed since it was checked.
        """
        for slot, speaker in enumerate(speakers):
            path = self.directory.submodel(speaker)
            each = submodel_file.load(path, self.base_fingerprint, self.layout)
            if each.metadata.sha256 != self.sha256[speaker]:
                raise ValueError(
                    f"{path}: changed during the evaluation; start it again"
                )
            places.set_row(slot, each.tensors)


def check(directory, speakers, base_fingerprint, layout):
    """Reads the speakers' files, to know that all can be used.

    Args:
        directory: `ModelDirectory`.
        speakers: ids.
        base_fingerprint: str.
        layout: `Layout`, what every Submodel must look like.

    Returns:
        `Submodels`.

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
            f"{directory.submodels}: no Submodel of {len(missing)} of "
            f"{len(speakers)} speakers in the test manifest, such as "
            f"{', '.join(missing[:5])}; train them, or name those to "
            f"evaluate with --speakers"
        )
    residual_weight, train_minutes, sha256 = None, {}, {}
    for speaker in speakers:
        path = directory.submodel(speaker)
        metadata = submodel_file.load(path, base_fingerprint, layout).metadata
        # A renamed file would serve somebody else's Submodel.
        if metadata.speaker != speaker:
            raise ValueError(
                f"{path}: is the Submodel of {metadata.speaker!r}, not of "
                f"{speaker!r}"
            )
        if residual_weight is None:
            residual_weight = metadata.residual_weight
        elif residual_weight != metadata.residual_weight:
            raise ValueError(
                f"{directory.submodels}: Submodels of different runs: the "
                f"residual weight of {speakers[0]!r} is {residual_weight}, "
                f"that of {speaker!r} {metadata.residual_weight}"
            )
        if "train_seconds_of_speech" in metadata.training:
            train_minutes[speaker] = (
                metadata.training["train_seconds_of_speech"] / 60.0
            )
        sha256[speaker] = metadata.sha256
    return Submodels(
        directory,
        base_fingerprint,
        layout,
        residual_weight,
        train_minutes,
        sha256,
    )
