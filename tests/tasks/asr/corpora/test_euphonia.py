import pytest

from tasks.asr.corpora import euphonia
from tests.tasks.asr.corpora import trees


def person(folder, phrases):
    for index, phrase in phrases.items():
        trees.text(folder / "data" / index / "phrase.txt", phrase)
        trees.audio(folder / "data" / index / "recording.wav")


def test_one_persons_phrases_come_in_order_of_their_index(tmp_path):
    root = tmp_path / "ann"
    person(root, {"10": "ten", "2": "two\nlines ", "0": "zéro"})
    utterances, left_out = euphonia.read(str(root))
    assert [(u.utt_id, u.text) for u in utterances] == [
        ("0", "zéro"),
        ("2", "two lines"),
        ("10", "ten"),
    ]
    assert {u.speaker for u in utterances} == {"ann"}
    assert {u.duration for u in utterances} == {1.0}
    assert not left_out
    # The data folder itself is as good as the one above it.
    assert euphonia.read(str(root / "data"))[0] == utterances
    named, _ = euphonia.read(str(root), speaker="Ann B.")
    assert {u.speaker for u in named} == {"Ann B."}


def test_several_people_are_told_apart_by_their_folders(tmp_path):
    person(tmp_path / "ann", {"0": "a"})
    person(tmp_path / "7", {"0": "b"})
    utterances, _ = euphonia.read(str(tmp_path))
    assert {(u.speaker, u.text) for u in utterances} == {
        ("ann", "a"),
        ("7", "b"),
    }
    with pytest.raises(ValueError, match="--speaker=bob names one speaker"):
        euphonia.read(str(tmp_path), speaker="bob")


def test_unfinished_phrases_are_accounted_for(tmp_path):
    data = tmp_path / "data"
    person(tmp_path, {"0": "fine", "1": " \n"})
    trees.text(data / "2" / "phrase.txt", "never recorded")
    trees.audio(data / "3" / "recording.wav")
    trees.text(data / "4" / "phrase.txt", "empty upload")
    (data / "4" / "recording.wav").write_bytes(b"")
    trees.text(data / "notes" / "readme.txt", "x")
    trees.audio(data / "5" / "recording.wav")
    (data / "5" / "phrase.txt").write_bytes(b"caf\xe9")
    utterances, left_out = euphonia.read(str(tmp_path))
    assert [u.text for u in utterances] == ["fine"]
    assert trees.reasons(left_out) == {
        "empty transcript": 1,
        "no recording.wav": 1,
        "no phrase.txt": 1,
        "audio file is empty (0 bytes)": 1,
        "folder's name is not a phrase's index": 1,
        "text file is not UTF-8": 1,
    }
