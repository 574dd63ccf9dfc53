import pytest

from lingvo_like import languages

KNOWN = ("en", "de", "fr")


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("en", "en"),
        (" ES ", "es"),
        ("es-MX", "es"),
        ("pt_BR", "pt"),
        ("zh-Hant-TW", "zh"),
        ("yue", "yue"),
        ("", ""),
    ],
)
def test_a_code_is_compared_without_case_and_region(written, code):
    assert languages.folded(written) == code
    assert languages.folded(code) == code


@pytest.mark.parametrize("written", ["english", "e", "en us", "de/at", "日本"])
def test_what_is_no_code_is_refused(written):
    with pytest.raises(ValueError, match="two or three letters.*Received"):
        languages.folded(written)


def test_an_index_is_the_place_among_the_known():
    assert [languages.index(KNOWN, code) for code in KNOWN] == [0, 1, 2]


def test_a_base_without_a_choice_needs_no_code():
    assert languages.index(("en",), "") == 0
    assert languages.index(languages.NONE, "") == 0


def test_a_base_without_a_language_takes_any():
    assert languages.index(languages.NONE, "tlh") == 0


@pytest.mark.parametrize(
    ("known", "code", "message"),
    [
        (KNOWN, "tlh", "knows no language 'tlh'. It knows: de, en, fr"),
        (KNOWN, "", "which one is spoken. It knows: de, en, fr"),
        (("en",), "de", "'en' alone. Received: 'de'. Take a multilingual"),
    ],
)
def test_a_language_that_is_not_known_is_refused_with_those_that_are(
    known, code, message
):
    with pytest.raises(ValueError, match=message):
        languages.index(known, code)
