"""The contents of Submodel files, as data and as text."""

import hashlib
import json
import posixpath
from collections import abc
from typing import Any

import numpy as np

from lingvo_like import files, hyperparams
from lingvo_like.submodel import file as submodel_file, heard
from tasks import tables

_TABLE_COLUMNS = (
    ("file", lambda found: posixpath.basename(found["file"])),
    ("speaker", lambda found: found["metadata"]["speaker"]),
    ("language", lambda found: found["metadata"]["language"] or "-"),
    ("experiment", lambda found: found["metadata"]["experiment"]),
    ("base", lambda found: found["metadata"]["base_fingerprint"][:12]),
    ("step", lambda found: _trained(found, "step")),
    ("dev loss", lambda found: _trained(found, "dev_loss")),
    ("base loss", lambda found: _trained(found, "base_dev_loss")),
    ("values", lambda found: f"{found['num_values']:,}"),
    ("dtype", lambda found: found["metadata"]["dtype"]),
    ("bytes", lambda found: f"{found['num_bytes']:,}"),
    ("norm", lambda found: f"{found['norm']:.4g}"),
    ("store hash", lambda found: found["file_sha256"][:12]),
)
_SUMMARY = (
    "speaker",
    "language",
    "experiment",
    "base_fingerprint",
    "layout",
    "dtype",
    "sha256",
    "format_version",
)


def read(path: str) -> dict[str, Any]:
    """A Submodel file's metadata, sizes and norms, as JSON values.

    `file_sha256` is that of the file's bytes, with which a store names its
    versions; `metadata.sha256` seals tensors and metadata.

    Raises:
        SubmodelError: it is not a valid Submodel.
    """
    loaded = submodel_file.load(path)
    data = files.read(path, submodel_file.MAX_FILE_BYTES)
    base_parameters = loaded.metadata.base_description.get("num_parameters")
    vector = loaded.vector
    return {
        "file": path,
        "file_sha256": hashlib.sha256(data).hexdigest(),
        "metadata": hyperparams.to_dict(loaded.metadata),
        "layout": loaded.layout.describe(),
        "num_bytes": len(data),
        "num_values": vector.size,
        "percent_of_base": (
            100.0 * vector.size / base_parameters
            if isinstance(base_parameters, int) and base_parameters > 0
            else None
        ),
        **_sizes(vector),
        "tensors": {
            name: {"shape": list(tensor.shape), **_sizes(tensor)}
            for name, tensor in loaded.tensors.items()
        },
    }


def table(found: abc.Iterable[dict[str, Any]]) -> str:
    """The text about several files, each from `read`."""
    rows = [[name for name, _ in _TABLE_COLUMNS]]
    for one in found:
        rows.append([_printable(cell(one)) for _, cell in _TABLE_COLUMNS])
    return tables.aligned(rows)


def in_full(found: dict[str, Any]) -> str:
    """The text about one file, from `read`."""
    metadata = found["metadata"]
    known = {**metadata, "layout": found["layout"]}
    facts = [(key, _printable(known[key])) for key in _SUMMARY]
    facts.append(("store hash", found["file_sha256"]))
    facts.append(
        ("heard", f"{len(heard.unpack(metadata['heard']))} recordings")
    )
    lines = [found["file"], _indented(facts)]
    for key in ("training", "started_from", "base_description"):
        pairs = sorted(_flat(metadata[key]).items())
        lines += ["", key]
        lines += [_indented((name, _short(value)) for name, value in pairs)]
    rows = [("tensor", "shape", "norm", "max")]
    rows += [
        (
            name,
            " x ".join(map(str, tensor["shape"])),
            f"{tensor['norm']:.4g}",
            f"{tensor['max']:.4g}",
        )
        for name, tensor in found["tensors"].items()
    ]
    total = f"{found['num_values']:,} values in {found['num_bytes']:,} bytes"
    if found["percent_of_base"] is not None:
        total += f", {found['percent_of_base']:.3g} % of the base model"
    return "\n".join([*lines, "", tables.aligned(rows), "", total, ""])


def _sizes(values):
    norm = np.linalg.norm(values.astype(np.float64))
    return {"norm": float(norm), "max": float(np.max(np.abs(values)))}


def _trained(found, key):
    """A figure of the training; a dash where there is none."""
    value = found["metadata"]["training"].get(key)
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else value


def _indented(pairs):
    rows = list(pairs)
    text = tables.aligned(rows) if rows else "(nothing)"
    return "\n".join(f"  {line}" for line in text.splitlines())


def _printable(value: object) -> str:
    """The value on one line, without control characters."""
    text = str(value)
    return text if text.isprintable() else json.dumps(text)


def _short(value: object, max_length: int = 60) -> str:
    text = json.dumps(value, ensure_ascii=False)
    text = text if text.isprintable() else json.dumps(value)
    if len(text) <= max_length:
        return text
    return f"{text[:max_length]}... ({len(text)} characters)"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[_printable(prefix + key)] = value
    return flat
