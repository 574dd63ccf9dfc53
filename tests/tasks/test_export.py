"""python -m tasks.export, as a user types it."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from lingvo_like.submodel import file as submodel_file
from lingvo_like.submodel import layout as submodel_layout
from params import conformer
from tasks.asr.training import model_directory, run_description
from tasks.serving.exports import description as export_description
from tasks.serving.exports import folder as export_folder
from tasks.serving.exports import saved_model
from tests import tiny
from tests.tasks.serving import example_exports

ROOT = pathlib.Path(__file__).parents[2]


def export(**flags):
    return subprocess.run(
        [sys.executable, "-m", "tasks.export"]
        + [f"--{name}={value}" for name, value in flags.items()],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder, its base, and a Submodel file."""
    folder = tmp_path_factory.mktemp("export")
    base = tiny.base()
    base.save(str(folder / "base"))
    values = conformer.Tiny()
    values = dataclasses.replace(
        values,
        base=dataclasses.replace(values.base, buckets_seconds=(2.0,)),
    )
    directory = model_directory.ModelDirectory(str(folder / "run"))
    directory.prepare()
    directory.write_experiment(
        run_description.describe(
            "conformer.Tiny",
            values,
            str(folder / "base"),
            base.fingerprint(),
            {},
        )
    )
    layout = submodel_layout.Layout(
        base.model_dim,
        values.adapter.bottleneck_dim,
        tuple(values.adapter.blocks) or tuple(range(base.num_blocks)),
    )
    row = np.random.default_rng(0).standard_normal(layout.num_values)
    submodel_file.save(
        folder / "ann.safetensors",
        submodel_file.create(
            layout,
            layout.unpack((0.1 * row).astype("float32")),
            base_fingerprint=base.fingerprint(),
            speaker="ann",
            residual_weight=values.adapter.residual_weight,
        ),
    )
    return folder


@pytest.fixture(scope="module")
def opened(run):
    return export(model_dir=run / "run", export_dir=run / "exports")


def test_an_export_says_what_it_is_and_what_to_do_next(run, opened):
    assert opened.returncode == 0, opened.stderr
    assert opened.stderr == ""
    assert f"exported: {run / 'exports' / '1'}" in opened.stdout
    assert "serving_default(audio, length, submodel)" in opened.stdout
    assert "next: python -m tasks.serve" in opened.stdout
    assert os.listdir(run / "exports") == ["1"]
    path = run / "exports" / "1"
    description = export_description.read(path)
    export_description.check_files(path, description)
    assert description.experiment == "conformer.Tiny"
    assert description.bucket_samples == (32000,)
    assert not description.requires_tensorflow_text
    readme = (path / "README.md").read_text()
    assert description.base_fingerprint in readme
    assert f"submodel`, float32 [any, {description.num_values}]" in readme


@pytest.mark.slow
def test_an_export_with_a_folded_submodel_answers_like_the_open_one(
    run, opened
):
    assert opened.returncode == 0, opened.stderr
    path = run / "ann.safetensors"
    done = export(
        model_dir=run / "run",
        export_dir=run / "exports",
        submodel=path,
        version=2,
    )
    assert done.returncode == 0, done.stderr
    assert "Submodel folded in: ann" in done.stdout
    opened, folded = (
        saved_model.SavedModelEngine(run / "exports" / name, warm_up=False)
        for name in ("1", "2")
    )
    loaded = submodel_file.load(path, opened.description.base_fingerprint)
    assert folded.description.submodel["sha256"] == loaded.metadata.sha256
    assert set(folded.signatures) == {"serving_default"}
    audio, length = example_exports.utterances([9000, 20000])
    inputs = {"audio": audio, "length": length}
    rows = np.stack([loaded.vector] * 2)
    expected = opened.predict("serving_default", {**inputs, "submodel": rows})
    answer = folded.predict("serving_default", inputs)
    base = opened.predict("base", inputs)
    np.testing.assert_array_equal(answer["text"], expected["text"])
    np.testing.assert_allclose(answer["score"], expected["score"], atol=1e-4)
    assert not np.allclose(answer["score"], base["score"], atol=1e-2)
    readme = (run / "exports" / "2" / "README.md").read_text()
    assert "ann, folded in" in readme


@pytest.mark.slow
def test_refusals_are_one_line_and_leave_nothing(run, tmp_path):
    tiny.base(seed=1).save(str(tmp_path / "other"))
    (tmp_path / "exports" / "3").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    good = {"model_dir": run / "run", "export_dir": tmp_path / "exports"}
    for flags, message in (
        ({"model_dir": ""}, "--model_dir is missing"),
        ({"export_dir": ""}, "--export_dir is missing"),
        ({"model_dir": tmp_path}, "no run to export"),
        ({"base": tmp_path / "other"}, "is another base model"),
        ({"base": tmp_path / "gone"}, str(tmp_path / "gone")),
        ({"version": 3}, "leave --version out for the next one"),
        ({"version": 0}, "version"),
        ({"submodel": tmp_path / "gone"}, "cannot load a Submodel"),
        ({"export_dir": tmp_path / "file"}, "--export_dir cannot be written"),
        ({"export_dir": "gs://bucket/exports"}, "must be a local one"),
    ):
        done = export(**{**good, **flags})
        assert done.returncode == 1, message
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path / "exports") == ["3"]


def test_the_next_version_is_above_every_other(tmp_path):
    assert export_folder.next_version(tmp_path / "none") == 1
    for name in ("1", "7", "stable", ".9.abc", "10x"):
        (tmp_path / name).mkdir()
    assert export_folder.next_version(tmp_path) == 8


def test_nothing_is_left_of_an_export_that_fails(tmp_path, monkeypatch):
    made = example_exports.recognizer("short")
    monkeypatch.setattr(made, "signatures", lambda row: {})
    monkeypatch.setattr(made, "module", lambda: 1 / 0)
    description = export_folder.describe(made, "f", "e")
    with pytest.raises(ZeroDivisionError):
        export_folder.write(tmp_path, 1, made, description)
    assert os.listdir(tmp_path) == []
