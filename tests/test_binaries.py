"""Every binary explains itself, and takes no argument that it does not know."""

import ast
import concurrent.futures
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent


def _is_binary(path):
    return any(
        isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
    )


BINARIES = sorted(
    path.stem for path in (ROOT / "tasks").glob("*.py") if _is_binary(path)
)


def _run(job):
    binary, flag = job
    return subprocess.run(
        [sys.executable, "-m", f"tasks.{binary}", flag],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def outcomes():
    """Runs each binary with each flag, two at a time."""
    jobs = [
        (binary, flag)
        for binary in BINARIES
        for flag in ("--help", "--no_such_flag")
    ]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return dict(zip(jobs, pool.map(_run, jobs), strict=True))


def test_there_are_binaries():
    assert {"train", "evaluate", "demo"} <= set(BINARIES)


@pytest.mark.parametrize("binary", BINARIES)
def test_help_shows_the_docstring_and_the_flags(outcomes, binary):
    done = outcomes[binary, "--help"]
    tree = ast.parse((ROOT / "tasks" / f"{binary}.py").read_text())
    first_line = ast.get_docstring(tree).splitlines()[0]
    assert done.returncode == 0, done.stderr
    assert first_line in done.stdout
    assert "flags:" in done.stdout
    assert "--[no]version" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("binary", BINARIES)
def test_help_points_into_no_source_code(outcomes, binary):
    text = outcomes[binary, "--help"].stdout
    # The line above the flags is the path of the binary itself.
    text = text.replace(str(ROOT / "tasks" / f"{binary}.py"), "")
    assert re.findall(r"\S+\.py\b", text) == []


@pytest.mark.parametrize("binary", BINARIES)
def test_an_unknown_flag_is_named(outcomes, binary):
    done = outcomes[binary, "--no_such_flag"]
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: Unknown command line flag 'no_such_")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stdout + done.stderr
