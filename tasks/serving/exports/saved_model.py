"""Runs an export of tasks.export in this process."""

import contextlib
import gc
import logging
import os
from collections import abc

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2

from tasks.serving.exports import (
    description as export_description,
    engine,
    folder as export_folder,
    warmup,
)


class SavedModelEngine(engine.Engine):
    """A loaded SavedModel.

    Nothing is traced or compiled after loading: the signatures are concrete
    functions, and the warm-up has run each of them.

    Args:
        path: the version's folder, local.
        warm_up: whether to run the warm-up requests.

    Raises:
        ValueError: it is no export, or it is incomplete, altered or damaged.
        OSError: a file of it cannot be read.
    """

    def __init__(
        self, path: str | os.PathLike[str], warm_up: bool = True
    ) -> None:
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
            self._warm_up()

    def transcribe(
        self,
        audio: np.ndarray,
        lengths: np.ndarray,
        submodels: np.ndarray,
        index: np.ndarray,
        language_index: np.ndarray,
    ) -> engine.Transcripts:
        inputs = {"audio": audio, "length": lengths}
        inputs |= {"submodels": submodels, "index": index}
        if len(self.description.languages) > 1:
            inputs["language_index"] = language_index
        answer = self.predict("grouped", inputs)
        return engine.Transcripts(
            list(answer["text"]),
            answer["score"],
            [status.decode() for status in answer["status"]],
        )

    def predict(
        self, signature: str, inputs: abc.Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Calls a signature by name.

        Returns:
            the outputs by name; strings are arrays of bytes objects.

        Raises:
            ValueError: names the signatures that there are, or the extra,
                missing and misshapen inputs.
        """
        functions = self._functions
        if not functions:
            raise ValueError(f"{self.path} is closed")
        if signature not in functions:
            raise ValueError(
                f"there is no signature {signature!r}. There are: "
                f"{', '.join(sorted(functions))}."
            )
        inputs = _checked_inputs(self.signatures[signature], inputs)
        answer = functions[signature](
            **{name: tf.constant(value) for name, value in inputs.items()}
        )
        return {name: tensor.numpy() for name, tensor in answer.items()}

    def close(self) -> None:
        self._functions = {}
        self._model = None
        # A loaded model is full of reference cycles. Without this its memory
        # stays until Python happens to collect them.
        gc.collect()

    def _check_signatures(self) -> None:
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

    def _warm_up(self) -> None:
        for signature, inputs in warmup.read(self.path):
            try:
                self.predict(signature, inputs)
            except (ValueError, tf.errors.OpError) as error:
                raise ValueError(
                    f"{self.path}: a warm-up request of {signature!r} fails: "
                    f"{error}"
                ) from error


@contextlib.contextmanager
def _without_gradient_warnings() -> abc.Iterator[None]:
    """Silences the warnings, one for each loop, that nobody can train it."""
    logger = logging.getLogger("absl")

    def is_other(record: logging.LogRecord) -> bool:
        return "unsaved custom gradients" not in record.getMessage()

    logger.addFilter(is_other)
    try:
        yield
    finally:
        logger.removeFilter(is_other)


def _checked_inputs(
    definition: meta_graph_pb2.SignatureDef,
    inputs: abc.Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """A signature's inputs, of the dtypes and shapes that it declares."""
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
        shape = tf.TensorShape(info.tensor_shape)  # pyright: ignore
        if not shape.is_compatible_with(array.shape):
            written = ", ".join("any" if d is None else str(d) for d in shape)
            raise ValueError(
                f"{name}: the shape must be [{written}]. Received: "
                f"{list(array.shape)}."
            )
        arrays[name] = array
    # `submodels` has a row for each Submodel, not for each utterance.
    rows = {name: len(arrays[name]) for name in arrays if name != "submodels"}
    if len(set(rows.values())) > 1:
        raise ValueError(
            f"all inputs must have the same number of rows. Received: {rows}."
        )
    return arrays
