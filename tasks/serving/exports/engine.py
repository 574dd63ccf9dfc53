"""What runs a batch: the one interface between a server and TensorFlow."""

import abc
import contextlib
import dataclasses
import gc
import logging

import numpy as np
import tensorflow as tf

from tasks.serving.exports import description as export_description
from tasks.serving.exports import folder as export_folder
from tasks.serving.exports import warmup


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
        compile_count: int, programs compiled since it is ready. A SavedModel's
            functions are as they were loaded, so it compiles none.
    """

    description = None
    signatures = {}
    compile_count = 0

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


class SavedModelEngine(Engine):
    """An export of tasks.export in this process.

    Nothing is traced or compiled once it is loaded: its signatures are
    concrete functions, and the warm-up has run each of them.

    Args:
        path: the version's folder, local.
        warm_up: whether to play the warm-up records.

    Raises:
        ValueError: it is no export, not all of it, altered, or damaged.
        OSError: a file of it cannot be read.
    """

    def __init__(self, path, warm_up=True):
        self.path = str(path)
        self.description = export_description.read(self.path)
        export_description.check_files(self.path, self.description)
        if self.description.requires_tensorflow_text:
            import tensorflow_text  # noqa: F401
        graph = export_folder.read_meta_graph(self.path)
        self.signatures = export_folder.signature_defs(graph)
        self._check_signatures()
        try:
            with _without_gradient_warnings():
                self._model = tf.saved_model.load(self.path)
        except Exception as error:
            raise ValueError(
                f"{self.path}: TensorFlow cannot load it: {error}"
            ) from error
        self._functions = dict(self._model.signatures)
        if warm_up:
            for signature, inputs in warmup.read(self.path):
                self._play(signature, inputs)

    def transcribe(self, audio, lengths, submodels, index):
        answer = self.predict(
            "grouped",
            {
                "audio": audio,
                "length": lengths,
                "submodels": submodels,
                "index": index,
            },
        )
        return Transcripts(
            list(answer["text"]),
            answer["score"],
            [status.decode() for status in answer["status"]],
        )

    def predict(self, signature, inputs):
        functions = self._functions
        if not functions:
            raise ValueError(f"{self.path} is closed")
        if signature not in functions:
            raise UnknownSignatureError(
                f"there is no signature {signature!r}; there are: "
                f"{', '.join(sorted(functions))}"
            )
        inputs = checked_inputs(self.signatures[signature], inputs)
        answer = functions[signature](
            **{name: tf.constant(value) for name, value in inputs.items()}
        )
        return {name: tensor.numpy() for name, tensor in answer.items()}

    def close(self):
        self._functions = {}
        self._model = None
        # What TensorFlow loads is full of circles; without this a base's
        # memory stays until Python happens to look for them.
        gc.collect()

    def _check_signatures(self):
        if "serving_default" not in self.signatures:
            raise ValueError(
                f"{self.path}: has no signature serving_default. It has: "
                f"{sorted(self.signatures)}."
            )
        sizes = {"its description": self.description.num_values}
        sizes["its description's blocks"] = self.description.layout.num_values
        for name, definition in self.signatures.items():
            for key in {"submodel", "submodels"} & set(definition.inputs):
                shape = definition.inputs[key].tensor_shape
                sizes[f"its signature {name}"] = shape.dim[-1].size
        if len(set(sizes.values())) > 1:
            raise ValueError(
                f"{self.path}: disagrees on the number of values of a "
                f"Submodel: {sizes}"
            )

    def _play(self, signature, inputs):
        try:
            self.predict(signature, inputs)
        except (ValueError, tf.errors.OpError) as error:
            raise ValueError(
                f"{self.path}: a warm-up request of {signature!r} fails: "
                f"{error}"
            ) from error


@contextlib.contextmanager
def _without_gradient_warnings():
    """Silences a warning for each loop that nobody can train an export."""
    logger = logging.getLogger("absl")

    def is_other(record):
        return "unsaved custom gradients" not in record.getMessage()

    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def checked_inputs(definition, inputs):
    """A signature's inputs as arrays, held against what it says.

    Args:
        definition: `SignatureDef`.
        inputs: dict of name to array.

    Returns:
        dict of name to array of the signature's dtypes.

    Raises:
        ValueError: names extra, missing, mistyped and misshapen inputs.
    """
    expected = definition.inputs
    extra = sorted(set(inputs) - set(expected))
    missing = sorted(set(expected) - set(inputs))
    if extra or missing:
        raise ValueError(
            f"the inputs must be {', '.join(sorted(expected))}. Extra: "
            f"{', '.join(extra) or 'none'}. Missing: "
            f"{', '.join(missing) or 'none'}."
        )
    arrays = {}
    for name, info in expected.items():
        array = np.asarray(inputs[name])
        dtype = tf.dtypes.as_dtype(info.dtype)
        if array.dtype != dtype.as_numpy_dtype:
            raise ValueError(
                f"{name}: the dtype must be {dtype.name}. Received: "
                f"{array.dtype}."
            )
        shape = [dim.size for dim in info.tensor_shape.dim]
        if len(array.shape) != len(shape) or any(
            size not in (-1, found)
            for size, found in zip(shape, array.shape, strict=True)
        ):
            written = ", ".join("any" if d < 0 else str(d) for d in shape)
            raise ValueError(
                f"{name}: the shape must be [{written}]. Received: "
                f"{list(array.shape)}."
            )
        arrays[name] = array
    rows = {
        name: len(array)
        for name, array in arrays.items()
        # Each once, and not once for each row.
        if name != "submodels"
    }
    if len(set(rows.values())) > 1:
        raise ValueError(
            f"all inputs must have the same number of rows. Received: {rows}."
        )
    return arrays
