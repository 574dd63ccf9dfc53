"""Texts that look alike become one text, and different ones stay apart."""

import unicodedata

import pytest

from lingvo_like import text_folding

ALIKE = {
    "typographic apostrophes": ("don’t", "don‘t", "donʼt", "don`t", "don't"),
    "typographic quotes": ("“on”", "„on“", "‟on″", '"on"'),
    "an ellipsis": ("wait…", "wait‥.", "wait..."),
    "hyphens": ("well‐made", "well‑made", "well−made", "well-made"),
    "byte order marks": ("\ufeffon", "on\ufeff", "on"),
    "zero-width characters": ("o\u200bn", "\u2060on", "o\u200cn", "on"),
    "marks of direction": ("\u202bon\u202c", "\u061con", "\u200eon", "on"),
    "soft hyphens": ("hos\u00adpi\u00adtal", "hospital"),
    "spaces": ("a\u00a0b", "a\u202fb", " a\t\r\n b ", "a\u2028b", "a b"),
    "full width": ("Ａ１％", "A1%"),
    "half width": ("ﾊﾟｿｺﾝ", "パソコン"),
    "accents": ("cafe\u0301", "caf\u00e9"),
    "ligatures": ("ﬁﬂy", "fifly"),
    "presentation forms": ("ﻻ", "لا"),
    "variation selectors": ("❤\ufe0f", "❤"),
    "emoji": ("👩\u200d🚀", "👩🚀"),
    "Windows-1252 read as Latin-1": ("don\x92t \x96 \x85", "don't – ..."),
    "control characters": ("o\x00n\x7f", "on"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ALIKE)
def test_what_differs_by_typography_alone_becomes_one_text(kind):
    assert {text_folding.fold(text) for text in ALIKE[kind]} == {
        ALIKE[kind][-1]
    }


@pytest.mark.parametrize("kind", ALIKE)
def test_folding_again_changes_nothing(kind):
    for text in ALIKE[kind]:
        once = text_folding.fold(text)
        assert text_folding.fold(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "schön",
        "Straße",
        "10² is 100, ½ is 0.5",
        "«oui» – non — si",
        "می\u200cخواهم",
        "क्\u200dष क्\u200cष",
        "ශ්\u200dරී",
        "مُحَمَّد",
        "שָׁלוֹם",
        "น้ำ",
        "你好，世界！",
        "צה״ל",
        "\u0601٢٣",
        "👍🏽",
    ],
)
def test_what_means_something_stays(text):
    assert text_folding.fold(text) == unicodedata.normalize("NFC", text)


def test_every_character_folds_to_itself_folded():
    for code in range(0x30000):
        character = chr(code)
        once = text_folding.fold(f"a{character}b")
        assert text_folding.fold(once) == once, hex(code)
        assert "\ufeff" not in once and "  " not in once


@pytest.mark.parametrize("text", ["...", "—", "?!", "%", "👍", "\u0301", ""])
def test_punctuation_alone_is_no_word(text):
    assert not text_folding.is_word(text)


@pytest.mark.parametrize("text", ["a", "5", "½", "語", "'n'", "ाक"])
def test_a_letter_or_digit_makes_a_word(text):
    assert text_folding.is_word(text)


def test_fractions_part_from_the_number_before_them():
    assert text_folding.with_plain_fractions("5½ or ¾") == "5 1/2 or  3/4"


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("مُحَمَّد", "محمد"),
        ("مـــا", "ما"),
        ("שָׁלוֹם", "שלום"),
        ("می\u200cخواهم", "میخواهم"),
    ],
)
def test_marks_that_a_writer_may_leave_out_go(written, plain):
    assert text_folding.without_optional_marks(written) == plain
