"""A recording of a package with its text, before anybody has listened."""

import dataclasses
import pathlib

from tasks.asr.data import rejections


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One recording of a voice.

    Attributes:
        path: of the recording, unpacked.
        place: the same, in the package's folder of the voice.
        utt_id: unique among the voice's.
        text: what is said, or why nobody can tell.
    """

    path: pathlib.Path
    place: str
    utt_id: str
    text: str | rejections.UnusableError
