"""A person can be taken out of a run, and the others go on."""

import errno
import json
import os
import shutil

import numpy as np
import pytest

from lingvo_like import files, hyperparams
from lingvo_like.space import file as space_file
from params import registry
from tasks.asr.training import (
    checkpoint,
    model_directory,
    program as training_program,
    withdrawal,
)
from tests import tiny

SPEAKERS = ("ann", "roberta", "zoe")
GONE = "roberta"


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    tiny.recordings(folder, SPEAKERS, 4)
    tiny.base().save(str(folder / "base"))
    return folder


def train(folder, run, name="conformer.Tiny", manifest="train.jsonl"):
    experiment = hyperparams.override(
        registry.get(name),
        ["base.buckets_seconds=2.0", "train.num_steps=4"],
    )
    return training_program.train(
        name,
        experiment,
        train_manifest=str(folder / manifest),
        model_dir=str(run),
        base_path=str(folder / "base"),
    )


@pytest.fixture(
    scope="module", params=["conformer.Tiny", "conformer.TinyEmbedding"]
)
def trained(request, speech, tmp_path_factory):
    """The name of an experiment, and a finished run of it."""
    folder = tmp_path_factory.mktemp("run") / "run"
    train(speech, folder, request.param)
    (folder / "left_out.txt").write_text("train.jsonl:3  roberta-7  noise\n")
    (folder / "activations").mkdir()
    (folder / "activations" / "0123").write_bytes(b"roberta")
    enrolled = folder / "enrolled"
    (enrolled / "submodels").mkdir(parents=True)
    shutil.copy(
        folder / "submodels" / "roberta.safetensors", enrolled / "submodels"
    )
    rows = "".join(json.dumps({"speaker": s}) + "\n" for s in SPEAKERS)
    (enrolled / "enrolment.jsonl").write_text(rows)
    evaluation = folder / "evaluation"
    evaluation.mkdir()
    (evaluation / "hypotheses.jsonl").write_text(rows)
    (evaluation / "results.json").write_text(
        json.dumps(
            {
                "speakers": [{"speaker": s, "num_words": 3} for s in SPEAKERS],
                "submodel_sha256": dict.fromkeys(SPEAKERS, "ab"),
                "typical": {"worst_speaker": GONE, "worst_change_points": 1.0},
                "empty_references": [f"{s}/1" for s in SPEAKERS],
                "samples": {"regressions": [{"speaker": GONE, "x": "on"}]},
            }
        )
    )
    for name in ("report.html", "left_out.txt", ".writing-0123"):
        (evaluation / name).write_text("roberta")
    (folder / "submodels" / ".writing-4567").write_text("roberta")
    return request.param, folder


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained[1], tmp_path / "run")
    return tmp_path / "run"


def holding(folder, text):
    """The files below a folder that hold a text, or are named after it."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file()
        and (text in path.name or text.encode() in path.read_bytes())
    )


def variables(run):
    _, found = checkpoint.read(str(run / "checkpoints"))
    return {name: variable.read() for name, variable in found.items()}


def bytes_of(folder):
    return {
        path.name: path.read_bytes()
        for path in (folder / "submodels").iterdir()
    }


def without_lines(speech, speaker):
    """A manifest from which a person's lines are removed."""
    lines = (speech / "train.jsonl").read_text().splitlines(keepends=True)
    kept = [each for each in lines if json.loads(each)["speaker"] != speaker]
    (speech / "fewer.jsonl").write_text("".join(kept))
    return "fewer.jsonl"


def test_nothing_of_the_person_is_left_and_the_others_go_on(
    trained, run, speech
):
    name, before = trained
    done = withdrawal.withdraw(str(run), GONE)
    assert holding(run, GONE) == []
    # Texts are each person's own; figures count everybody.
    assert os.listdir(run / "evaluation") == ["hypotheses.jsonl"]
    others = bytes_of(before)
    del others["roberta.safetensors"], others[".writing-4567"]
    assert bytes_of(run) == others
    assert "checkpoints (the rows)" in done.removed
    # The run is one of the others: it goes on, and is finished.
    train(speech, run, name, without_lines(speech, GONE))
    assert bytes_of(run) == others
    assert holding(run, GONE) == []


def test_the_rows_of_the_others_stay_bit_for_bit(trained, run):
    name, _ = trained
    before = variables(run)
    withdrawal.withdraw(str(run), GONE)
    after = variables(run)
    is_space = "Embedding" in name
    of_slots = {
        each
        for each in before
        if not is_space
        or each == "weight/embedding"
        or each.startswith("optimizer/embedding/")
    }
    assert before.keys() == after.keys()
    for each, value in before.items():
        if each == "weight/mean_embedding":
            value = after["weight/embedding"].mean(axis=0, dtype=np.float64)
            value = value.astype(np.float32)
        elif each in of_slots:
            value = np.delete(value, 1, axis=0)
        np.testing.assert_array_equal(after[each], value)
    assert len(os.listdir(run / "checkpoints")) == 1


def test_a_space_forgets_the_embedding_and_says_that_the_basis_stays(
    trained, run
):
    if "Embedding" not in trained[0]:
        assert not any(
            "basis" in text
            for text in withdrawal.withdraw(str(run), GONE).remains
        )
        return
    before = space_file.load(run / "space.safetensors")
    done = withdrawal.withdraw(str(run), GONE)
    after = space_file.load(run / "space.safetensors")
    assert after.speakers == ("ann", "zoe")
    for speaker in after.speakers:
        np.testing.assert_array_equal(
            after.embedding(speaker), before.embedding(speaker)
        )
    np.testing.assert_allclose(
        after.mean_embedding, after.embeddings.mean(axis=0), rtol=1e-6
    )
    for name, element in before.basis.items():
        np.testing.assert_array_equal(after.basis[name], element)
    assert "basis of the space was fitted on their speech" in done.remains[0]


@pytest.mark.parametrize("step", ["_checkpoints", "_lines", "_space", "write"])
def test_what_was_cut_off_goes_on_when_called_again(run, monkeypatch, step):
    target, name = withdrawal, step
    if step == "write":
        target, name = model_directory.ModelDirectory, "write_experiment"

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(target, name, killed)
        with pytest.raises(KeyboardInterrupt):
            withdrawal.withdraw(str(run), GONE)
    withdrawal.withdraw(str(run), GONE)
    assert holding(run, GONE) == []
    assert [*model_directory.ModelDirectory(str(run)).read_texts()] == [
        "ann",
        "zoe",
    ]
    state, _ = checkpoint.read(str(run / "checkpoints"))
    assert len(state["speakers"]) == len(state["residents"]) == 2
    assert withdrawal.withdraw(str(run), GONE).removed == ()


def test_a_disk_with_no_room_for_more_stops_nothing(run, monkeypatch):
    real, seen = checkpoint.save, []

    def save(directory, *arguments):
        seen.append(checkpoint.count(directory))
        real(directory, *arguments)

    def full(folder):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))

    monkeypatch.setattr(files, "try_writing", full)
    monkeypatch.setattr(checkpoint, "save", save)
    newest = max((run / "checkpoints").iterdir())
    shutil.copytree(newest, newest.with_name("00000000"))
    withdrawal.withdraw(str(run), GONE)
    assert holding(run, GONE) == []
    assert seen == [1]


def test_who_is_not_in_a_run_changes_nothing(run):
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}
    assert withdrawal.withdraw(str(run), "eve").removed == ()
    assert before == {
        p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()
    }


def test_an_evaluation_of_others_stays(run):
    evaluation = run / "evaluation"
    before = {p.name: p.read_bytes() for p in evaluation.iterdir()}
    assert withdrawal.withdraw(str(evaluation), "robert").removed == ()
    assert {p.name: p.read_bytes() for p in evaluation.iterdir()} == before
    assert withdrawal.withdraw(str(evaluation), GONE).removed
    assert holding(evaluation, GONE) == []
    assert withdrawal.withdraw(str(evaluation), GONE).removed == ()


def test_a_short_base_that_was_made_of_their_speech_is_named(run, speech):
    made_of = speech / "base" / "made_of.json"
    made_of.write_text(json.dumps({"speakers": list(SPEAKERS)}))
    try:
        done = withdrawal.withdraw(str(run), GONE)
    finally:
        made_of.unlink()
    assert any("made_of.json in it names them" in each for each in done.remains)


def test_the_folder_of_an_enrolment_is_enough(run):
    done = withdrawal.withdraw(str(run / "enrolled"), GONE)
    assert done.removed == (
        "submodels/roberta.safetensors",
        "enrolment.jsonl (the line)",
    )
    assert holding(run / "enrolled", GONE) == []
    assert holding(run / "submodels", GONE)


def test_what_cannot_be_done_is_said_before_anything_is_removed(run, tmp_path):
    with pytest.raises(ValueError, match="not the folder of a run"):
        withdrawal.withdraw(str(tmp_path / "nowhere"), GONE)
    assert not (tmp_path / "nowhere").exists()
    directory = model_directory.ModelDirectory(str(run))
    with directory.lock():
        with pytest.raises(OSError, match="another process"):
            withdrawal.withdraw(str(run), GONE)
    saved = directory.read_experiment()
    directory.write_experiment({**saved, "data": {GONE: "ab"}})
    before = holding(run, GONE)
    with pytest.raises(ValueError, match="the only speaker of the run"):
        withdrawal.withdraw(str(run), GONE)
    directory.write_experiment({**saved, "program": "tasks.train_base"})
    with pytest.raises(ValueError, match="a run of tasks.train_base"):
        withdrawal.withdraw(str(run), GONE)
    assert holding(run, GONE) == before
