"""The recordings of an evaluation, and those that are left out."""

import json
import pathlib

import pytest

from tasks.asr.evaluation import recordings
from tests import tiny


def test_what_has_no_word_to_score_is_listed_before_recognition(tmp_path):
    base = tiny.base()
    manifest = tiny.recordings(tmp_path, ("ann", "bob"), 2)
    lines = pathlib.Path(manifest).read_text().splitlines()
    said = [json.loads(line) for line in lines]
    said[1]["text"] = said[2]["text"] = said[3]["text"] = "um"
    pathlib.Path(manifest).write_text("\n".join(map(json.dumps, said)))
    data, left_out = recordings.read(base, manifest, (), normalizer="english")
    assert [
        (each.speaker, [u.utt_id for u in each.utterances])
        for each in data.values()
    ] == [("ann", ["train0"])]
    assert [each.utt_id for each in left_out] == ["train1", "train0", "train1"]
    assert "bob: 'um'" in left_out.describe()
    with pytest.raises(ValueError, match="has 3 unusable utterances"):
        recordings.read(base, manifest, (), strict=True, normalizer="english")
    # As they are, they are words.
    assert len(recordings.read(base, manifest, ())[0]) == 2


def test_what_may_or_may_not_be_said_is_listed_and_the_rest_scored(tmp_path):
    manifest = tiny.recordings(tmp_path, ("ann",), 5)
    lines = pathlib.Path(manifest).read_text().splitlines()
    said = [json.loads(line) for line in lines]
    texts = ("<|0.00|> on", "[noise] on", "on (off)", "on/off", "on 5:30")
    for line, text in zip(said, texts, strict=True):
        line["text"] = text
    pathlib.Path(manifest).write_text("\n".join(map(json.dumps, said)))
    data, left_out = recordings.read(tiny.base(), manifest)
    kept = [each.text for each in data[0].utterances]
    assert kept == ["on/off", "on 5:30"]
    assert [each.utt_id for each in left_out] == ["train0", "train1", "train2"]
    for part in ("special token", "mark in brackets", "'(off)': take it out"):
        assert part in left_out.describe()


def test_what_training_leaves_out_for_its_transcript_is_scored(tmp_path):
    base = tiny.base()
    manifest = tiny.recordings(tmp_path, ("ann",), 2)
    lines = pathlib.Path(manifest).read_text().splitlines()
    said = [json.loads(line) for line in lines]
    said[1]["text"] = "go on " * 100
    pathlib.Path(manifest).write_text("\n".join(map(json.dumps, said)))
    data, left_out = recordings.read(base, manifest, ())
    assert not left_out
    assert [u.utt_id for u in data[0].utterances] == ["train0", "train1"]
