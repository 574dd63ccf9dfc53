"""Speech with and without Submodels, and what is written of it."""

import json
import os
import pathlib

import numpy as np
import pytest

from lingvo_like.submodel import file as submodel_file
from tasks.asr.evaluation import evaluation, tested_submodels
from tasks.asr.training import model_directory, task
from tests import tiny

SPEAKERS = ("ann", "bob", "cy")


def test_submodels_that_no_one_stack_holds_are_taken_in_parts(
    tmp_path, monkeypatch
):
    base = tiny.base()
    manifest = tiny.recordings(tmp_path, SPEAKERS, 2)
    layout = task.layout_of(base, tiny.experiment().adapter)
    directory = model_directory.ModelDirectory(str(tmp_path / "run"))
    directory.prepare()
    for index, speaker in enumerate(SPEAKERS):
        draw = np.random.default_rng(index)
        vector = draw.standard_normal(layout.num_values, dtype=np.float32)
        submodel_file.save(
            directory.submodel(speaker),
            submodel_file.create(
                layout,
                layout.unpack(vector),
                base_fingerprint=base.fingerprint(),
                speaker=speaker,
            ),
        )
    data, _ = evaluation.read_test(base, manifest, ())

    def texts():
        checked = tested_submodels.check(
            directory, SPEAKERS, base.fingerprint(), layout
        )
        return {
            (each.speaker, each.utt_id): each.submodel_hypothesis
            for each in evaluation.run(base, base, checked, data, {})
        }

    whole = texts()
    assert len(whole) == 6
    # Who has which Submodel can be heard.
    assert len({whole[speaker, "train0"] for speaker in SPEAKERS}) == 3
    monkeypatch.setattr(tested_submodels, "PAGE", 2)
    assert texts() == whole


def test_what_has_no_word_to_score_is_listed_before_recognition(tmp_path):
    base = tiny.base()
    manifest = tiny.recordings(tmp_path, ("ann", "bob"), 2)
    lines = pathlib.Path(manifest).read_text().splitlines()
    said = [json.loads(line) for line in lines]
    said[1]["text"] = said[2]["text"] = said[3]["text"] = "um"
    pathlib.Path(manifest).write_text("\n".join(map(json.dumps, said)))
    data, left_out = evaluation.read_test(
        base, manifest, (), normalizer="english"
    )
    assert [
        (each.speaker, [u.utt_id for u in each.utterances])
        for each in data.values()
    ] == [("ann", ["train0"])]
    assert [each.utt_id for each in left_out] == ["train1", "train0", "train1"]
    assert "bob: 'um'" in left_out.describe()
    with pytest.raises(ValueError, match="has 3 unusable utterances"):
        evaluation.read_test(
            base, manifest, (), strict=True, normalizer="english"
        )
    # As they are, they are words.
    assert len(evaluation.read_test(base, manifest, ())[0]) == 2


def test_results_that_cannot_be_written_leave_the_old_ones(
    tmp_path, monkeypatch
):
    results = tmp_path / "results.json"
    results.write_text("old")

    def write(path, data):
        raise OSError(28, "cannot write: No space left on device", path)

    monkeypatch.setattr(evaluation.files, "write_atomically", write)
    with pytest.raises(OSError, match="No space left on device"):
        evaluation.write(str(tmp_path), {}, [], [], {}, [])
    assert results.read_text() == "old"
    assert os.listdir(tmp_path) == ["results.json"]
