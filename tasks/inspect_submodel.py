"""Prints the content of Submodel files: one in full, several as a table.

    python -m tasks.inspect_submodel RUN/submodels/F01.safetensors
    python -m tasks.inspect_submodel RUN/submodels/*.safetensors
    python -m tasks.inspect_submodel --json RUN/submodels/*.safetensors

Every file is checked as a server checks it. With --json each file is one line
of JSON. A file that is not a valid Submodel is one line on stderr, and the exit
status is then 1.
"""

import json
import posixpath
import sys
from collections import abc
from typing import Any

from absl import flags

from tasks import cli, tables

_JSON = flags.DEFINE_bool("json", False, "Print a line of JSON for each file.")

_TABLE_COLUMNS = (
    ("file", lambda found: posixpath.basename(found["file"])),
    ("speaker", lambda found: found["metadata"]["speaker"]),
    ("experiment", lambda found: found["metadata"]["experiment"]),
    ("base", lambda found: found["metadata"]["base_fingerprint"][:12]),
    ("bottleneck_dim", lambda found: found["metadata"]["bottleneck_dim"]),
    ("blocks", lambda found: _ranges(found["metadata"]["blocks"])),
    ("dtype", lambda found: found["metadata"]["dtype"]),
    ("values", lambda found: f"{found['num_values']:,}"),
    ("bytes", lambda found: f"{found['num_bytes']:,}"),
    ("norm", lambda found: f"{found['norm']:.4g}"),
    ("max", lambda found: f"{found['max']:.4g}"),
    ("sha256", lambda found: found["metadata"]["sha256"][:12]),
)


@cli.takes_arguments
def main(argv: list[str]) -> None:
    paths = argv[1:]
    if not paths:
        cli.fail("name at least one Submodel file; see --help")
    # Late, so that --help answers at once.
    from lingvo_like.submodel import file as submodel_file

    found, errors = [], []
    for path in paths:
        try:
            found.append(inspect(path))
        except submodel_file.SubmodelError as error:
            errors.append(str(error))
    if _JSON.value:
        for one in found:
            print(json.dumps(one))
    elif len(paths) == 1:
        print("".join(map(in_full, found)), end="")
    elif found:
        rows = [[name for name, _ in _TABLE_COLUMNS]]
        for one in found:
            rows.append([_printable(cell(one)) for _, cell in _TABLE_COLUMNS])
        print(tables.aligned(rows))
    for error in errors[:-1]:
        print(f"error: {error}", file=sys.stderr)
    if errors:
        cli.fail(errors[-1])


def inspect(path: str) -> dict[str, Any]:
    """A Submodel file's metadata, sizes and norms, as JSON values.

    Raises:
        SubmodelError: it is not a valid Submodel.
    """
    import numpy as np
    import tensorflow as tf

    from lingvo_like import hyperparams
    from lingvo_like.submodel import file as submodel_file

    def sizes(values: np.ndarray) -> dict[str, float]:
        norm = np.linalg.norm(values.astype(np.float64))
        return {"norm": float(norm), "max": float(np.max(np.abs(values)))}

    loaded = submodel_file.load(path)
    base_parameters = loaded.metadata.base_description.get("num_parameters")
    vector = loaded.vector
    return {
        "file": path,
        "metadata": hyperparams.to_dict(loaded.metadata),
        "num_bytes": tf.io.gfile.stat(path).length,
        "num_values": vector.size,
        "percent_of_base": (
            100.0 * vector.size / base_parameters
            if isinstance(base_parameters, int) and base_parameters > 0
            else None
        ),
        **sizes(vector),
        "tensors": {
            name: {"shape": list(tensor.shape), **sizes(tensor)}
            for name, tensor in loaded.tensors.items()
        },
    }


def in_full(found: dict[str, Any]) -> str:
    """The text about one file, from `inspect`."""
    metadata = found["metadata"]
    lines = [found["file"]]
    for key in (
        "speaker",
        "experiment",
        "base_fingerprint",
        "model_dim",
        "bottleneck_dim",
        "blocks",
        "residual_weight",
        "dtype",
        "sha256",
        "format_version",
    ):
        value = metadata[key]
        value = _ranges(value) if key == "blocks" else _printable(value)
        lines.append(f"  {key:<18}{value}")
    for key in ("base_description", "training"):
        lines.append(f"  {key}")
        lines += [
            f"    {name:<28}{_short(value)}"
            for name, value in sorted(_flat(metadata[key]).items())
        ]
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


def _ranges(blocks: abc.Iterable[int]) -> str:
    """`[0, 1, 2, 5]` as `0-2,5`."""
    ranges = []
    for block in blocks:
        if ranges and ranges[-1][1] == block - 1:
            ranges[-1][1] = block
        else:
            ranges.append([block, block])
    return ",".join(
        str(first) if first == last else f"{first}-{last}"
        for first, last in ranges
    )


if __name__ == "__main__":
    cli.run(main)
