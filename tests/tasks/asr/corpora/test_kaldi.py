import pytest

from tasks.asr.corpora import kaldi
from tests.tasks.asr.corpora import trees


def make(root, recordings, texts, speakers, segments=None):
    tables = {
        "wav.scp": recordings,
        "text": texts,
        "utt2spk": speakers,
        "segments": segments,
    }
    for name, table in tables.items():
        if table is not None:
            lines = [f"{key} {value}".rstrip() for key, value in table.items()]
            trees.text(root / name, "\n".join(lines) + "\n")


def test_recordings_with_absolute_and_relative_paths(tmp_path):
    root = tmp_path / "data"
    absolute = trees.audio(tmp_path / "with space" / "a.wav")
    trees.audio(root / "b.flac")
    make(
        root,
        {"u1": absolute, "u2": "b.flac"},
        {"u1": "HELLO  WORLD", "u2": "ÜBER"},
        {"u1": "ann", "u2": "bob"},
    )
    utterances, left_out = kaldi.read(str(root))
    assert [(u.speaker, u.utt_id, u.text) for u in utterances] == [
        ("ann", "u1", "HELLO WORLD"),
        ("bob", "u2", "ÜBER"),
    ]
    assert not left_out


def test_utt2lang_names_the_languages(tmp_path):
    for name in ("a", "b"):
        trees.audio(tmp_path / f"{name}.wav")
    make(
        tmp_path,
        {"a": "a.wav", "b": "b.wav"},
        {"a": "ja", "b": "yes"},
        {"a": "ann", "b": "bob"},
    )
    trees.text(tmp_path / "utt2lang", "a de\n")
    utterances, _ = kaldi.read(str(tmp_path))
    assert [each.language for each in utterances] == ["de", ""]


def test_relative_paths_can_start_elsewhere(tmp_path):
    trees.audio(tmp_path / "corpus" / "a.wav")
    make(tmp_path / "data", {"u1": "corpus/a.wav"}, {"u1": "x"}, {"u1": "ann"})
    (utterance,), _ = kaldi.read(str(tmp_path / "data"), str(tmp_path))
    assert utterance.audio_filepath == str(tmp_path / "corpus" / "a.wav")


def test_segments_become_offsets_and_durations(tmp_path):
    trees.audio(tmp_path / "a.wav", 3.0)
    names = ["u1", "u2", "u3", "u4", "u5", "u6"]
    make(
        tmp_path,
        {"rec": "a.wav"},
        dict.fromkeys(names, "x"),
        dict.fromkeys(names, "ann"),
        {
            "u1": "rec 0.5 1.25",
            "u2": "rec 1.0 -1",
            "u3": "rec 2.0 1.0",
            "u4": "rec 2.0 4.0",
            "u5": "other 0 1",
            "u6": "rec zero 1",
        },
    )
    utterances, left_out = kaldi.read(str(tmp_path))
    assert [(u.utt_id, u.offset, u.duration) for u in utterances] == [
        ("u1", 0.5, 0.75),
        ("u2", 1.0, 2.0),
    ]
    assert trees.reasons(left_out) == {
        "segments: ends before it starts": 1,
        "end outside of the audio file": 1,
        "recording is not in wav.scp": 1,
        "segments: not `recording start end`": 1,
    }


def test_commands_are_refused_and_never_run(tmp_path):
    trees.audio(tmp_path / "a.wav")
    ran = tmp_path / "ran"
    make(
        tmp_path,
        {
            "u1": "a.wav",
            "u2": f"touch {ran} |",
            "u3": f"| touch {ran}",
            "u4": "feats.ark:1234",
            "u5": "-",
        },
        {f"u{n}": "x" for n in range(1, 6)},
        {f"u{n}": "ann" for n in range(1, 6)},
    )
    utterances, left_out = kaldi.read(str(tmp_path))
    assert [u.utt_id for u in utterances] == ["u1"]
    assert not ran.exists()
    assert trees.reasons(left_out) == {
        "command instead of a file in wav.scp: refused": 2,
        "archive instead of an audio file in wav.scp": 1,
        "no file name in wav.scp": 1,
    }
    assert f"touch {ran} |" in {each.detail for each in left_out}


def test_gaps_between_the_tables_are_accounted_for(tmp_path):
    trees.audio(tmp_path / "a.wav")
    make(
        tmp_path,
        {f"u{n}": "a.wav" for n in range(1, 5)},
        {"u1": "x", "u2": "x", "u3": "", "u9": "x"},
        {"u1": "ann", "u3": "ann", "u4": "ann"},
    )
    with open(tmp_path / "text", "a") as file:
        file.write("u1 again\n")
    utterances, left_out = kaldi.read(str(tmp_path))
    assert [(u.utt_id, u.text) for u in utterances] == [("u1", "x")]
    assert trees.reasons(left_out) == {
        "no speaker in utt2spk": 1,
        "no transcript": 2,
        "transcript without audio": 1,
        "key is there twice": 1,
    }


def test_folder_without_the_tables_is_a_clear_error(tmp_path):
    make(tmp_path, {}, {}, None)
    with pytest.raises(ValueError, match="no Kaldi data folder.*utt2spk"):
        kaldi.read(str(tmp_path))
