"""The commands as functions: their defaults, their cost, and their results."""

import inspect
import json
import pathlib
import subprocess
import sys
from xml.etree import ElementTree

import pytest
import soundfile

from tasks import api, machines
from tests import tiny

ROOT = pathlib.Path(__file__).parents[2]
COMMANDS = {
    "train": api.train,
    "evaluate": api.evaluate,
    "enroll": api.enrol,
    "export": api.export,
    "transcribe": api.transcribe,
}
# The arguments whose fields are flags.
MACHINES = {"devices": machines.Devices, "server": machines.Server}
# What a function calls otherwise than its flag.
NAMES = {"settings": "set", "token": "token_file", "address": "server"}
# Those of single speakers or files, which stand in the place of arguments.
ARGUMENTS = {"recordings"}
# What only a command line needs.
FOR_TERMINALS = {
    "debug",
    "json",
    "list_experiments",
    "list_settings",
    "local",
    "version",
}
# `compare_spaces` has it.
OTHER_FUNCTION = {"compare_with_space"}
SPEAKERS = ("ann", "bob")


def python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True
    )


def flags_of(command):
    """The flags of a binary's own: names to the texts of their defaults."""
    done = python("-m", f"tasks.{command}", "--helpxml")
    assert done.returncode == 0, done.stderr
    return {
        flag.findtext("name"): flag.findtext("default") or ""
        for flag in ElementTree.fromstring(done.stdout).iter("flag")
        if flag.findtext("key") == "yes"
    }


def text(default):
    """A default of Python as absl writes it."""
    if default is None or default in ("", b"", (), {}):
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_function_has_the_arguments_and_defaults_of_its_command(command):
    parameters = dict(inspect.signature(COMMANDS[command]).parameters)
    for name, of_machine in MACHINES.items():
        if parameters.pop(name, None) is not None:
            parameters |= inspect.signature(of_machine).parameters
    flags = flags_of(command)
    for name, parameter in parameters.items():
        if name in ARGUMENTS:
            continue
        flag = NAMES.get(name, name)
        if flag not in flags:
            flag = flag.removesuffix("s")
        default = flags.pop(flag).replace("[]", "")
        if parameter.default is not parameter.empty:
            assert text(parameter.default) == default, name
    assert set(flags) <= FOR_TERMINALS | OTHER_FUNCTION


def test_importing_the_functions_loads_no_heavy_library():
    done = python(
        "-c",
        "import sys, json, tasks.api; print(json.dumps(sorted(sys.modules)))",
    )
    loaded = set(json.loads(done.stdout))
    heavy = {"tensorflow", "keras", "matplotlib", "grpc", "starlette", "av"}
    assert not loaded & heavy
    assert not any(name.startswith("tasks.serving") for name in loaded)


def test_mistakes_are_exceptions_with_the_words_of_the_command(tmp_path):
    tiny_job = {"experiment": "conformer.Tiny"}
    with pytest.raises(ValueError, match="Did you mean conformer.Tiny"):
        api.train("a.jsonl", "run", experiment="conformer.Tinny")
    with pytest.raises(ValueError, match="Did you mean train.num_steps"):
        api.train("a", "run", settings={"train.num_stepz": 3}, **tiny_job)
    with pytest.raises(ValueError, match="`train.num_steps` must be an int"):
        api.train("a", "run", settings={"train.num_steps": 3.5}, **tiny_job)
    with pytest.raises(ValueError, match="--publish and --tenant go together"):
        api.enrol("space", "a.jsonl", publish="store")
    with pytest.raises(ValueError, match="`max_folds` must be at least 2"):
        api.enrol("space", "a.jsonl", settings={"max_folds": 1})
    with pytest.raises(ValueError, match="say whose Submodel to use"):
        api.transcribe(["a.wav"])
    with pytest.raises(ValueError, match="no run to evaluate"):
        api.evaluate(str(tmp_path), "test.jsonl")
    with pytest.raises(ValueError, match="no run to export"):
        api.export(str(tmp_path), str(tmp_path / "exports"))


@pytest.mark.slow
def test_from_recordings_to_text_without_a_command_line(tmp_path, capsys):
    tiny.recordings(tmp_path, SPEAKERS, 4)
    tiny.recordings(tmp_path, SPEAKERS, 2, seed=1, name="dev")
    tiny.base().save(str(tmp_path / "base"))
    run = api.train(
        str(tmp_path / "train.jsonl"),
        str(tmp_path / "run"),
        experiment="conformer.Tiny",
        base=str(tmp_path / "base"),
        dev_manifest=str(tmp_path / "dev.jsonl"),
        settings={"base.buckets_seconds": (2.0,), "train.num_steps": 8},
    )
    assert set(run.submodels) == set(SPEAKERS)
    assert all(pathlib.Path(path).is_file() for path in run.submodels.values())
    assert {row["speaker"] for row in run.history} == set(SPEAKERS)
    assert any("dev_loss" in row for row in run.history)
    assert run.space == ""
    found = api.evaluate(run.path, str(tmp_path / "dev.jsonl"))
    rows = found.summary["speakers"]
    assert {row["speaker"] for row in rows} == set(SPEAKERS)
    assert pathlib.Path(found.report).is_file()
    made = api.export(run.path, str(tmp_path / "exports"))
    assert pathlib.Path(made.path).name == "1"
    assert made.num_bytes > 100_000
    recording = str(tmp_path / "dev_0_0.wav")
    assert soundfile.info(recording).frames
    answers = {}
    for named in ({"base": True}, {"submodel": run.submodels["ann"]}):
        (answer,) = api.transcribe(
            [recording], export_dir=str(tmp_path / "exports"), **named
        )
        assert answer.error == ""
        answers[next(iter(named))] = answer.transcript
    assert answers["base"].served_by == "base"
    assert answers["submodel"].served_by == "submodel"
    assert answers["base"].score != answers["submodel"].score
    # The tables of the commands are not printed.
    assert "Submodel %" not in capsys.readouterr().out
