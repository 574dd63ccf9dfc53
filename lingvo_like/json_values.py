"""Strict JSON, and canonical JSON for values that are hashed or compared."""

import json
import math
from typing import Any, NoReturn


def canonical_json(value: Any) -> str:
    """JSON text that is always the same for equal values.

    Raises:
        TypeError, ValueError: `value` cannot be written as JSON.
    """
    try:
        return json.dumps(
            value, sort_keys=True, separators=(",", ":"), allow_nan=False
        )
    except RecursionError:
        raise ValueError("nested too deeply") from None


def strict_json(text: str) -> Any:
    """`json.loads` that refuses NaN, infinities and repeated keys.

    Raises:
        ValueError: the text is not strict JSON.
    """

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not a JSON number")

    def finite(number: str) -> float:
        return float(number) if math.isfinite(float(number)) else refuse(number)

    def pairs_to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
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


def strict_object(text: str) -> dict[str, Any]:
    """The object that `strict_json` reads.

    Raises:
        ValueError: the text is not strict JSON, or holds no object.
    """
    value = strict_json(text)
    if not isinstance(value, dict):
        raise ValueError("must be a JSON object")
    return value


def plain(value: Any) -> Any:
    """A value as JSON gives it back: string keys, and lists for tuples.

    Raises:
        TypeError, ValueError: see `canonical_json`.
    """
    return strict_json(canonical_json(value))
