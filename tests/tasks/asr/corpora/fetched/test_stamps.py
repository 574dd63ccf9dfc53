"""The spoken names of stamps and their texts."""

import pytest

from tasks.asr.corpora.fetched import stamps
from tasks.asr.data import rejections
from tests.tasks.asr.corpora.fetched import made_up


def read(root, language, **person):
    return stamps.read(root, language, stamps.Person(**person))


@pytest.fixture
def root(tmp_path):
    """The folder of a package of stamps."""
    folder = tmp_path / "usr/share/tuxpaint/stamps"
    texts = {
        "animals/dog": "A dog.\r\nca.utf8=Un gos.\r\nes.utf8=Un  perro. \r\n",
        "animals/cat": "A cat.\nes.utf8=Un gato (una gata).\n",
        "town/cat": "A cat.\nes.utf8=Un gato.\nes_MX.utf8=Un michi.\n",
        "calculator": "es.utf8=Una calculadora. 6x7=42\n",
        "untold": "Untold.\nes.utf8=\nfr.utf8=Indicible.\n",
        "twice": "es.utf8=Uno.\nes.utf8=Dos.\n",
        "latin": b"es.utf8=Ni\xf1o.\n",
        "silent": None,
    }
    for name, text in texts.items():
        made_up.put(folder, f"{name}_desc_es.ogg", made_up.ogg(1.0))
        if text is not None:
            made_up.put(folder, f"{name}.txt", text)
    made_up.put(folder, "animals/dog_desc_ca.ogg", made_up.ogg(1.0, "OPUS"))
    made_up.put(folder, "animals/dog_desc_cab.ogg", made_up.ogg(1.0))
    made_up.put(folder, "animals/dog.ogg", made_up.ogg(1.0))
    return tmp_path


def test_the_texts_of_one_language_and_what_nobody_can_tell(root):
    found = {each.utt_id: each for each in read(root, "es")}
    said, refused = made_up.outcomes(found.values())
    assert said == {"animals.dog": "Un perro.", "town.cat": "Un gato."}
    assert refused == {
        "animals.cat": "words in brackets: said or not, nobody can tell",
        "calculator": "symbols: nobody can tell how they are read",
        "untold": "no transcript",
        "twice": "several transcripts",
        "latin": "text file is not UTF-8",
        "silent": "no transcript",
    }
    assert found["animals.dog"].place == "animals/dog_desc_es.ogg"
    assert found["animals.dog"].path.is_file()


def test_other_languages_are_not_taken(root):
    (dog,) = read(root, "ca")
    assert dog.text == "Un gos."
    assert read(root, "ro") == []


def test_recordings_of_somebody_else_are_left_out(root):
    (dog,) = read(root, "ca", encoder="libVorbis")
    assert isinstance(dog.text, rejections.UnusableError)
    assert dog.text.reason == "spoken by somebody else"
    (dog,) = read(root, "ca", encoder="Opus")
    assert dog.text == "Un gos."


def test_a_folder_whose_texts_are_others_now_is_left_out(root):
    found = {
        each.utt_id: each.text
        for each in read(root, "es", reworded=("animals", "food"))
        if each.utt_id in ("animals.dog", "town.cat")
    }
    assert found["town.cat"] == "Un gato."
    assert isinstance(found["animals.dog"], rejections.UnusableError)
    assert "in other words" in found["animals.dog"].reason


def test_a_package_without_stamps_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="no stamps in"):
        read(tmp_path, "es")
