import os
import shutil
import unicodedata

import pytest

from tasks.asr.corpora import speaker_folders, textfiles
from tests.tasks.asr.corpora import trees


def pair(folder, name="0001.wav", content="turn on", text_name=""):
    trees.audio(folder / name)
    stem = name.rpartition(".")[0]
    trees.text(folder / (text_name or f"{stem}.txt"), content)


def test_a_folder_for_each_person(tmp_path):
    pair(tmp_path / "ann", "0001.wav", "\ufeffturn on\r\n")
    pair(tmp_path / "ann", "a b.FLAC", "two\nlines", text_name="a b.TXT")
    pair(tmp_path / "bo", "0001.ogg", "off", text_name="0001.ogg.txt")
    utterances, left_out = textfiles.read(tmp_path)
    assert not left_out
    assert [(u.speaker, u.utt_id, u.text) for u in utterances] == [
        ("ann", "ann/0001", "turn on"),
        ("ann", "ann/a b", "two lines"),
        ("bo", "bo/0001", "off"),
    ]
    assert textfiles.recognises(tmp_path)


def test_splits_and_folders_of_files_name_nobody(tmp_path):
    pair(tmp_path / "train" / "ann" / "wav")
    pair(tmp_path / "test" / "wav" / "ann")
    utterances, _ = textfiles.read(tmp_path)
    assert [(u.speaker, u.split) for u in utterances] == [
        ("ann", "test"),
        ("ann", "train"),
    ]


def test_people_may_be_called_as_splits_are(tmp_path):
    for name in ("dev_patel", "val-smith"):
        pair(tmp_path / "train" / name)
    utterances, _ = textfiles.read(tmp_path)
    assert [(u.speaker, u.split) for u in utterances] == [
        ("dev_patel", "train"),
        ("val-smith", "train"),
    ]


def test_names_pair_however_letters_and_accents_are_joined(tmp_path):
    name = unicodedata.normalize("NFD", "Größe")
    pair(tmp_path / "ann", f"{name}.wav", text_name="Größe.txt")
    utterances, left_out = textfiles.read(tmp_path)
    assert len(utterances) == 1 and not left_out


def test_folders_that_are_links_are_read_and_loops_end(tmp_path):
    pair(tmp_path / "disk" / "one")
    root = tmp_path / "root"
    root.mkdir()
    (root / "ann").symlink_to(tmp_path / "disk" / "one")
    (root / "ann" / "loop").symlink_to(root)
    (root / "loop").symlink_to(root)
    utterances, _ = textfiles.read(root)
    assert [u.speaker for u in utterances] == ["ann"]


def test_of_several_folders_the_user_says_which_names_the_speaker(tmp_path):
    pair(tmp_path / "phone" / "ann")
    with pytest.raises(ValueError, match="phone/ann: which .*=first takes"):
        textfiles.read(tmp_path)
    for which, speaker in (("first", "phone"), ("last", "ann")):
        (one,), _ = textfiles.read(tmp_path, speaker_folder=which)
        assert one.speaker == speaker
    (one,), _ = textfiles.read(tmp_path, speaker="bo")
    assert one.speaker == "bo"
    with pytest.raises(ValueError, match="must be first or last"):
        textfiles.read(tmp_path, speaker_folder="middle")


def test_what_has_no_partner_is_listed_whatever_its_extension(tmp_path):
    folder = tmp_path / "ann"
    pair(folder)
    pair(tmp_path, "stray.wav")
    pair(folder, "empty.wav", " \n")
    trees.audio(folder / "alone.wav")
    trees.text(folder / "alone too.txt", "hm")
    trees.text(folder / "notes.docx", "hm")
    trees.text(folder / "all.jsonl.left_out.txt", "ours")
    trees.text(folder / ".hidden.txt", "hm")
    trees.audio(folder / "latin.wav")
    (folder / "latin.txt").write_bytes("über".encode("latin-1"))
    pair(folder, "same.wav")
    trees.audio(folder / "same.flac")
    utterances, left_out = textfiles.read(tmp_path)
    assert [u.utt_id for u in utterances] == ["ann/0001", "ann/same"]
    assert trees.reasons(left_out) == {
        speaker_folders.NO_SPEAKER: 1,
        "empty transcript": 1,
        "recording without a text file": 1,
        "text file without a recording": 1,
        "neither recording nor text": 1,
        "text file is not UTF-8": 1,
        "duplicate utt_id of one speaker": 1,
    }


def test_texts_of_windows_editors_are_read(tmp_path):
    pair(tmp_path / "ann")
    (tmp_path / "ann" / "0001.txt").write_bytes("schön".encode("utf-16"))
    (one,), _ = textfiles.read(tmp_path)
    assert one.text == "schön"


def test_odd_names_are_read_or_named(tmp_path):
    folder = tmp_path / "ann"
    for stem in ("a b", "ünï 李", "new\nline", "comma,name"):
        pair(folder, f"{stem}.wav")
    trees.text(folder / "gone.txt", "yes")
    (folder / "gone.wav").symlink_to("/nowhere/x.wav")
    (folder / "folder.wav").mkdir()
    path = os.fsencode(folder) + b"/latin\xe9"
    for suffix, source in ((b".wav", "a b.wav"), (b".txt", "a b.txt")):
        shutil.copy(os.fsencode(folder / source), path + suffix)
    utterances, left_out = textfiles.read(tmp_path)
    assert len(utterances) == 4
    assert trees.reasons(left_out) == {
        "audio file is missing": 1,
        "file name is not UTF-8; rename it": 1,
    }
    assert "latin\\xe9.wav" in left_out.account()
