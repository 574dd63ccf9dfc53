"""`python -m tasks.demo`: its commands are ones, and its folder its own."""

import json
import pathlib
import subprocess
import sys

import pytest

from tests import binaries

ROOT = pathlib.Path(__file__).parents[2]
# Parses a binary's flags in a process of its own, and nothing more.
PARSE = """
import importlib, sys
from absl import flags
importlib.import_module(sys.argv[1])
rest = flags.FLAGS(sys.argv[1:])
sys.exit(f"not flags: {rest[1:]}" if rest[1:] else 0)
"""
LIST_STEPS = """
import json
from tasks import demo
print(json.dumps([each[2] for each in demo.steps("OUT", "tiny.en", 7)]))
"""


def python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )


def test_every_step_is_a_command_with_flags_that_it_has():
    listed = python(LIST_STEPS)
    assert listed.returncode == 0, listed.stderr
    commands = json.loads(listed.stdout)
    assert [command[0] for command in commands] == [
        "tasks.simulate",
        "tasks.simulate",
        "tasks.shorten_context",
        "tasks.train",
        "tasks.evaluate",
    ]
    for command in commands:
        done = python(PARSE, *command)
        assert done.returncode == 0, done.stderr
    wrong = python(PARSE, *commands[0], "--number_of_speakers=3")
    assert "number_of_speakers" in wrong.stderr


@pytest.mark.parametrize("change", ["--seed=8", "--base=other"])
def test_a_folder_of_another_demo_is_refused(tmp_path, change):
    (tmp_path / "demo.json").write_text('{"base": "tiny.en", "seed": 7}')
    done = binaries.run("demo", f"--output_dir={tmp_path}", change)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path} holds a demo of")
    assert len(list(tmp_path.iterdir())) == 1
