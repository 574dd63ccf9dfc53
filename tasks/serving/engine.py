"""What runs a batch: the one interface between a server and TensorFlow."""

import abc
import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Transcripts:
    """The answers to a batch, in its order.

    Attributes:
        text: list of bytes, UTF-8; empty where the status is not "OK".
        score: `[b]` float32, mean log probability of a token; 0 likewise.
        status: list of strings: "OK", or why this row has no text.
    """

    text: list[bytes]
    score: np.ndarray
    status: list[str]


class Engine(abc.ABC):
    """Recognises batches; all methods may be called from any thread.

    Attributes:
        description: `export_description.Description` of what is loaded.
        signatures: dict of name to `SignatureDef`, as the SavedModel has them.
    """

    description = None
    signatures = {}

    @abc.abstractmethod
    def transcribe(self, audio, lengths, submodels, index):
        """Recognises a batch of utterances, each with a Submodel; blocks.

        Args:
            audio: `[b, samples]` float32; past its length a row may hold
                anything.
            lengths: `[b]` int32, valid samples.
            submodels: `[u, num_values]` float32, packed; zeros are the base.
            index: `[b]` int32, each utterance's row of `submodels`.

        Returns:
            `Transcripts`. A bad row has its own status; nothing is raised for
            it and its neighbours are answered.
        """

    @abc.abstractmethod
    def predict(self, signature, inputs):
        """Calls a signature by name.

        Args:
            signature: string.
            inputs: dict of name to array.

        Returns:
            dict of name to array; strings are arrays of bytes objects.

        Raises:
            UnknownSignatureError: names those that there are.
            ValueError: names extra, missing and misshapen inputs.
        """

    @abc.abstractmethod
    def close(self):
        """Gives the memory back; calls that run finish first."""


class UnknownSignatureError(ValueError):
    """There is no signature of that name."""
