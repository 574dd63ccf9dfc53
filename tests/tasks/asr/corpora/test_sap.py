import json

import pytest

from tasks.asr.corpora import sap
from tests.tasks.asr.corpora import trees


def make_speaker(folder, transcripts, etiology="Parkinson's Disease"):
    files = []
    for number, transcript in enumerate(transcripts):
        name = f"{folder.name}_{number}_1.wav"
        trees.audio(folder / name)
        files.append({"Filename": name, "Prompt": {"Transcript": transcript}})
    record = {"Etiology": etiology, "Files": files}
    trees.text(folder / f"{folder.name}.json", json.dumps(record))
    return record


def test_splits_speakers_and_etiologies(tmp_path):
    make_speaker(tmp_path / "processed" / "Train" / "u-1", ["Hello there."])
    make_speaker(tmp_path / "processed" / "Dev" / "u-2", ["Hi."], "ALS")
    make_speaker(tmp_path / "raw" / "Train" / "u-1", ["Hello there."])
    trees.text(tmp_path / "processed" / "Train" / "summary.json", "{}")
    utterances, left_out = sap.read(str(tmp_path))
    assert {(u.speaker, u.split, u.etiology, u.text) for u in utterances} == {
        ("u-1", "train", "Parkinson's Disease", "Hello there."),
        ("u-2", "dev", "ALS", "Hi."),
    }
    assert all("/processed/" in u.audio_filepath for u in utterances)
    assert not left_out
    one_split, _ = sap.read(str(tmp_path / "processed" / "Dev"))
    assert [(u.speaker, u.split) for u in one_split] == [("u-2", "dev")]


def test_descriptions_may_lie_beside_the_raw_audio(tmp_path):
    make_speaker(tmp_path / "raw" / "Test" / "u-1", ["a"])
    trees.audio(tmp_path / "processed" / "Test" / "u-1" / "u-1_0_1.wav")
    (utterance,), _ = sap.read(str(tmp_path))
    assert "/processed/" in utterance.audio_filepath
    assert (utterance.text, utterance.split) == ("a", "test")


@pytest.mark.parametrize(
    ("transcript", "text"),
    [
        ("#dis\nTurn it up.", "Turn it up."),
        ("[noise] Turn [cough] it up", "Turn it up"),
        ("noise] Turn it up", "Turn it up"),
        ("Turn (tur- turn) it up", "Turn it up"),
        ("Turn {g:wanna} it up", "Turn wanna it up"),
        ("call (cs:mamá) now", "call mamá now"),
        ("Spell ~C ~B please, ~A", "Spell CB please, A"),
        ("Turn {w:} it up", "Turn it up"),
        ("Turn {w:2} up", None),
        ("Turn {u:xx} up", None),
        ("Turn {} up", None),
        ("[noise]", ""),
        ("...", ""),
    ],
)
def test_marks_are_read(transcript, text):
    assert sap.clean(transcript) == text


def test_disfluencies_can_be_kept():
    assert sap.clean("Turn (tur- turn) it", True) == "Turn tur- turn it"


def test_what_cannot_be_used_is_accounted_for(tmp_path):
    folder = tmp_path / "Train" / "u-1"
    record = make_speaker(folder, ["fine", "a {w:2} b", "[noise]", None])
    record["Files"] += [
        {"Filename": "u-1_9_1.wav", "Prompt": {"Transcript": "gone"}},
        {"Filename": "u-1_0_1.wav", "Prompt": {"Transcript": "again"}},
        {"Prompt": {"Transcript": "nameless"}},
        "odd",
    ]
    trees.text(folder / "u-1.json", json.dumps(record))
    trees.audio(folder / "u-1_7_7.wav")
    trees.text(tmp_path / "Train" / "u-2" / "u-2.json", "{")
    trees.text(tmp_path / "Train" / "u-3" / "u-3.json", '{"Files": {}}')
    trees.audio(tmp_path / "Train" / "u-4" / "u-4_0_1.wav")
    utterances, left_out = sap.read(str(tmp_path))
    assert [u.text for u in utterances] == ["fine"]
    assert trees.reasons(left_out) == {
        "words that nobody understood": 1,
        "transcript without words": 1,
        "no transcript": 1,
        "audio file is missing": 1,
        "named twice in the JSON": 1,
        "entry without Filename": 2,
        "audio that the JSON does not name": 1,
        "not JSON": 1,
        "JSON without a list of Files": 1,
        "speaker without JSON": 1,
    }
