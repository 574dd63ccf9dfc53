"""The interface between a server and what recognises its batches."""

import abc
import dataclasses
from collections import abc as collections_abc
from typing import Any

import numpy as np

from tasks.serving.exports import description as export_description


@dataclasses.dataclass(frozen=True)
class Transcripts:
    """The answers to a batch, in its order.

    Attributes:
        text: UTF-8; empty where the status says why there is none.
        score: `[b]` float32, mean log probability of a token; 0 likewise.
        status: "OK"; "CUT: ..." where the end of the text is missing; or the
            reason why a row has no text.
    """

    text: list[bytes]
    score: np.ndarray
    status: list[str]


class Engine(abc.ABC):
    """Recognises batches; all methods may be called from any thread.

    Attributes:
        description: of the export that is loaded.
        signatures: name to `SignatureDef`, as in the SavedModel.
        compile_count: programs compiled since the engine is ready; a
            SavedModel's functions are loaded as they are, so it compiles none.
    """

    description: export_description.Description
    signatures: collections_abc.Mapping[str, Any] = {}
    compile_count: int = 0

    @abc.abstractmethod
    def transcribe(
        self,
        audio: np.ndarray,
        lengths: np.ndarray,
        submodels: np.ndarray,
        index: np.ndarray,
        language_index: np.ndarray,
    ) -> Transcripts:
        """Recognises a batch of utterances, each with a Submodel; blocks.

        Args:
            audio: `[b, samples]` float32; past its length a row may hold
                anything.
            lengths: `[b]` int32, valid samples.
            submodels: `[u, num_values]` float32, packed; zeros are the base.
            index: `[b]` int32, each utterance's row of `submodels`.
            language_index: `[b]` int32, each utterance's language among
                `description.languages`.

        A bad row has its own status: nothing is raised for it, and its
        neighbours are answered.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Gives the memory back; calls in progress finish first."""
