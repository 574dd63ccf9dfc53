import pytest

from tasks.asr.data import text


def test_none_keeps_case_and_punctuation():
    assert text.normalize("Turn ON, please.", "none") == "Turn ON, please."


def test_torgo_is_upper_case_without_its_seven_marks():
    assert (
        text.normalize('He said: "stop!", no; why? It\'s well-made.', "torgo")
        == "HE SAID STOP NO WHY IT'S WELL-MADE"
    )


def test_basic_lowers_and_drops_punctuation():
    assert text.normalize("Turn ON, please.", "basic") == "turn on please"


def test_english_spells_numbers_contractions_and_british_words_one_way():
    assert (
        text.normalize("I can't see twenty-five colours!", "english")
        == "i can not see 25 colors"
    )


def test_words_are_parted_by_single_spaces_whatever_parted_them():
    for normalizer in text.NORMALIZERS:
        assert text.normalize("\tturn \n\n on ", normalizer).split(" ") == (
            text.normalize("turn on", normalizer).split(" ")
        )


def test_fillers_alone_leave_nothing_under_english():
    assert text.normalize("Uh, hmm.", "english") == ""


def test_unknown_normalizer_names_the_near_one():
    with pytest.raises(ValueError, match="'englsh'.*mean english"):
        text.normalize("a", "englsh")


def test_unknown_normalizer_with_no_near_one_lists_all():
    with pytest.raises(ValueError, match="basic, english, none, torgo"):
        text.normalize("a", "zzz")


def test_normalizers_are_built_once():
    assert text._normalizer("english") is text._normalizer("english")
