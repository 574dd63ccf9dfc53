"""The table of voices."""

import pytest

from tasks.asr.corpora.fetched import voices


def names(chosen):
    return [each.name for each in chosen]


def test_the_voices_and_their_languages():
    assert {name: each.language for name, each in voices.VOICES.items()} == {
        "asterisk-en": "en",
        "asterisk-es": "es",
        "asterisk-fr": "fr",
        "asterisk-it": "it",
        "prompt-it-menardi": "it",
        "prompt-fr-armelle": "fr",
        "prompt-es-co": "es",
        "stamps-es": "es",
        "stamps-fr": "fr",
        "stamps-ca": "ca",
        "stamps-ro": "ro",
        "stamps-be": "be",
    }


def test_each_voice_is_a_speaker_of_its_own_with_a_licence():
    speakers = {each.speaker for each in voices.VOICES.values()}
    assert len(speakers) == len(voices.VOICES)
    for each in voices.VOICES.values():
        assert "licence" in each.notice
        assert "copyright" in each.notice or "2012" in each.notice


def test_voices_are_chosen_by_name_once_and_in_one_order():
    assert names(voices.chosen(["stamps-es", "asterisk-en", "stamps-es"])) == [
        "asterisk-en",
        "stamps-es",
    ]
    assert names(voices.chosen(["all"])) == list(voices.VOICES)


@pytest.mark.parametrize(
    "asked, message",
    [
        (["stamps-ea"], "unknown voice 'stamps-ea'. Did you mean stamps-"),
        ([], "no voice is named; name some of asterisk-en, "),
        (["all", "stamps-es"], "unknown voice 'all'"),
    ],
)
def test_an_unknown_voice_is_named(asked, message):
    with pytest.raises(ValueError, match=message):
        voices.chosen(asked)


def test_the_list_has_a_line_for_each():
    lines = voices.listing().splitlines()
    assert len(lines) == 1 + len(voices.VOICES)
    assert lines[0].split() == ["voice", "language", "speaker", "of"]
    assert lines[1].split()[:3] == ["asterisk-en", "en", "asterisk-allison"]
