"""An enrolment: from a space and recordings to Submodel files."""

import dataclasses

import pytest

from lingvo_like import files
from lingvo_like.space import file as space_file
from lingvo_like.submodel import file as submodel_file
from params import registry
from tasks.asr import base_loading
from tasks.asr.enrolment import destination as destination_lib, program
from tasks.asr.training import model_directory, run_description
from tests import tiny
from tests.tasks.asr.enrolment import enrolments


@pytest.fixture(scope="module")
def space():
    return enrolments.space(tiny.base())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A base model, a space, another one, and recordings."""
    folder = tmp_path_factory.mktemp("enrolment")
    base = tiny.base()
    base.save(str(folder / "base"))
    # With an encoder a newcomer starts near the base model, and gains.
    for name, made in {
        "space": enrolments.space(base, encoder=True),
        "other": enrolments.space(base, seed=1),
    }.items():
        space_file.save(str(folder / f"{name}.safetensors"), made)
    tiny.recordings(folder, ("ann", "bob"), 3)
    return folder


def prepare(folder, base="base", values=enrolments.QUICK, **changes):
    return program.prepare(
        str(folder / "space.safetensors"),
        str(folder / "train.jsonl"),
        base=str(folder / base),
        values=values,
        **changes,
    )


def test_a_space_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ValueError, match="cannot load a space: .*none"):
        program.prepare(str(tmp_path / "none"), str(tmp_path / "manifest"))


def test_a_wrong_language_is_refused_before_the_base_is_loaded(
    folder, monkeypatch
):
    monkeypatch.setattr(base_loading, "load", lambda *_: pytest.fail("loaded"))
    odd = tiny.recordings(
        folder, ("cy",), 1, name="odd", languages=("klingon",)
    )
    with pytest.raises(ValueError, match="odd.jsonl:1: a language is a code"):
        program.prepare(
            str(folder / "space.safetensors"), odd, base=str(folder / "base")
        )


def test_a_run_of_slots_says_that_it_has_no_space(tmp_path):
    experiment = registry.get("conformer.Tiny")
    description = run_description.describe(
        "conformer.Tiny", experiment, "base", "0" * 64, {}
    )
    model_directory.ModelDirectory(str(tmp_path)).write_experiment(description)
    with pytest.raises(ValueError, match="a run of conformer.Tiny, in which"):
        program.prepare(str(tmp_path), str(tmp_path / "manifest"))


def test_another_base_than_the_spaces_is_refused_and_nothing_written(
    folder, tmp_path
):
    tiny.base(seed=1).save(str(folder / "another"))
    prepared = prepare(folder, "another")
    with pytest.raises(ValueError, match="^the space is of another base model"):
        prepared.run(destination_lib.Destination(str(tmp_path)))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_another_space_is_compared_with_and_nothing_is_written(folder):
    before = sorted(folder.iterdir())
    prepared = prepare(folder, speakers=["bob"])
    (row,) = prepared.compare(str(folder / "other.safetensors"))
    assert row["speaker"] == "bob" and "gains" in row
    assert sorted(folder.iterdir()) == before


@pytest.mark.slow
def test_recordings_that_do_not_fit_together_are_an_error(folder, tmp_path):
    """A base model of random weights takes bob's transcripts for wrong.

    What ann's embedding learns in a few steps more helps her held-out speech.
    """
    values = dataclasses.replace(enrolments.QUICK, embedding_steps=8)
    outcome = prepare(folder, values=values).run(
        destination_lib.Destination(str(tmp_path))
    )
    ann, bob = outcome.rows
    assert not ann["warnings"] and "error" not in ann
    assert bob["warnings"] and bob["mode"] and "check" in bob["error"]
    assert outcome.errors == [bob["error"]]
    assert outcome.failure == "enrolled 1 of 2"
    kept = [path.name for path in (tmp_path / "submodels").iterdir()]
    assert kept == [submodel_file.file_name("ann")]


def test_a_corrupted_space_and_one_of_another_base_are_refused(
    space, tmp_path, monkeypatch
):
    path = str(tmp_path / "space.safetensors")
    space_file.save(path, space)
    assert program.find_space(path) == (path, "")
    assert program.find_space(str(tmp_path)) == (path, "")
    # Where somebody stands in the folder of the run.
    values = registry.get(enrolments.EXPERIMENT)
    model_directory.ModelDirectory(str(tmp_path)).write_experiment(
        run_description.describe(
            enrolments.EXPERIMENT, values, "BASE", "f" * 64, {}
        )
    )
    monkeypatch.chdir(tmp_path)
    for name in ("space.safetensors", "./space.safetensors", "."):
        assert program.find_space(name)[1] == "BASE"
    with pytest.raises(ValueError, match="made for another base model"):
        space_file.load(path, "f" * 64)
    data = bytearray(files.read(path))
    data[-5] ^= 1
    files.write_atomically(path, bytes(data))
    with pytest.raises(ValueError, match="altered"):
        space_file.load(path)
    files.write_atomically(path, bytes(data[: len(data) // 2]))
    with pytest.raises(ValueError, match="space.safetensors"):
        space_file.load(path)
