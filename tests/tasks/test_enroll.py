"""`python -m tasks.enroll` as a user meets it."""

import json
import pathlib

import pytest

from lingvo_like.space import file as space_file
from lingvo_like.submodel import file as submodel_file
from tests import binaries, tiny
from tests.tasks.asr.enrolment import enrolments

QUICK = [
    f"--set={name}={getattr(enrolments.QUICK, name)}"
    for name in (
        "embedding_steps",
        "embedding_utterances",
        "embedding_neighbors",
        "max_folds",
    )
]


def enroll(*flags):
    return binaries.run("enroll", *flags)


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "--space is missing"),
        (["--space=s"], "--manifest is missing"),
        (["--space=s", "--manifest=m", "--publish=p"], "--tenant go together"),
        (
            ["--space=s", "--manifest=m", "--set=embeding_steps=3"],
            "Did you mean embedding_steps",
        ),
        (
            ["--space=s", "--manifest=m", "--set=max_folds=1"],
            "`max_folds` must be at least 2",
        ),
    ],
)
def test_a_mistake_in_the_command_is_one_line_at_once(flags, message):
    done = enroll(*flags)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    result = tmp_path_factory.mktemp("enroll")
    base = tiny.base()
    base.save(str(result / "base"))
    # With an encoder a newcomer starts near the base model, and gains.
    made = enrolments.space(base, encoder=True)
    space_file.save(str(result / "space.safetensors"), made)
    tiny.recordings(result, ("ann", "bob"), 3)
    return result


def flags(folder, **changes):
    values = {
        "space": folder / "space.safetensors",
        "base": folder / "base",
        "manifest": folder / "train.jsonl",
    } | changes
    return [*QUICK, *(f"--{name}={value}" for name, value in values.items())]


@pytest.mark.slow
def test_speakers_enrol_and_are_published_and_cannot_be_taken_twice(folder):
    store = {
        "publish": folder / "store",
        "tenant": "clinic",
        "despite_warnings": True,
    }
    done = enroll(*flags(folder, **store), "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [row["speaker"] for row in result["speakers"]] == ["ann", "bob"]
    assert set(result["seconds"]) >= {"base model", "enrolment"}
    space = space_file.load(str(folder / "space.safetensors"))
    before = {}
    for row in result["speakers"]:
        assert row["version"]
        submodel_file.load(
            row["path"], space.metadata.base_fingerprint, space.layout
        )
        before[row["path"]] = pathlib.Path(row["path"]).read_bytes()
    again = enroll(*flags(folder, **store))
    assert again.returncode == 1
    assert "taken already: ann" in again.stderr.splitlines()[-1]
    for path, data in before.items():
        assert pathlib.Path(path).read_bytes() == data
