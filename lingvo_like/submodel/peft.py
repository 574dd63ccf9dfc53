"""LoRA Submodels to and from the folders of PEFT (Hugging Face).

A folder has adapter_config.json and adapter_model.safetensors, which
`peft.PeftModel.from_pretrained` reads. The caller knows what the modules of the
model there are called, by the names of our sites.
"""

import collections
import json
import os
import re
from collections import abc
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from lingvo_like import files, foreign_tensors, json_values, tensor_file
from lingvo_like.layers import sites as sites_lib
from lingvo_like.submodel import (
    file as submodel_file,
    layout as submodel_layout,
    peft_config,
)
from lingvo_like.submodel.kinds import lora

CONFIG_FILE = "adapter_config.json"
TENSORS_FILE = "adapter_model.safetensors"
# Written by this project alone: of which Submodel the adapter is made.
RECORD_FILE = "submodel.json"
# The fields of its metadata that are there.
RECORDED = ("speaker", "language", "base_fingerprint", "sha256", "heard")
_PICKLE_FILE = "adapter_model.bin"
_MAX_JSON_BYTES = 1 << 22
_TENSOR = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")


class Adapter(NamedTuple):
    """A LoRA adapter that PEFT wrote.

    Attributes:
        tensors: by the layout's names.
        config: the contents of adapter_config.json.
        record: the contents of submodel.json, `RECORDED` of the Submodel that
            the adapter was or began as; empty without the file.
    """

    layout: submodel_layout.Layout
    tensors: dict[str, np.ndarray]
    config: dict[str, Any]
    record: dict[str, Any]


def to_files(
    submodel: submodel_file.Submodel,
    modules: abc.Mapping[str, str],
    base_name: str = "",
) -> dict[str, bytes]:
    """The files of a folder that PEFT reads, by name.

    Args:
        modules: name of the module at each site.
        base_name: what the folder calls its base model; may be empty.

    Raises:
        SubmodelError: the Submodel is not LoRA alone, or at a site that is no
            module there.
    """
    kinds, tensors = {}, {}
    dtype = submodel.metadata.dtype
    for piece in submodel.layout.pieces:
        if not isinstance(piece.kind, lora.Lora):
            others = {part.kind.name for part in submodel.layout.parts}
            raise submodel_file.SubmodelError(
                "PEFT takes Submodels of lora alone. Received: "
                f"{', '.join(sorted(others))}; this one has {piece.name}."
            )
        if piece.site.name not in modules:
            raise submodel_file.SubmodelError(
                f"{piece.site.name} is no module of the model there"
            )
        module = modules[piece.site.name]
        kinds[module] = piece.kind
        weights = submodel.layout.weights_of(piece, submodel.tensors)
        for letter, name in (("A", "down_kernel"), ("B", "up_kernel")):
            # Theirs have the output first, ours the input.
            tensors[f"base_model.model.{module}.lora_{letter}.weight"] = (
                np.ascontiguousarray(np.asarray(weights[name]).T, dtype)
            )
    record = {name: getattr(submodel.metadata, name) for name in RECORDED}
    return {
        CONFIG_FILE: _json(peft_config.to_json(kinds, base_name)),
        TENSORS_FILE: safetensors.numpy.save(tensors, {"format": "pt"}),
        RECORD_FILE: _json(record),
    }


def _json(value):
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def read(
    folder: str | os.PathLike[str],
    sites: abc.Mapping[str, sites_lib.Site],
    modules: abc.Mapping[str, str],
) -> Adapter:
    """Reads a folder, local or `gs://`, that PEFT or `to_files` wrote.

    Args:
        sites: of the base model, by name.
        modules: name of the module at each site.

    Raises:
        SubmodelError: there is no adapter, it is damaged, or it is none that a
            Submodel can be: the function would be another one.
        OSError: a file cannot be read.
    """
    folder = os.fspath(folder)
    config = _object(folder, CONFIG_FILE)
    path = os.path.join(folder, CONFIG_FILE)
    with tensor_file.errors_as(submodel_file.SubmodelError, f"{path}: "):
        checked = peft_config.Config(config)
    data = _tensor_bytes(folder)
    path = os.path.join(folder, TENSORS_FILE)
    with tensor_file.errors_as(submodel_file.SubmodelError, f"{path}: "):
        by_module = _by_module(foreign_tensors.parse(data))
        layout = _layout(checked, by_module, sites, modules)
        tensors = {}
        for piece in layout.pieces:
            module = modules[piece.site.name]
            tensors |= _tensors(piece, module, by_module[module])
    return Adapter(layout, tensors, config, _record(folder))


def _record(folder):
    path = os.path.join(folder, RECORD_FILE)
    if not files.exists(path):
        return {}
    record = _object(folder, RECORD_FILE)
    if set(record) != set(RECORDED) or not all(
        isinstance(value, str) for value in record.values()
    ):
        raise submodel_file.SubmodelError(
            f"{path}: must have {', '.join(RECORDED)}, each a string; remove "
            "the file if it was not written here"
        )
    return record


def _object(folder, name):
    path = os.path.join(folder, name)
    if not files.exists(path):
        raise submodel_file.SubmodelError(
            f"{path} is missing; name a folder that save_pretrained of PEFT "
            "wrote"
        )
    with tensor_file.errors_as(submodel_file.SubmodelError, f"{path}: "):
        text = files.read(path, _MAX_JSON_BYTES).decode()
        return json_values.strict_object(text)


def _tensor_bytes(folder):
    path = os.path.join(folder, TENSORS_FILE)
    if not files.exists(path):
        advice = ""
        if files.exists(os.path.join(folder, _PICKLE_FILE)):
            advice = (
                f". It has {_PICKLE_FILE}, a pickle, which can run any "
                "program; load it with PEFT and write it with "
                "save_pretrained(OUT)"
            )
        raise submodel_file.SubmodelError(f"{path} is missing{advice}")
    with tensor_file.errors_as(submodel_file.SubmodelError):
        return files.read(path, submodel_file.MAX_FILE_BYTES)


def _by_module(tensors):
    """The tensors by letter, by name of their module."""
    found = collections.defaultdict(dict)
    for name, tensor in tensors.items():
        parts = _TENSOR.fullmatch(name)
        if not parts:
            raise ValueError(f"{name!r} is not a tensor of plain LoRA")
        found[parts[1]][parts[2]] = tensor
    return found


def _layout(config, by_module, sites, modules):
    """The layout of an adapter, once PEFT has it at the same modules."""
    known = set(modules.values())
    foreign = [name for name in by_module if name not in known]
    foreign += config.without_module(known)
    if foreign:
        last = sorted({name.rpartition(".")[2] for name in known})
        raise ValueError(
            f"it changes {foreign[0]!r}, where a Submodel of this base model "
            f"cannot act; it may change {', '.join(last)}"
        )
    grouped = collections.defaultdict(list)
    for site, module in modules.items():
        if config.targets(module) != (module in by_module):
            what = (
                "has no tensors, though its configuration targets it"
                if module not in by_module
                else "has tensors, but its configuration does not target it"
            )
            raise ValueError(f"{module} {what}")
        if module in by_module:
            grouped[config.kind(module)].append(sites[site])
    return submodel_layout.Layout(
        tuple(
            submodel_layout.Part(kind, tuple(some))
            for kind, some in grouped.items()
        )
    )


def _tensors(piece, module, by_letter):
    """The tensors of one piece, by the layout's names."""
    found = {}
    shapes = piece.kind.weight_shapes(piece.site)
    for letter, name in (("A", "down_kernel"), ("B", "up_kernel")):
        theirs = f"{module}.lora_{letter}.weight"
        if letter not in by_letter:
            raise ValueError(f"{theirs} is missing")
        tensor, expected = by_letter[letter], shapes[name][::-1]
        if tensor.shape != expected:
            raise ValueError(
                f"{theirs} must be {list(expected)}, for this base model and "
                f"a rank of {piece.kind.rank}. Received: {list(tensor.shape)}."
            )
        if not np.isfinite(tensor).all():
            raise ValueError(f"{theirs} has values that are not finite")
        found[f"{piece.name}/{name}"] = np.ascontiguousarray(tensor.T)
    return found
