"""The types of hyperparameters: their names, and values of them as text."""

import functools
import json
import math
import re
import types
import typing
from typing import Any

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
# The name of a type in messages, and in lists.
_NAMES = {
    int: ("an integer such as 3", "integer"),
    float: ("a finite number such as 0.5 or 1e-3", "number"),
    bool: ("true or false", "true or false"),
    str: ("a string", "text"),
    dict: ("a dict", "dict"),
    types.NoneType: ("none", "none"),
}


@functools.cache
def alternatives(annotation: Any) -> tuple[Any, ...]:
    """The types of a union; of any other type, itself."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def describe(annotation: Any) -> str:
    """A value of the type in words, with an example."""
    members = alternatives(annotation)
    if len(members) > 1:
        return " or ".join(describe(member) for member in members)
    if typing.get_origin(annotation) is tuple:
        item = typing.get_args(annotation)[0]
        item_name = getattr(item, "__name__", str(item))
        return f"{item_name} values separated by commas, or ()"
    return _names(annotation)[0]


def name(annotation: Any) -> str:
    """The name of the type, for a list."""
    members = alternatives(annotation)
    if len(members) > 1:
        return " or ".join(name(member) for member in members)
    if typing.get_origin(annotation) is tuple:
        return f"{name(typing.get_args(annotation)[0])}s with commas"
    return _names(annotation)[1]


def _names(annotation):
    unknown = (getattr(annotation, "__name__", "?"),) * 2
    return _NAMES.get(annotation, unknown)


def wrong_type(path: str, annotation: Any, value: object) -> ValueError:
    """The error for a value of another type."""
    return ValueError(
        f"`{path}` must be {describe(annotation)}. Received: {value!r}."
    )


def item_types(annotation: Any, length: int) -> tuple[Any, ...]:
    """The types of the items of a tuple that has `length` of them."""
    items = typing.get_args(annotation)
    return items[:1] * length if items[-1] is Ellipsis else items


def parse(annotation: Any, text: str, path: str) -> Any:
    """Reads a value written on a command line.

    Raises:
        ValueError: it is no value of the type; names `path`.
    """
    wrong = wrong_type(path, annotation, text)
    stripped = text.strip()
    members = alternatives(annotation)
    if types.NoneType in members and stripped.lower() == "none":
        return None
    for member in members:
        if typing.get_origin(member) is tuple:
            return _parse_tuple(member, stripped, path, wrong)
        if member is bool and stripped.lower() in ("true", "false"):
            return stripped.lower() == "true"
        if member is int and _INTEGER.fullmatch(stripped):
            return int(stripped)
        if member is float and _NUMBER.fullmatch(stripped):
            if not math.isfinite(float(stripped)):
                raise wrong
            return float(stripped)
    if str in members:
        return text
    raise wrong


def _parse_tuple(annotation, text, path, wrong):
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1].strip()
    elif not text:
        raise wrong
    parts = text.removesuffix(",").split(",") if text else []
    items = item_types(annotation, len(parts))
    if len(items) != len(parts):
        raise wrong
    return tuple(
        parse(item, part.strip(), f"{path}[{index}]")
        for index, (item, part) in enumerate(zip(items, parts, strict=True))
    )


def write(value: Any) -> str:
    """The text that `parse` reads as this value."""
    if isinstance(value, tuple):
        return ",".join(map(write, value)) or "()"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value)
