"""Writes an export: a version folder that appears complete or not at all."""

import os
import pathlib
import re

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from lingvo_like import hyperparams
from tasks.asr.data import new_folder
from tasks.serving.exports import description as export_description
from tasks.serving.exports import readme as export_readme
from tasks.serving.exports import warmup

_VERSION = re.compile(r"[0-9]+")
# A SavedModel holds one graph for each set of tags; this one is for serving.
_SERVE = tf.saved_model.SERVING


def versions(export_dir):
    """The versions in a local folder, as ints; none if it is not there."""
    folder = new_folder.local_path(export_dir)
    names = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    return [int(name) for name in names if _VERSION.fullmatch(name)]


def next_version(export_dir):
    """The lowest integer above every version in a local folder, from 1."""
    return 1 + max(versions(export_dir), default=0)


def describe(recognizer, base_fingerprint, experiment, submodel=None):
    """The `Description` of a recognizer, without signatures and files.

    Args:
        recognizer: `signatures.Recognizer`.
        base_fingerprint: string.
        experiment: string, the registered name.
        submodel: `submodel.Metadata` of what is folded in, or None.
    """
    base, layout = recognizer.base, recognizer.layout
    return export_description.Description(
        format_version=export_description.FORMAT_VERSION,
        base_fingerprint=base_fingerprint,
        experiment=experiment,
        sample_rate=base.sample_rate,
        max_samples=base.max_samples,
        bucket_limits=recognizer.bucket_limits,
        bucket_samples=recognizer.bucket_samples,
        model_dim=layout.model_dim,
        bottleneck_dim=layout.bottleneck_dim,
        blocks=layout.blocks,
        num_values=layout.num_values,
        residual_weight=recognizer.residual_weight,
        max_tokens=base.max_tokens,
        beam_size=recognizer.beam_size,
        requires_tensorflow_text=False,
        base_description=base.description(),
        submodel=hyperparams.to_dict(submodel) if submodel else {},
    )


def write(export_dir, version, recognizer, description, row=None):
    """Writes `export_dir/version`.

    Args:
        export_dir: string, a local folder; made if absent.
        version: int, from 1.
        recognizer: `signatures.Recognizer`.
        description: `Description`, as `describe` gives it.
        row: `[num_values]` float32, a packed Submodel to fold in, or None.

    Returns:
        the path of the version's folder, and its whole `Description`.

    Raises:
        FileExistsError: the version is there.
        OSError: it cannot be written.
        ValueError: a package that it takes is missing.
    """
    target = new_folder.local_path(export_dir) / str(version)
    functions = recognizer.signatures(row)
    with new_folder.create(target) as folder:
        tf.saved_model.save(
            recognizer.module(),
            str(folder),
            functions,
            # Nothing is trained from an export, and a gradient of a length
            # that the graph does not know cannot be traced.
            tf.saved_model.SaveOptions(experimental_custom_gradients=False),
        )
        name = target.absolute().parent.name
        warmup.write(folder, name, description, functions)
        graph = read_meta_graph(folder)
        operations = {op.name for op in graph.meta_info_def.stripped_op_list.op}
        fields = {
            **vars(description),
            "requires_tensorflow_text": any(
                "Sentencepiece" in name for name in operations
            ),
            "signatures": _signatures(graph),
        }
        description = export_description.Description(**fields)
        readme = export_readme.text(description, name)
        (folder / "README.md").write_text(readme, encoding="utf-8")
        fields["files"] = export_description.file_digests(folder)
        description = export_description.Description(**fields)
        export_description.write(folder, description)
        _sync(folder)
    return str(target), description


def read_meta_graph(folder):
    """The graph for serving of a SavedModel, as a `MetaGraphDef`.

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


def signature_defs(graph):
    """A `MetaGraphDef`'s signatures that are for users: dict of name to def."""
    return {
        name: definition
        for name, definition in graph.signature_def.items()
        if not name.startswith("__")
    }


def _signatures(graph):
    return {
        name: {
            "inputs": _tensors(definition.inputs),
            "outputs": _tensors(definition.outputs),
        }
        for name, definition in sorted(signature_defs(graph).items())
    }


def _tensors(infos):
    return {
        name: {
            "tensor": info.name,
            "dtype": tf.dtypes.as_dtype(info.dtype).name,
            "shape": [dim.size for dim in info.tensor_shape.dim],
        }
        for name, info in sorted(infos.items())
    }


def _sync(folder):
    """Makes the files outlive a power cut before the folder gets its name."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(parent, name), "rb") as file:
                os.fsync(file.fileno())
