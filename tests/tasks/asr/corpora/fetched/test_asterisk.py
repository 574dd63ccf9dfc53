"""Telephone prompts and their texts."""

import gzip

import pytest

from tasks.asr.corpora.fetched import asterisk
from tests.tasks.asr.corpora.fetched import made_up

TEXTS = """\ufeffagent-pass: Digitare la password.
; A comment: not a transcript

sar: Al segnale il tempo sar? esattamente...
full: La conferenza ? piena.
folder: In quale cartella?
digits/0: zero
digits/0: dieci
digits/1: uno
beep: un suono beep
maybe: Il [suo] messaggio
plus: pi\xf9 [+]
menu: (in inglese) IAX
both: poi premere vm-then-pound: cancelletto
star: premere * ora
silence/1: (un secondo di silenzio)
"""


@pytest.fixture
def roots(tmp_path):
    """The folders of two packages: sounds and texts."""
    sounds = tmp_path / "sounds" / "usr/share/asterisk/sounds/it_IT_f"
    texts = tmp_path / "texts"
    texts.mkdir(parents=True)
    (texts / "core-sounds-it.txt.gz").write_bytes(gzip.compress(TEXTS.encode()))
    keys = {line.split(":")[0] for line in TEXTS.splitlines() if ":" in line}
    for key in (keys | {"unknown", "digits/2"}) - {"; A comment"}:
        path = sounds / f"{key.lstrip(chr(0xFEFF))}.gsm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (sounds / "LICENSE").touch()
    return tmp_path / "sounds", texts


def read(roots, *only, language="it"):
    prompts = asterisk.Prompts("it_IT_f", "core-sounds-it.txt.gz", only)
    return asterisk.read(*roots, prompts, language)


def test_texts_and_what_nobody_can_tell(roots):
    found = {each.utt_id: each for each in read(roots)}
    said, refused = made_up.outcomes(found.values())
    assert said == {
        "agent-pass": "Digitare la password.",
        "folder": "In quale cartella?",
        "digits.1": "uno",
        "plus": "pi\xf9",
        "menu": "IAX",
    }
    assert refused == {
        "sar": "letters of the transcript are lost",
        "full": "letters of the transcript are lost",
        "digits.0": "several transcripts",
        "digits.2": "no transcript",
        "beep": "described, not spoken",
        "silence.1": "described, not spoken",
        "maybe": "words in brackets: said or not, nobody can tell",
        "both": "several transcripts",
        "star": "symbols: nobody can tell how they are read",
        "unknown": "no transcript",
    }
    assert found["digits.1"].place == "digits/1.gsm"
    assert found["digits.1"].path.is_file()


def test_of_another_voices_texts_only_those_of_fixed_wording(roots):
    assert {each.utt_id for each in read(roots, "digits")} == {
        "digits.0",
        "digits.1",
        "digits.2",
    }


def test_symbols_are_read_aloud_in_english(roots):
    found = {each.utt_id: each.text for each in read(roots, language="en")}
    assert found["star"] == "premere star ora"


def test_packages_without_the_voice_are_an_error(roots):
    prompts = asterisk.Prompts("it_IT_m", "core-sounds-it.txt.gz")
    with pytest.raises(FileNotFoundError, match="no it_IT_m in"):
        asterisk.read(*roots, prompts, "it")


@pytest.mark.parametrize(
    "text, spoken",
    [
        ("at [@]", "at"),
        ("...to leave.", "to leave."),
        ("Press ...", "Press"),
        ("press # to enter", "press pound to enter"),
        ("<beep ascending>", ""),
        ("IAX (note: does not say)", "IAX"),
    ],
)
def test_text_keeps_only_what_is_spoken(text, spoken):
    assert asterisk.spoken_text(text, "en") == spoken
