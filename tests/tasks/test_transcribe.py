"""The binary, by a server and without one: lines, JSON, and what it refuses."""

import json
import os

import numpy as np
import pytest
import soundfile

from lingvo_like.store import store as submodel_store
from tests import binaries
from tests.tasks.serving import example_exports, fake_server, harness

RATE = 16000


@pytest.fixture(scope="module")
def fronts():
    with harness.Fronts(
        fake_server.FakeServer(), harness.access_control()
    ) as running:
        yield running


def run(*paths, **values):
    """Runs the binary: exit status, lines of stdout, errors of stderr."""
    done = binaries.run("transcribe", *paths, *binaries.flags(values))
    # TensorFlow has first words of its own.
    errors = [
        line
        for line in done.stderr.splitlines(keepends=True)
        if line.startswith(("error:", "Traceback"))
    ]
    return done.returncode, done.stdout.splitlines(), "".join(errors)


def _samples(seconds=0.5, seed=0):
    drawn = np.random.default_rng(seed).standard_normal(int(seconds * RATE))
    return (0.1 * drawn).astype("float32")


def _recording(path, *arguments):
    # Floats, so that what is read is what was written.
    soundfile.write(path, _samples(*arguments), RATE, subtype="FLOAT")
    return path


@pytest.fixture
def served(fronts, tmp_path):
    """Flags for the server that runs here, and its user's token."""
    token = tmp_path / "token"
    token.write_text(harness.TOKENS["anna"] + "\n")
    return {
        "server": f"127.0.0.1:{fronts.ports['grpc']}",
        "token_file": str(token),
    }


def test_files_come_in_order_and_a_bad_one_is_skipped(served, tmp_path):
    paths = [
        _recording(tmp_path / f"{place}.wav", 0.1 * (place + 1))
        for place in range(3)
    ]
    paths[1].write_text("no sound")
    status, lines, errors = run(*paths, submodel_id="anna", **served)
    assert status == 1
    assert lines == [f"{paths[0]}\tanna:1600", f"{paths[2]}\tanna:4800"]
    assert len(errors.splitlines()) == 1 and str(paths[1]) in errors


@pytest.mark.slow
def test_json_names_what_answered(served, tmp_path):
    path = _recording(tmp_path / "a.wav")
    status, lines, errors = run(path, submodel_id="anna", json=True, **served)
    assert status == 0, errors
    (found,) = map(json.loads, lines)
    assert found["file"] == str(path)
    assert found["text"] == "anna:8000"
    assert found["submodel_version"] == "7-anna"
    assert found["served_by"] == "submodel"


@pytest.mark.slow
def test_the_servers_refusal_is_one_line(served, tmp_path):
    path = _recording(tmp_path / "a.wav")
    status, lines, errors = run(path, submodel_id="ben", **served)
    assert (status, lines) == (1, [])
    assert errors == f"error: {path}: not your speaker\n"
    status, _, errors = run(path, submodel_id="anna", server=served["server"])
    assert status == 1 and "credential" in errors
    status, lines, errors = run(path, base=True, json=True, **served)
    assert status == 0, errors
    assert json.loads(lines[0])["served_by"] == "base"


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """A folder with F01's Submodel, as a file and in a store; its row."""
    folder = tmp_path_factory.mktemp("local")
    row = example_exports.rows("conformer", 2)[0]
    data = example_exports.submodel("conformer", "F01", row)
    (folder / "F01.safetensors").write_bytes(data)
    store = submodel_store.SubmodelStore(str(folder / "store"))
    store.publish(data, "default", "F01")
    return folder, row


@pytest.mark.slow
def test_without_a_server_an_export_answers(local, tmp_path):
    folder, row = local
    path = _recording(tmp_path / "a.wav")
    export = example_exports.folder("conformer")
    here = {"local": True, "export_dir": os.path.dirname(export), "json": True}
    engine = example_exports.loaded("conformer")
    audio = {"audio": _samples()[None], "length": np.array([8000], "int32")}
    expected = {
        "base": engine.predict("base", audio),
        "submodel": engine.predict(
            "serving_default", audio | {"submodel": row[None]}
        ),
    }
    for named, by in (
        ({"base": True}, "base"),
        ({"submodel": str(folder / "F01.safetensors")}, "submodel"),
        ({"submodel_id": "F01", "store": str(folder / "store")}, "submodel"),
    ):
        status, lines, errors = run(path, **here, **named)
        assert status == 0, errors
        found = json.loads(lines[0])
        assert found["served_by"] == by
        assert found["text"] == expected[by]["text"][0].decode()
        assert found["score"] == pytest.approx(
            float(expected[by]["score"][0]), abs=1e-4
        )
        assert bool(found["submodel_version"]) == (by == "submodel")
    # Else the three would be told apart by nothing.
    assert expected["base"]["score"] != expected["submodel"]["score"]


@pytest.mark.parametrize(
    "values, message",
    [
        ({}, "say whose Submodel"),
        ({"submodel_id": "a", "base": True}, "one of"),
        ({"base": True, "export_dir": "x"}, "--export_dir needs --local"),
        ({"base": True, "local": True}, "--local needs --export_dir"),
        (
            {"submodel_id": "a", "local": True, "export_dir": "x"},
            "needs --store",
        ),
        ({"submodel_id": "Ann Smith"}, "--map_ids"),
        ({"submodel_id": "a"}, "a.wav: audio file is missing"),
    ],
)
def test_contradictory_flags_are_refused(values, message):
    status, lines, errors = run("a.wav", **values)
    assert (status, lines) == (1, [])
    assert message in errors


def test_no_recording_is_a_mistake():
    assert "name at least one recording" in run(base=True)[2]
