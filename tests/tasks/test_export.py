"""python -m tasks.export, as a user types it."""

import dataclasses
import os
import pathlib

import numpy as np
import pytest

from lingvo_like import hyperparams
from lingvo_like.submodel import file as submodel_file
from params import conformer, registry
from tasks.asr import layouts
from tasks.asr.training import model_directory, run_description
from tasks.serving.exports import (
    description as export_description,
    folder as export_folder,
    from_run,
    readme,
    saved_model,
)
from tests import binaries, tiny
from tests.lingvo_like.base_models.whisper import whisper_bases
from tests.tasks.serving import example_exports


def export(**flags):
    return binaries.run("export", *binaries.flags(flags))


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
    layout = layouts.of(base.sites, values)
    row = np.random.default_rng(0).standard_normal(layout.num_values)
    submodel_file.save(
        folder / "ann.safetensors",
        submodel_file.create(
            layout,
            layout.unpack((0.1 * row).astype("float32")),
            base_fingerprint=base.fingerprint(),
            speaker="ann",
        ),
    )
    return folder


@pytest.fixture(scope="module")
def opened(run):
    """The path of an export that takes Submodels."""
    path, _ = from_run.export(str(run / "run"), str(run / "exports"))
    return pathlib.Path(path)


def test_an_export_says_what_it_is(run, opened):
    assert opened == run / "exports" / "1"
    assert os.listdir(run / "exports") == ["1"]
    path = opened
    description = export_description.read(path)
    export_description.check_files(path, description)
    made = from_run.Exported(str(path), description)
    summary = readme.summary(description, made.path, made.num_bytes)
    assert f"exported: {path} (" in summary
    assert "serving_default(audio, length, submodel)" in summary
    assert description.experiment == "conformer.Tiny"
    assert description.bucket_samples == (32000,)
    assert not description.requires_tensorflow_text
    text = (path / "README.md").read_text()
    assert description.base_fingerprint in text
    assert f"submodel`, float32 [any, {description.num_values}]" in text


@pytest.mark.slow
def test_the_binary_says_what_to_do_next(run, tmp_path):
    done = export(model_dir=run / "run", export_dir=tmp_path / "exports")
    assert done.returncode == 0, done.stderr
    # TensorFlow says what it finds on this machine, and nothing of the graph.
    for line in done.stderr.splitlines():
        assert line.startswith(("WARNING: All log", "I0000", "E0000")), line
    assert f"exported: {tmp_path / 'exports' / '1'}" in done.stdout
    assert "Next: python -m tasks.store publish" in done.stdout
    assert "Then: python -m tasks.serve" in done.stdout


@pytest.mark.slow
def test_an_export_with_a_folded_submodel_answers_like_the_open_one(
    run, opened
):
    path = run / "ann.safetensors"
    done = export(
        model_dir=run / "run",
        export_dir=run / "exports",
        submodel=path,
        export_version=2,
    )
    assert done.returncode == 0, done.stderr
    assert "Submodel folded in: ann" in done.stdout
    plain, folded = (
        saved_model.SavedModelEngine(folder, warm_up=False)
        for folder in (opened, run / "exports" / "2")
    )
    loaded = submodel_file.load(path, plain.description.base_fingerprint)
    assert folded.description.submodel["sha256"] == loaded.metadata.sha256
    assert set(folded.signatures) == {"serving_default"}
    audio, length = example_exports.utterances([9000, 20000])
    inputs = {"audio": audio, "length": length}
    rows = np.stack([loaded.vector] * 2)
    expected = plain.predict("serving_default", {**inputs, "submodel": rows})
    answer = folded.predict("serving_default", inputs)
    base = plain.predict("base", inputs)
    np.testing.assert_array_equal(answer["text"], expected["text"])
    np.testing.assert_allclose(answer["score"], expected["score"], atol=1e-4)
    assert not np.allclose(answer["score"], base["score"], atol=1e-2)
    text = (run / "exports" / "2" / "README.md").read_text()
    assert "ann, folded in" in text


def test_a_run_of_several_languages_is_exported_with_a_default(tmp_path):
    base = whisper_bases.small(
        languages=whisper_bases.LANGUAGES, audio_context="short", positions=80
    )
    base.save(str(tmp_path / "base"))
    name = "whisper.ShortStacked"
    directory = model_directory.ModelDirectory(str(tmp_path / "run"))
    directory.prepare()
    values = hyperparams.replace(registry.get(name), {"base.language": "fr"})
    directory.write_experiment(
        run_description.describe(
            name, values, str(tmp_path / "base"), base.fingerprint(), {}
        )
    )
    run, exports = str(tmp_path / "run"), str(tmp_path / "exports")
    made = from_run.export(run, exports)
    assert made.description.languages == ("en", "de", "fr")
    assert made.description.default_language == "fr"
    summary = readme.summary(made.description, made.path, made.num_bytes)
    assert "languages: 3, default: fr" in summary
    made = from_run.export(run, exports, language="de-AT")
    assert made.description.default_language == "de"
    with pytest.raises(ValueError, match="no language 'es'. It knows: de, en"):
        from_run.export(run, exports, language="es")
    assert sorted(os.listdir(exports)) == ["1", "2"]


@pytest.mark.slow
def test_refusals_are_one_line_and_leave_nothing(run, tmp_path):
    tiny.base(seed=1).save(str(tmp_path / "other"))
    (tmp_path / "exports" / "3").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "description.json").write_text("{}")
    good = {"model_dir": run / "run", "export_dir": tmp_path / "exports"}
    for flags, message in (
        ({"model_dir": ""}, "--model_dir is missing"),
        ({"export_dir": ""}, "--export_dir is missing"),
        ({"model_dir": tmp_path}, "no run to export"),
        ({"base": tmp_path / "other"}, "is another base model"),
        ({"base": tmp_path / "gone"}, str(tmp_path / "gone")),
        ({"export_version": 3}, "leave --export_version out for the"),
        ({"export_version": 0}, "export_version"),
        ({"submodel": tmp_path / "gone"}, "cannot load a Submodel"),
        ({"export_dir": tmp_path / "file"}, "--export_dir cannot be written"),
        ({"export_dir": "gs://bucket/exports"}, "must be a local one"),
        ({"export_dir": tmp_path / "v"}, "is one version of an export; name"),
        ({"model_dir": tmp_path / "v"}, "v is one version of an export"),
        (
            {"base": tmp_path / "gone", "export_dir": tmp_path / "a" / "b"},
            str(tmp_path / "gone"),
        ),
    ):
        done = export(**{**good, **flags})
        assert done.returncode == 1, message
        assert message in done.stderr
        assert "Traceback" not in done.stderr
    assert os.listdir(tmp_path / "exports") == ["3"]
    assert not (tmp_path / "a").exists()


def test_the_next_version_is_above_every_other(tmp_path):
    assert export_folder.next_version(tmp_path / "none") == 1
    for name in ("1", "7", "stable", ".9.abc", "10x"):
        (tmp_path / name).mkdir()
    assert export_folder.next_version(tmp_path) == 8


def test_nothing_is_left_of_an_export_that_fails(tmp_path, monkeypatch):
    made = example_exports.recognizer("short")
    monkeypatch.setattr(made, "signatures", lambda row: {})
    monkeypatch.setattr(made, "module", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_folder.write(tmp_path, 1, made, "f", "e")
    assert os.listdir(tmp_path) == []
