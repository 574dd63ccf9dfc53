"""JSON is read strictly, and written the same for equal values."""

import pytest

from lingvo_like import json_values


@pytest.mark.parametrize(
    "text, message",
    [
        ('{"rate": NaN}', "NaN is not a JSON number"),
        ('{"rate": 1e999}', "1e999 is not a JSON number"),
        ('{"rate": -Infinity}', "-Infinity is not a JSON number"),
        ('{"rate": 1, "rate": 2}', "'rate' is there twice"),
        ("[" * 100_000, "nested too deeply"),
        ("{", "Expecting"),
    ],
)
def test_json_that_is_not_strict_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        json_values.strict_json(text)


def test_an_object_is_told_from_other_json():
    assert json_values.strict_object('{"rate": 1}') == {"rate": 1}
    for text in ("[]", "1", "null"):
        with pytest.raises(ValueError, match="must be a JSON object"):
            json_values.strict_object(text)


def test_canonical_json_does_not_depend_on_the_order_of_keys():
    first = {"b": [1, 0.5, None], "a": {"d": "é", "c": True}}
    second = {"a": {"c": True, "d": "é"}, "b": (1, 0.5, None)}
    expected = r'{"a":{"c":true,"d":"\u00e9"},"b":[1,0.5,null]}'
    assert json_values.canonical_json(first) == expected
    assert json_values.canonical_json(second) == expected


@pytest.mark.parametrize("value", [float("nan"), {"a": [float("inf")]}])
def test_canonical_json_refuses_what_json_does_not_hold(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_values.canonical_json(value)


def test_plain_gives_what_a_reader_of_the_json_gets():
    assert json_values.plain({1: (2, "x")}) == {"1": [2, "x"]}
    with pytest.raises(TypeError):
        json_values.plain({"a": object()})
