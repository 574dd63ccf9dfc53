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


@pytest.mark.parametrize("normalizer", text.NORMALIZERS)
@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("wait ... on", "wait on"),
        ("hello….", "hello"),
        ("on . . . off", "on off"),
        ("on .. off....", "on off"),
        ("on...off", "on off"),
        ("on...5 off", "on 5 off"),
        ("on – off — up -- down", "on off up down"),
        ("on—off", "on off"),
        ("“ on ” ' off '", "on off"),
        ("don’t", "don't"),
        ("\ufeffon o\u200bff", "on off"),
        ("hos\u00adpital\u00a0on", "hospital on"),
        ("Ａ５ ﬁve", "A5 five"),
        ("cafe\u0301", "café"),
        ("on 👍 off", "on off"),
        ("5½ cups", "5 1/2 cups"),
    ],
)
def test_no_normalizer_makes_words_of_typography(normalizer, written, same):
    def words(value):
        return text.normalize(value, normalizer).strip("., !?'\"")

    assert words(written) == words(same)


@pytest.mark.parametrize("normalizer", text.NORMALIZERS)
def test_punctuation_alone_is_no_word(normalizer):
    for marks in ("...", "….", ". . .", "—", "?!", "“ ”", "%", "👍", "। ،"):
        assert text.normalize(marks, normalizer) == ""


def test_a_sign_for_letters_is_those_letters():
    for sign, letters in (("20 ℃", "20 °C"), ("№ 5", "No 5"), ("Ⅳ", "IV")):
        assert text.normalize(sign, "english") == (
            text.normalize(letters, "english")
        )


def test_basic_keeps_accents_and_vowel_signs_inside_words():
    assert text.normalize("schön", "basic") != text.normalize("schon", "basic")
    assert text.normalize("हिन्दी में।", "basic") == "हिन्दी में"
    assert text.normalize("İstanbul", "basic") == "istanbul"


def test_basic_leaves_out_points_that_writers_leave_out():
    for written, plain in (("مُحَمَّد", "محمد"), ("שָׁלוֹם", "שלום")):
        assert text.normalize(written, "basic") == plain
    joined = text.normalize("می\u200cخواهم", "basic")
    assert joined == text.normalize("میخواهم", "basic")


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("電気をつけて。", "電 気 を つ け て"),
        ("เปิดไฟ", "เ ปิ ด ไ ฟ"),
        ("USB を!", "u s b を"),
    ],
)
def test_characters_are_words_where_nobody_writes_spaces(written, words):
    assert text.normalize(written, "characters") == words


@pytest.mark.parametrize(
    ("normalizer", "language", "chosen"),
    [
        ("auto", "en", "english"),
        ("auto", "", "english"),
        ("auto", "de", "basic"),
        ("auto", "ja", "characters"),
        ("auto", "th", "characters"),
        ("auto", "ko", "basic"),
        ("english", "en", "english"),
        ("basic", "de", "basic"),
        ("none", "de", "none"),
    ],
)
def test_the_normalizer_follows_the_language(normalizer, language, chosen):
    assert text.choose(normalizer, language) == chosen


def test_english_rules_are_refused_for_other_languages():
    with pytest.raises(ValueError, match="schon.*'de'; take `auto`"):
        text.choose("english", "de")


def test_unknown_normalizer_names_the_near_one():
    with pytest.raises(ValueError, match="'englsh'.*mean english"):
        text.normalize("a", "englsh")


def test_unknown_normalizer_with_no_near_one_lists_all():
    with pytest.raises(ValueError, match="basic, characters, english, none"):
        text.normalize("a", "zzz")


def test_normalizers_are_built_once():
    assert text._normalizer("english") is text._normalizer("english")
