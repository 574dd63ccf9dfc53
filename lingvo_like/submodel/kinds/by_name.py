"""The kinds of Submodel by name, as files write them."""

import dataclasses
from collections import abc
from typing import Any

from lingvo_like import hyperparams
from lingvo_like.submodel.kinds import (
    adapter,
    kind as kind_lib,
    lora,
    rotation,
    vectors,
)

KINDS: dict[str, type] = {
    each.name: each
    for each in (
        adapter.Adapter,
        lora.Lora,
        rotation.Rotation,
        vectors.Bias,
        vectors.Scale,
    )
}


def values(kind: kind_lib.Kind) -> dict[str, Any]:
    """The kind's hyperparameters, as JSON values."""
    return hyperparams.to_dict(kind)


def make(name: Any, values: abc.Mapping[str, Any]) -> kind_lib.Kind:
    """The kind of this name, with these hyperparameters.

    Raises:
        ValueError: there is no such kind, or it refuses the values.
    """
    if not isinstance(name, str) or name not in KINDS:
        raise ValueError(
            f"the kind of a Submodel must be one of {', '.join(KINDS)}. "
            f"Received: {name!r}."
        )
    return hyperparams.from_dict(KINDS[name], values)


def describe(kind: kind_lib.Kind) -> str:
    """Such as `lora rank=8 alpha=8`, for people."""
    fields = [
        f"{field.name}={_shown(getattr(kind, field.name))}"
        for field in dataclasses.fields(kind)
    ]
    return " ".join([kind.name, *fields])


def _shown(value: float) -> str:
    """Short, but never the same for different values."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
