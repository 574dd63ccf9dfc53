"""The flags for devices: the same results on several, and refusals."""

import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
import safetensors.numpy

from tests import clusters, tiny

ROOT = pathlib.Path(__file__).parents[2]
SPEAKERS = ("ann", "bob", "cy", "dee")


def run(binary, *flags, **environment):
    return subprocess.run(
        [sys.executable, "-m", f"tasks.{binary}", *map(str, flags)],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def start_two(binary, *flags, second=()):
    """Starts what `run_two` runs."""
    command = [sys.executable, "-m", f"tasks.{binary}", *map(str, flags)]
    return [
        subprocess.Popen(
            [*command, *map(str, more)],
            cwd=ROOT,
            env=os.environ | {"TF_CONFIG": config},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for config, more in zip(clusters.configs(), ((), second), strict=True)
    ]


def run_two(binary, *flags, second=()):
    """Two processes of one job: what each has said, once both have ended.

    Args:
        binary, *flags: the command of both.
        second: more flags of the second.
    """
    started = start_two(binary, *flags, second=second)
    try:
        said = [each.communicate(timeout=300) for each in started]
    finally:
        for each in started:
            each.kill()
    return [
        subprocess.CompletedProcess(each.args, each.returncode, *words)
        for each, words in zip(started, said, strict=True)
    ]


def train_flags(folder, model_dir, experiment="conformer.TinyEmbedding"):
    return [
        f"--experiment={experiment}",
        f"--base={folder}/base",
        f"--train_manifest={folder}/train.jsonl",
        f"--dev_manifest={folder}/dev.jsonl",
        f"--model_dir={model_dir}",
        "--set=base.buckets_seconds=2.0",
    ]


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    tiny.recordings(folder, SPEAKERS, 4)
    tiny.recordings(folder, SPEAKERS, 2, seed=1, name="dev")
    tiny.base().save(str(folder / "base"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("binary", ["train", "evaluate", "enroll"])
@pytest.mark.parametrize(
    "flags, config, message",
    [
        (["--num_replicas=3"], "", "`num_replicas` must be 1"),
        (["--tpu=no-such-tpu"], "", "no TPU answers at 'no-such-tpu'"),
        ([], '{"cluster": {"worker": ["a:1", "b:1"]}}', '"task" is missing'),
    ],
)
def test_devices_that_are_not_there_are_one_line_and_leave_nothing(
    speech, space, tmp_path, binary, flags, config, message
):
    more = {
        "train": train_flags(speech, tmp_path / "run"),
        "evaluate": [
            f"--model_dir={space}",
            f"--test_manifest={speech}/dev.jsonl",
            f"--output_dir={tmp_path}/evaluation",
        ],
        "enroll": [
            f"--space={space}",
            f"--manifest={speech}/dev.jsonl",
            f"--output_dir={tmp_path}/enrolled",
        ],
    }[binary]
    done = run(binary, *more, *flags, TF_CONFIG=config)
    assert done.returncode == 1
    # TensorFlow may say before that there is no GPU.
    *before, last = done.stderr.splitlines()
    assert not any(line.startswith("error: ") for line in before)
    assert last.startswith("error: ") and message in last
    assert os.listdir(tmp_path) == []


@pytest.fixture(scope="module")
def space(speech):
    """A run of a space on one replica."""
    done = run("train", *train_flags(speech, speech / "space"))
    assert done.returncode == 0, done.stderr
    return speech / "space"


@pytest.mark.slow
def test_training_on_replicas_is_told_and_ends_in_the_same(speech, tmp_path):
    found = []
    for flags in ([], ["--virtual_cpus=2", "--num_replicas=2"]):
        folder = tmp_path / str(len(flags))
        done = run(
            "train", *train_flags(speech, folder, "conformer.Tiny"), *flags
        )
        assert done.returncode == 0, done.stderr
        assert ("on 2 replicas" in done.stdout) == bool(flags)
        paths = sorted((folder / "submodels").iterdir())
        found.append({p.name: p.read_bytes() for p in paths})
    assert len(found[0]) == len(SPEAKERS)
    assert found[0] == found[1]


@pytest.mark.slow
def test_a_process_may_have_nothing_to_train(speech, tmp_path):
    manifest = tiny.recordings(tmp_path, SPEAKERS[:1], 4)
    flags = [
        *train_flags(speech, tmp_path / "run", "conformer.Tiny"),
        f"--train_manifest={manifest}",
        "--dev_manifest=",
    ]
    for done in run_two("train", *flags):
        assert done.returncode == 0, done.stderr
    assert len(os.listdir(tmp_path / "run" / "submodels")) == 1


@pytest.mark.slow
def test_processes_share_a_cohort_and_a_start(speech, tmp_path):
    for name, run_job in (("one", run), ("processes", run_two)):
        first, second = tmp_path / name, tmp_path / f"{name}_second"
        for folder, more in (
            (first, ["--cohort", "--set=cohort.num_steps=2"]),
            (second, [f"--start_from={first}"]),
        ):
            flags = train_flags(speech, folder, "conformer.Tiny")
            ended = run_job("train", *flags, *more)
            for done in ended if isinstance(ended, list) else [ended]:
                assert done.returncode == 0, done.stderr
    for run_name in ("{}", "{}/cohort", "{}_second"):
        expected, found = (
            submodel_tensors(tmp_path / run_name.format(name))
            for name in ("one", "processes")
        )
        assert set(found) == set(expected) != set()
        for tensor, value in expected.items():
            np.testing.assert_allclose(found[tensor], value, atol=1e-4)


def submodel_tensors(folder):
    """The tensors of a run's files, by file and name."""
    return {
        (path.name, name): value
        for path in sorted((folder / "submodels").iterdir())
        for name, value in safetensors.numpy.load_file(path).items()
    }


@pytest.mark.slow
def test_processes_of_unlike_jobs_are_told(speech, tmp_path):
    flags = train_flags(speech, tmp_path / "run", "conformer.Tiny")
    for done in run_two("train", *flags, second=["--set=train.num_steps=9"]):
        assert done.returncode == 1
        assert "must be the same in all 2 processes" in done.stderr
    assert not (tmp_path / "run" / "submodels").exists()


@pytest.mark.slow
@pytest.mark.parametrize("dies", [0, 1])
def test_a_process_that_dies_is_one_line_to_the_other(speech, tmp_path, dies):
    started = start_two(
        "train",
        *train_flags(speech, tmp_path / "run", "conformer.Tiny"),
        "--set=train.num_steps=100000",
        "--set=train.checkpoint_every_seconds=1",
    )
    checkpoints = tmp_path / "run" / "checkpoints"
    try:
        while not (checkpoints.exists() and any(checkpoints.iterdir())):
            assert [each.poll() for each in started] == [None, None]
            time.sleep(0.2)
        started[dies].kill()
        _, said = started[1 - dies].communicate(timeout=300)
    finally:
        for each in started:
            each.kill()
            each.communicate()
    assert started[1 - dies].returncode == 1
    # TensorFlow's runtime may say before, in its own way, who is gone.
    *before, last = said.splitlines()
    assert last.startswith("error: another process of the job died or was")
    assert not any(line.startswith("error:") for line in before), said
    assert "Traceback" not in said


def hypotheses(folder):
    lines = (folder / "hypotheses.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.slow
def test_evaluation_on_replicas_recognises_the_same(speech, space, tmp_path):
    def flags(name):
        return [
            f"--model_dir={space}",
            f"--test_manifest={speech}/dev.jsonl",
            f"--output_dir={tmp_path}/{name}",
        ]

    ended = [
        run("evaluate", *flags("one")),
        run("evaluate", *flags("cpus"), "--virtual_cpus=2"),
        *run_two("evaluate", *flags("processes")),
    ]
    for done in ended:
        assert done.returncode == 0, done.stderr
    texts = hypotheses(tmp_path / "one")
    assert len(texts) == 2 * len(SPEAKERS)
    for name in ("cpus", "processes"):
        assert hypotheses(tmp_path / name) == texts


def enrol_flags(space, manifest, folder):
    return [
        f"--space={space}",
        f"--manifest={manifest}",
        f"--output_dir={folder}",
        "--mode=full",
        "--despite_warnings",
        "--json",
        "--set=embedding_steps=2",
        "--set=full_steps=2",
    ]


def enrolled(done):
    """The rows that `tasks.enroll` printed, by speaker."""
    # Whom the tiny base serves as well gets nothing, and it says so.
    assert done.stdout and "Traceback" not in done.stderr, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])["speakers"]
    return {row["speaker"]: row for row in rows}


@pytest.mark.slow
@pytest.mark.parametrize("newcomers", [("eve", "fay", "gus"), ("eve",)])
def test_enrolment_on_replicas_makes_the_same(
    speech, space, tmp_path, newcomers
):
    manifest = tiny.recordings(speech, newcomers, 3, seed=2, name="new")
    expected = enrolled(
        run("enroll", *enrol_flags(space, manifest, tmp_path / "one"))
    )
    assert set(expected) == set(newcomers)
    flags = enrol_flags(space, manifest, tmp_path / "cpus")
    cpus = enrolled(run("enroll", *flags, "--virtual_cpus=2"))
    found = [cpus]
    flags = enrol_flags(space, manifest, tmp_path / "processes")
    chief, other = run_two("enroll", *flags)
    assert "Traceback" not in other.stderr, other.stderr
    found.append(enrolled(chief))
    # Else there are no files to compare.
    if len(newcomers) > 1:
        assert any("path" in row for row in expected.values())
    for rows in found:
        assert set(rows) == set(newcomers)
        for speaker, row in rows.items():
            wanted = expected[speaker]
            assert row["mode"] == wanted["mode"]
            for mode, loss in wanted["loss"].items():
                assert row["loss"][mode] == pytest.approx(loss, rel=1e-4)
            if "path" in wanted:
                tensors = safetensors.numpy.load_file(row["path"])
                for name, value in safetensors.numpy.load_file(
                    wanted["path"]
                ).items():
                    np.testing.assert_allclose(tensors[name], value, atol=1e-4)
