"""Typed hyperparameters: nested frozen dataclasses to JSON, back, and changed.

Fields may be int, float, bool, str, dict, tuples of these, other dataclasses
(sections), and unions of them. Where a union holds several dataclasses the
type of the value that is there rules: overriding never turns one base model
into another.
"""

import dataclasses
import difflib
import functools
import json
import math
import re
import types
import typing

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_EXAMPLES = {
    int: "an integer such as 3",
    float: "a finite number such as 0.5 or 1e-3",
    bool: "true or false",
    str: "a string",
    dict: "a dict",
    types.NoneType: "none",
}


def to_dict(params):
    """A dataclass instance as nested dicts of JSON values; tuples are lists.

    Raises:
        ValueError: a value is not one that JSON holds, NaN for instance.
    """
    checked = _section(type(params), params, shallow(params), "")
    return _to_json_value(checked)


def shallow(params):
    """A dataclass instance's fields as a dict, unchecked."""
    return {
        field.name: getattr(params, field.name)
        for field in dataclasses.fields(params)
    }


def from_dict(template, values):
    """A dataclass like `template` that holds exactly `values`.

    Args:
        template: dataclass instance; says which fields there are and which
            dataclass a section of several possible ones is. Or a dataclass.
        values: nested dict, as `to_dict` gives it; nothing may be missing.

    Raises:
        ValueError: a key is unknown or missing, or a value has another type.
    """
    if isinstance(template, type):
        return _section(template, None, values, "")
    return _section(type(template), template, values, "")


def to_json(params):
    """The text of `to_dict`; floats come back from it exactly."""
    return json.dumps(to_dict(params), indent=2, allow_nan=False) + "\n"


def from_json(template, text):
    """The inverse of `to_json`; see `from_dict`."""
    return from_dict(template, strict_json(text))


def canonical_json(value):
    """JSON that is always the same for the same value.

    Raises:
        TypeError, ValueError: it holds what JSON does not, or is nested too
            deeply.
    """
    try:
        return json.dumps(
            value, sort_keys=True, separators=(",", ":"), allow_nan=False
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def strict_json(text):
    """`json.loads` that refuses NaN, infinities and repeated keys.

    Raises:
        ValueError: the text is not JSON in this strict sense.
    """

    def refuse(constant):
        raise ValueError(f"{constant} is not a JSON number")

    def finite(number):
        return float(number) if math.isfinite(float(number)) else refuse(number)

    def pairs_to_dict(pairs):
        result = {}
        for key, value in pairs:
            if key in result:
                raise ValueError(f"the key {key!r} is there twice")
            result[key] = value
        return result

    try:
        return json.loads(
            text,
            parse_constant=refuse,
            parse_float=finite,
            object_pairs_hook=pairs_to_dict,
        )
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None


def override(params, assignments):
    """A copy of `params` with values changed by name.

    Args:
        params: dataclass instance.
        assignments: strings such as `adapter.bottleneck_dim=64`; the value is
            read as the field's type. Tuples are `1,2,3`, the empty one is
            `()`, and None is `none`. A later assignment wins.

    Raises:
        ValueError: the name is unknown (near ones are listed) or a section,
            or the value does not have the field's type.
    """
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        path = path.strip()
        if not equals:
            raise ValueError(
                f"an override is written name=value. Received: {assignment!r}."
            )
        params = _set(params, path.split("."), path, text, params)
    return params


def difference(saved, now):
    """Where two sets of hyperparameters differ, a readable line for each.

    Args:
        saved: dataclass instance or the dict of one.
        now: the same.

    Returns:
        list of lines such as `adapter.bottleneck_dim: saved 32, now 64`.
    """
    saved, now = (
        _flat(to_dict(side) if dataclasses.is_dataclass(side) else side)
        for side in (saved, now)
    )
    return [
        f"{path}: saved {_shown(saved, path)}, now {_shown(now, path)}"
        for path in dict.fromkeys([*now, *saved])
        if _shown(saved, path) != _shown(now, path)
    ]


def did_you_mean(name, known):
    """A sentence that lists the names of `known` nearest to `name`.

    A dotted name is also found by its last part alone.
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    last = name.rpartition(".")[2]
    by_last_part = {}
    for candidate in known:
        by_last_part.setdefault(candidate.rpartition(".")[2], []).append(
            candidate
        )
    for part in difflib.get_close_matches(last, by_last_part, n=3, cutoff=0.8):
        near += by_last_part[part]
    near = list(dict.fromkeys(near))[:5]
    if near:
        return f"Did you mean {' or '.join(near)}?"
    if not known:
        return "None are known."
    return f"Known: {', '.join(sorted(known))}."


# A server reads the metadata of thousands of files of the same class.
_hints = functools.lru_cache(typing.get_type_hints)


@functools.cache
def _members(annotation):
    """The alternatives of a union; of any other type, itself."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return typing.get_args(annotation)
    return (annotation,)


def _type_name(annotation):
    members = _members(annotation)
    if len(members) > 1:
        return " or ".join(_type_name(member) for member in members)
    if typing.get_origin(annotation) is tuple:
        item = typing.get_args(annotation)[0]
        item_name = getattr(item, "__name__", str(item))
        return f"{item_name} values separated by commas, or ()"
    return _EXAMPLES.get(annotation, getattr(annotation, "__name__", "?"))


def _wrong_type(path, annotation, value):
    return ValueError(
        f"`{path}` must be {_type_name(annotation)}. Received: {value!r}."
    )


def _section(cls, template, values, prefix):
    """Builds `cls` from a dict; `template` is an instance of it, or None."""
    what = f"`{prefix[:-1]}`" if prefix else "hyperparameters"
    if not isinstance(values, dict):
        raise ValueError(
            f"{what} must be a dict of {cls.__name__}. Received: {values!r}."
        )
    hints = _hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    for key in values:
        if key not in names:
            known = [prefix + name for name in names]
            raise ValueError(
                f"unknown key `{prefix}{key}`. "
                f"{did_you_mean(f'{prefix}{key}', known)}"
            )
    missing = [prefix + name for name in names if name not in values]
    if missing:
        raise ValueError(f"missing keys: {', '.join(missing)}.")
    return cls(
        **{
            name: _coerce(
                hints[name],
                getattr(template, name, None),
                values[name],
                prefix + name,
            )
            for name in names
        }
    )


def _coerce(annotation, current, value, path):
    """`value`, checked against a type; lists become tuples, int floats."""
    members = _members(annotation)
    sections = [m for m in members if dataclasses.is_dataclass(m)]
    if dataclasses.is_dataclass(value):
        if type(value) not in sections:
            raise _wrong_type(path, annotation, value)
        return _section(type(value), value, shallow(value), path + ".")
    if isinstance(value, dict) and sections:
        cls = type(current) if type(current) in sections else sections[0]
        return _section(cls, current, value, path + ".")
    for member in members:
        if typing.get_origin(member) is tuple:
            if isinstance(value, list | tuple):
                return _coerce_tuple(member, value, path)
        elif type(value) is member:
            if member is float and not math.isfinite(value):
                raise _wrong_type(path, annotation, value)
            return value
    if type(value) is int and float in members:
        try:
            return float(value)
        except OverflowError:
            raise _wrong_type(path, annotation, value) from None
    raise _wrong_type(path, annotation, value)


def _coerce_tuple(annotation, values, path):
    items = typing.get_args(annotation)
    if items[-1] is Ellipsis:
        items = items[:1] * len(values)
    if len(items) != len(values):
        raise ValueError(
            f"`{path}` must have {len(items)} values. Received: {values!r}."
        )
    return tuple(
        _coerce(item, None, value, f"{path}[{index}]")
        for index, (item, value) in enumerate(zip(items, values, strict=True))
    )


def _to_json_value(value):
    if dataclasses.is_dataclass(value):
        return {k: _to_json_value(v) for k, v in shallow(value).items()}
    if isinstance(value, tuple):
        return [_to_json_value(item) for item in value]
    return value


def _set(params, names, path, text, root):
    name, rest = names[0], names[1:]
    hints = _hints(type(params))
    value = getattr(params, name, None) if name in hints else None
    is_section = dataclasses.is_dataclass(value)
    if name not in hints or (rest and not is_section):
        raise ValueError(
            f"unknown hyperparameter `{path}`. "
            f"{did_you_mean(path, _flat(to_dict(root)))}"
        )
    if rest:
        value = _set(value, rest, path, text, root)
    elif is_section:
        known = ", ".join(f"{path}.{key}" for key in _flat(to_dict(value)))
        raise ValueError(f"`{path}` is a section; set one of {known}.")
    else:
        value = _parse(hints[name], text, path)
    return dataclasses.replace(params, **{name: value})


def _parse(annotation, text, path):
    """Reads a value written on a command line."""
    wrong = _wrong_type(path, annotation, text)
    stripped = text.strip()
    members = _members(annotation)
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
    items = typing.get_args(annotation)
    if items[-1] is Ellipsis:
        items = items[:1] * len(parts)
    if len(items) != len(parts):
        raise wrong
    return tuple(
        _parse(item, part.strip(), f"{path}[{index}]")
        for index, (item, part) in enumerate(zip(items, parts, strict=True))
    )


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
