"""Columns begin below each other, and no line ends in blanks."""

import pytest

from tasks import tables


def test_columns_are_as_wide_as_their_widest_cell():
    rows = [("speaker", "rate", ""), ("F01", "10.5 %", "ok"), ("x", "", "")]
    assert tables.aligned(rows).split("\n") == [
        "speaker  rate",
        "F01      10.5 %  ok",
        "x",
    ]


def test_wide_characters_take_two_columns_and_accents_none():
    rows = [("李雷", "1"), ("ann", "2"), ("e\u0301", "3")]
    assert tables.aligned(rows).split("\n") == [
        "李雷  1",
        "ann   2",
        "e\u0301     3",
    ]


def test_a_row_of_other_columns_is_an_error():
    with pytest.raises(ValueError):
        tables.aligned([("a", "b"), ("c",)])


def test_only_what_is_left_away_is_counted():
    names = ["ann", "bob", "cid"]
    assert tables.shortened(names, 3) == names
    assert tables.shortened(names, 2) == ["ann", "bob", "and 1 more"]
    assert tables.shortened(names, 1, "... ") == ["ann", "... and 2 more"]


def test_one_has_no_plural():
    assert tables.counted(1, "speaker") == "1 speaker"
    assert tables.counted(0, "speaker") == "0 speakers"
    assert tables.counted(2, "speaker") == "2 speakers"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, ""), (2, "a, b"), (3, "a, b, c"), (5, "a, b, c and 2 more")],
)
def test_the_first_names_are_listed_and_the_others_counted(count, text):
    assert tables.first_names(list("abcde")[:count], most=3) == text
