"""An export runs outside of Python, on TensorFlow's C library alone."""

import pathlib
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from tasks.serving.exports import description as export_description
from tests.tasks.serving import example_exports

SOURCE = pathlib.Path(__file__).with_name("transcribe.c")
COMPILER = shutil.which("cc") or shutil.which("gcc")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C compiler")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    program = tmp_path_factory.mktemp("c") / "transcribe"
    library = tf.sysconfig.get_lib()
    done = subprocess.run(
        [COMPILER, "-Wall", "-Werror", "-o", program, SOURCE]
        + ["-I", tf.sysconfig.get_include(), "-L", library]
        + ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
        + [f"-Wl,-rpath,{library}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return program


def run(program, kind, tmp_path, audio, lengths, submodels):
    inputs = tmp_path / "inputs"
    header = np.array([*audio.shape, submodels.shape[1]], "int32")
    parts = [header, lengths, audio, submodels]
    inputs.write_bytes(b"".join(part.tobytes() for part in parts))
    path = example_exports.folder(kind)
    names = export_description.read(path).signatures["serving_default"]
    return subprocess.run(
        [program, path, inputs]
        + [names["inputs"][n]["tensor"] for n in ("audio", "length")]
        + [names["inputs"]["submodel"]["tensor"]]
        + [names["outputs"][n]["tensor"] for n in ("text", "score", "status")],
        capture_output=True,
        env={"TF_CPP_MIN_LOG_LEVEL": "2"},
    )


@pytest.mark.parametrize("kind", example_exports.KINDS)
def test_c_program_says_what_python_says(program, kind, tmp_path):
    audio, lengths = example_exports.utterances([9000, 20000, 31000, 15000])
    lengths[3] = 0
    submodels = example_exports.rows(kind, 4)
    done = run(program, kind, tmp_path, audio, lengths, submodels)
    assert done.returncode == 0, done.stderr
    expected = example_exports.loaded(kind).predict(
        "serving_default",
        {"audio": audio, "length": lengths, "submodel": submodels},
    )
    lines = done.stdout.split(b"\n")[:4]
    for row, line in enumerate(lines):
        status, score, text = line.split(b"\t", 2)
        assert status == expected["status"][row]
        assert float(score) == pytest.approx(expected["score"][row], abs=1e-5)
        assert text == expected["text"][row]
    assert lines[3].startswith(b"length must be at least 1")


def test_submodels_of_another_size_are_refused(program, tmp_path):
    audio, lengths = example_exports.utterances([9000])
    submodels = example_exports.rows("short", 1)[:, :-1]
    done = run(program, "short", tmp_path, audio, lengths, submodels)
    assert done.returncode == 1
    assert b"error: the call" in done.stderr
