import pytest

from tasks.asr.corpora import uaspeech
from tests.tasks.asr.corpora import trees

WORDS = {"D1": "ONE", "LA": "A", "C10": "ENTER", "CW99": "THE", "UW2": "ZOO"}


def make_mlf(root, speaker, stems, timed=False):
    lines = ["#!MLF!#"]
    for stem in stems:
        word = WORDS[stem.split("_")[2]]
        lines += [f'"*/{stem}.lab"', f"0 9000 {word}" if timed else word, "."]
    trees.text(
        root / "mlf" / speaker / f"{speaker}_word.mlf", "\n".join(lines) + "\n"
    )


def make_speaker(root, folder, speaker, timed=False):
    stems = [
        f"{speaker}_B{block}_{word}_M{mic}"
        for block in (1, 2, 3)
        for word in WORDS
        for mic in (3, 5)
    ]
    for stem in stems:
        trees.audio(root / folder / speaker / f"{stem}.wav", 0.2)
    make_mlf(root, speaker, stems, timed)
    return stems


def test_blocks_make_the_splits_and_controls_are_marked(tmp_path):
    make_speaker(tmp_path, "audio/original", "F02")
    make_speaker(tmp_path, "audio/original/control", "CM01", timed=True)
    utterances, left_out = uaspeech.read(str(tmp_path))
    assert not left_out
    assert len(utterances) == 60
    for each in utterances:
        _, block, word, mic = each.utt_id.split("_")
        assert each.split == ("test" if block == "B2" else "train")
        assert (each.session, each.mic) == (block, mic)
        assert each.text == WORDS[word]
        assert each.etiology == ("control" if each.speaker == "CM01" else "")
        assert each.severity == ""


def test_one_microphone_can_be_chosen(tmp_path):
    make_speaker(tmp_path, "audio/original", "F02")
    utterances, left_out = uaspeech.read(str(tmp_path), mic="m5")
    assert {u.mic for u in utterances} == {"M5"} and len(utterances) == 15
    assert not left_out
    both, _ = uaspeech.read(str(tmp_path), mic="M3,M5")
    assert len(both) == 30
    with pytest.raises(ValueError, match="--mic must be among M1.*M9"):
        uaspeech.read(str(tmp_path), mic="M5,M9")


def test_missing_mics_empty_files_and_odd_names_are_accounted_for(tmp_path):
    folder = tmp_path / "audio" / "original" / "M12"
    make_speaker(tmp_path, "audio/original", "M12")
    (folder / "M12_B1_D1_M3.wav").unlink()
    (folder / "M12_B1_LA_M3.wav").write_bytes(b"")
    trees.audio(folder / "M12_B3_C10_M3.wav", 0.0)
    trees.audio(folder / "M12_B4_C10_M3.wav")
    # No label for this microphone, but one for the word.
    trees.audio(folder / "M12_B1_D1_M6.wav", 0.2)
    trees.audio(folder / "M12_B1_UW7_M5.wav", 0.2)
    utterances, left_out = uaspeech.read(str(tmp_path))
    assert {u.text for u in utterances if u.mic == "M6"} == {"ONE"}
    assert len(utterances) == 28
    assert trees.reasons(left_out) == {
        "label without audio": 1,
        "audio file is empty (0 bytes)": 1,
        "no samples in the audio file": 1,
        "file name is not SPK_BLOCK_WORD_MIC": 1,
        "no label in the MLF": 1,
    }


def test_speaker_without_mlf_is_accounted_for(tmp_path):
    make_speaker(tmp_path, "audio/original", "F02")
    trees.audio(tmp_path / "audio" / "original" / "F03" / "F03_B1_D1_M5.wav")
    _, left_out = uaspeech.read(str(tmp_path))
    assert trees.reasons(left_out) == {
        "no MLF of the speaker": 1,
        "no label in the MLF": 1,
    }


def test_version_of_the_audio(tmp_path):
    for version in ("original", "normalized", "noisereduced"):
        make_speaker(tmp_path, f"audio/{version}", "F02")
    utterances, _ = uaspeech.read(str(tmp_path), audio_version="noisereduce")
    assert all("/noisereduced/" in u.audio_filepath for u in utterances)
    with pytest.raises(ValueError, match="'clean'.*It holds: noisereduced"):
        uaspeech.read(str(tmp_path), audio_version="clean")


def test_audio_without_a_version_folder(tmp_path):
    make_speaker(tmp_path, "audio", "F02")
    make_speaker(tmp_path, "audio/control", "CF02")
    utterances, _ = uaspeech.read(str(tmp_path))
    assert {u.speaker for u in utterances} == {"F02", "CF02"}
