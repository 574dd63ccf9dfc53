"""Writes an export: a version's folder appears complete or not at all."""

import dataclasses
import os
import pathlib
import re
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from lingvo_like import files, folders, hyperparams
from lingvo_like.submodel import file as submodel_file
from tasks.serving.exports import (
    description as export_description,
    places,
    readme,
    signatures,
    warmup,
)

_VERSION = re.compile(r"[0-9]+")
# A SavedModel holds one graph for each set of tags; this one is for serving.
_SERVE = tf.saved_model.SERVING


def versions(export_dir: str | os.PathLike[str]) -> list[int]:
    """The versions in a local folder; none if it does not exist."""
    folder = files.local_path(export_dir)
    names = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    return [int(name) for name in names if _VERSION.fullmatch(name)]


def next_version(export_dir: str | os.PathLike[str]) -> int:
    """The lowest integer above every version in a local folder, from 1."""
    return 1 + max(versions(export_dir), default=0)


def check_writable(export_dir: str | os.PathLike[str]) -> None:
    """Checks that versions can be written to a folder, and makes nothing.

    Raises:
        ValueError: the folder is itself a version, or something else.
        OSError: it cannot be written.
    """
    what = places.kind(export_dir)
    if what:
        around = os.path.dirname(os.path.abspath(export_dir))
        raise ValueError(
            f"--export_dir: {export_dir} is {what}; name "
            + (around if what == places.VERSION else "another folder")
        )
    try:
        files.try_writing(export_dir)
    except OSError as error:
        raise OSError(
            f"{export_dir}: --export_dir cannot be written: {error.strerror}"
        ) from None


def write(
    export_dir: str | os.PathLike[str],
    version: int,
    recognizer: signatures.Recognizer,
    base_fingerprint: str,
    experiment: str,
    submodel: submodel_file.Submodel | None = None,
    default_language: str = "",
) -> tuple[str, export_description.Description]:
    """Writes the folder `export_dir/version`.

    Args:
        export_dir: local; made if absent.
        version: from 1.
        submodel: to fold in.
        default_language: see `Description`.

    Returns:
        the path of the version's folder, and its description.

    Raises:
        FileExistsError: the version exists.
        OSError: it cannot be written.
        ValueError: an optional package is missing.
    """
    target = files.local_path(export_dir) / str(version)
    vector = None if submodel is None else submodel.vector
    functions = recognizer.signatures(vector)
    with folders.new_folder(target) as folder:
        tf.saved_model.save(
            recognizer.module(),
            str(folder),
            functions,
            # Nothing is trained from an export, and the gradient of a length
            # that the graph does not know cannot be traced.
            tf.saved_model.SaveOptions(experimental_custom_gradients=False),
        )
        name = target.absolute().parent.name
        description = export_description.Description(
            base_fingerprint=base_fingerprint,
            experiment=experiment,
            default_language=default_language,
            submodel=hyperparams.to_dict(submodel.metadata) if submodel else {},
            **_fields(recognizer, read_meta_graph(folder)),
        )
        warmup.write(folder, name, description, functions)
        (folder / "README.md").write_text(
            readme.text(description, name), encoding="utf-8"
        )
        description = dataclasses.replace(
            description, files=export_description.file_digests(folder)
        )
        export_description.write(folder, description)
        # The files survive a power cut before the folder gets its name.
        for path in folder.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
    return str(target), description


def read_meta_graph(
    folder: str | os.PathLike[str],
) -> meta_graph_pb2.MetaGraphDef:
    """The graph for serving of a SavedModel.

    Raises:
        ValueError: there is none, or it is damaged.
    """
    path = os.path.join(folder, "saved_model.pb")
    try:
        data = pathlib.Path(path).read_bytes()
        model = saved_model_pb2.SavedModel.FromString(data)
    except Exception as error:
        raise ValueError(f"{path}: no whole SavedModel: {error}") from error
    for graph in model.meta_graphs:
        if list(graph.meta_info_def.tags) == [_SERVE]:
            return graph
    raise ValueError(f"{path}: holds no graph with the tag {_SERVE!r}")


def signature_defs(
    graph: meta_graph_pb2.MetaGraphDef,
) -> dict[str, meta_graph_pb2.SignatureDef]:
    """The signatures that are for users, by name."""
    return {
        name: definition
        for name, definition in sorted(graph.signature_def.items())
        if not name.startswith("__")
    }


def _fields(
    recognizer: signatures.Recognizer, graph: meta_graph_pb2.MetaGraphDef
) -> dict[str, Any]:
    """The fields of a `Description` that follow from what was saved."""
    base, layout = recognizer.base, recognizer.layout
    operations = [op.name for op in graph.meta_info_def.stripped_op_list.op]
    return {
        "format_version": export_description.FORMAT_VERSION,
        "sample_rate": base.sample_rate,
        "max_samples": base.max_samples,
        "bucket_limits": recognizer.bucket_limits,
        "bucket_samples": recognizer.bucket_samples,
        "parts": layout.to_json(),
        "num_values": layout.num_values,
        "max_tokens": base.max_tokens,
        "beam_size": recognizer.beam_size,
        "requires_tensorflow_text": any(
            "Sentencepiece" in name for name in operations
        ),
        "languages": base.languages,
        "base_description": base.description(),
        "signatures": {
            name: {
                "inputs": _tensors(definition.inputs),
                "outputs": _tensors(definition.outputs),
            }
            for name, definition in signature_defs(graph).items()
        },
    }


def _tensors(infos: Any) -> dict[str, dict]:
    """Tensors by name, from a map of `TensorInfo`."""
    return {
        name: {
            "tensor": info.name,
            "dtype": tf.dtypes.as_dtype(info.dtype).name,
            "shape": [dim.size for dim in info.tensor_shape.dim],
        }
        for name, info in sorted(infos.items())
    }
