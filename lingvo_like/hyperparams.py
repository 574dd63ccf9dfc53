"""Hyperparameters: frozen dataclasses, nested, written as JSON and overridden.

A field holds an int, float, bool, str, dict, a tuple of these, another
dataclass (a section), or a union of them. Where a union has several
dataclasses, the class of the current value decides, so an override never
turns one base model into another.
"""

import collections
import contextlib
import dataclasses
import difflib
import functools
import json
import math
import typing
from collections import abc
from typing import Any

from lingvo_like import field_types


def to_dict(params: Any) -> dict[str, Any]:
    """A dataclass instance as nested dicts of JSON values; tuples are lists.

    Raises:
        ValueError: a value does not have its field's type, or is not finite.
    """
    return _json_value(_section(type(params), params, shallow(params), ""))


def shallow(params: Any) -> dict[str, Any]:
    """A dataclass instance's fields as a dict, unchecked and uncopied."""
    names = [field.name for field in dataclasses.fields(params)]
    return {name: getattr(params, name) for name in names}


def from_dict(template: Any, values: Any) -> Any:
    """A dataclass that holds exactly `values`, a nested dict of every field.

    Args:
        template: the dataclass, or an instance of it. An instance also says
            which class a section of several possible ones has.

    Raises:
        ValueError: a key is unknown or missing, a value has another type, or
            the dataclass refuses the values.
    """
    if isinstance(template, type):
        return _section(template, None, values, "")
    return _section(type(template), template, values, "")


def to_json(params: Any) -> str:
    """The text of `to_dict`; floats come back from it exactly."""
    return json.dumps(to_dict(params), indent=2, allow_nan=False) + "\n"


def assignments(texts: abc.Iterable[str]) -> dict[str, str]:
    """Strings such as `adapter.bottleneck_dim=64` as settings by name.

    A later one wins.

    Raises:
        ValueError: a string is not `name=value`.
    """
    settings = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(
                f"an override is written name=value. Received: {text!r}."
            )
        settings[name.strip()] = value
    return settings


def override(params: Any, texts: abc.Iterable[str]) -> Any:
    """`replace` with the settings that `assignments` reads."""
    return replace(params, assignments(texts))


def replace(params: Any, settings: abc.Mapping[str, Any]) -> Any:
    """A copy of `params` with values changed by name.

    The dataclasses check the final values only: settings that are valid
    together may come in any order.

    Args:
        settings: dict such as `{"adapter.bottleneck_dim": 64}`. A string is
            read as the field's type says: a tuple is `1,2,3`, the empty tuple
            is `()`, and None is `none`.

    Raises:
        ValueError: a name is unknown (the message lists similar ones) or
            names a section, a value does not have its field's type, or a
            dataclass refuses the values.
    """
    changes = {}
    for path, value in settings.items():
        section, section_changes = params, changes
        *parents, name = path.split(".")
        for parent in parents:
            section = getattr(section, parent, None)
            section_changes = section_changes.setdefault(parent, {})
        known = annotations(type(section)) if is_section(section) else {}
        if name not in known:
            raise ValueError(
                f"unknown hyperparameter `{path}`. "
                f"{did_you_mean(path, _flat(to_dict(params)))}"
            )
        current = getattr(section, name)
        if is_section(current):
            inner = _flat(to_dict(current))
            names = ", ".join(f"{path}.{key}" for key in inner)
            raise ValueError(f"`{path}` is a section; set one of {names}.")
        section_changes[name] = (
            field_types.parse(known[name], value, path)
            if isinstance(value, str)
            else _coerce(known[name], current, value, path)
        )
    return _replace(params, changes)


def difference(saved: Any, now: Any) -> list[str]:
    """Lines such as `adapter.bottleneck_dim: saved 32, now 64`.

    Both sides are a dataclass instance, or the dict of one.
    """
    saved, now = (
        _flat(to_dict(side) if is_section(side) else side)
        for side in (saved, now)
    )
    return [
        f"{path}: saved {_shown(saved, path)}, now {_shown(now, path)}"
        for path in dict.fromkeys([*now, *saved])
        if _shown(saved, path) != _shown(now, path)
    ]


def did_you_mean(name: str, known: abc.Iterable[str], shown: str = "") -> str:
    """A sentence that lists the names of `known` most similar to `name`.

    A dotted name is also matched by its last part alone.

    Args:
        shown: what stands for all of `known` where none is similar; their list
            if empty.
    """
    known = list(known)
    similar = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    last = name.rpartition(".")[2]
    by_last_part = collections.defaultdict(list)
    for candidate in known:
        by_last_part[candidate.rpartition(".")[2]].append(candidate)
    for part in difflib.get_close_matches(last, by_last_part, n=3, cutoff=0.8):
        similar += by_last_part[part]
    similar = list(dict.fromkeys(similar))[:5]
    if similar:
        return f"Did you mean {' or '.join(similar)}?"
    if not known:
        return "None are known."
    return f"Known: {shown or ', '.join(sorted(known))}."


# Cached: a server reads thousands of files of the same class.
@functools.cache
def annotations(cls: type) -> dict[str, Any]:
    """The types of a dataclass's fields, by name."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def is_section(value: object) -> bool:
    """Whether a value is a dataclass instance."""
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


def _section(cls, template, values, prefix):
    """Builds `cls` from a dict; `template` is an instance of it, or None."""
    what = f"`{prefix[:-1]}`" if prefix else "hyperparameters"
    if not isinstance(values, dict):
        raise ValueError(
            f"{what} must be a dict of {cls.__name__}. Received: {values!r}."
        )
    known_types = annotations(cls)
    for key in values:
        if key not in known_types:
            known = [prefix + name for name in known_types]
            raise ValueError(
                f"unknown key `{prefix}{key}`. "
                f"{did_you_mean(f'{prefix}{key}', known)}"
            )
    missing = [prefix + name for name in known_types if name not in values]
    if missing:
        raise ValueError(f"missing keys: {', '.join(missing)}.")
    fields = {}
    for name, annotation in known_types.items():
        current = getattr(template, name, None)
        fields[name] = _coerce(annotation, current, values[name], prefix + name)
    return cls(**fields)


def _coerce(annotation, current, value: Any, path):
    """`value`, checked; a list becomes a tuple and an integer a float."""
    members = field_types.alternatives(annotation)
    sections = [m for m in members if dataclasses.is_dataclass(m)]
    if dataclasses.is_dataclass(value):
        if type(value) not in sections:
            raise field_types.wrong_type(path, annotation, value)
        return _section(type(value), value, shallow(value), path + ".")
    if isinstance(value, dict) and sections:
        cls = type(current) if type(current) in sections else sections[0]
        return _section(cls, current, value, path + ".")
    for member in members:
        if typing.get_origin(member) is tuple:
            if isinstance(value, list | tuple):
                return _coerce_tuple(member, value, path)
        elif type(value) is member:
            if isinstance(value, float) and not math.isfinite(value):
                break
            return value
    if type(value) is int and float in members:
        # One that no float holds is refused below.
        with contextlib.suppress(OverflowError):
            return float(value)
    raise field_types.wrong_type(path, annotation, value)


def _coerce_tuple(annotation, values, path):
    items = field_types.item_types(annotation, len(values))
    if len(items) != len(values):
        raise ValueError(
            f"`{path}` must have {len(items)} values. Received: {values!r}."
        )
    return tuple(
        _coerce(item, None, value, f"{path}[{index}]")
        for index, (item, value) in enumerate(zip(items, values, strict=True))
    )


def _json_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {k: _json_value(v) for k, v in shallow(value).items()}
    if isinstance(value, tuple):
        return [_json_value(item) for item in value]
    return value


def _replace(params, changes):
    """`params` with nested changes, each dataclass built once."""
    values = {}
    for name, change in changes.items():
        current = getattr(params, name)
        # A field may hold a dict, so the change itself does not tell.
        values[name] = (
            _replace(current, change) if is_section(current) else change
        )
    return dataclasses.replace(params, **values)


def _flat(values, prefix=""):
    """Nested dicts to `{"adapter.bottleneck_dim": 32, ...}`."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def _shown(flat, path):
    if path not in flat:
        return "nothing"
    return json.dumps(flat[path], ensure_ascii=False)
