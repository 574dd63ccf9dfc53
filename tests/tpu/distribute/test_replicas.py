"""Replicas that share a job: whoever trains a speaker, it comes out the same.

Each job is a process of its own, since TensorFlow splits its CPU only once.
"""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from tests import clusters, tiny

ROOT = pathlib.Path(__file__).parents[3]
SPEAKERS = [f"s{i}" for i in range(8)]
TRAIN = {"num_steps": 4, "eval_every_steps": 2}
SPACE = {
    "embedding_dim": 3,
    "element_dropout_rate": 0.1,
    "speaker_dropout_rate": 0.2,
}


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    tiny.recordings(folder, SPEAKERS, 3)
    tiny.recordings(folder, SPEAKERS, 2, seed=1, name="dev")
    tiny.base(buckets_seconds=(1.0, 1.6)).save(str(folder / "base"))
    return folder


def told(folder, name, **values):
    """The arguments of a job of `replica_job`."""
    return {
        "folder": str(folder),
        "model_dir": str(folder / name),
        **values,
        "train": TRAIN | values.get("train", {}),
    }


def files(folder, name):
    paths = sorted((folder / name / "submodels").iterdir())
    return {path.name: path.read_bytes() for path in paths}


def start(*jobs, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.tpu.distribute.replica_job"]
        + [json.dumps(jobs)],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    """The reports of a process's jobs."""
    out, errors = process.communicate(timeout=3000)
    assert process.returncode == 0, errors
    # The trainer says on the same stream how fast it is.
    return [json.loads(line) for line in out.splitlines() if line[:1] == "{"]


@pytest.fixture(scope="module")
def one(speech):
    """The folder and the report of a job on one replica."""
    (report,) = finish(start(told(speech, "one")))
    return files(speech, "one"), report


def check_same(found, expected, tolerance=1e-3):
    """Within what another number of rows rounds by, of moved weights."""
    assert sorted(found) == sorted(expected)
    assert len(expected) == len(SPEAKERS)
    for name, data in expected.items():
        other = safetensors.numpy.load(found[name])
        tensors = safetensors.numpy.load(data)
        assert any(np.any(t) for n, t in tensors.items() if "up_kernel" in n)
        for tensor, value in tensors.items():
            scale = np.abs(value).max() + 1e-6
            error = np.abs(other[tensor] - value).max() / scale
            assert error < tolerance, (name, tensor, error)


def check_report(report, num_replicas):
    assert report["replicas"] == num_replicas
    # Nothing compiles after each bucket was seen, and nobody meets.
    assert report["traces"] == report["buckets"] == 2
    assert report["meetings"] == []


@pytest.mark.slow
def test_replicas_give_the_bits_of_one_wherever_a_run_goes_on(speech, one):
    expected, alone = one
    reports = finish(
        start(
            told(speech, "two", replicas=2),
            told(speech, "four", replicas=4),
            told(speech, "to one", replicas=2, stop_after=3),
            told(speech, "to one", replicas=1),
            told(speech, "to four", replicas=2, stop_after=3),
            told(speech, "to four", replicas=4),
        )
    )
    two, four, cut, rest, _, last = reports
    check_report(two, 2)
    check_report(four, 4)
    # Each has as many speakers, and less to do.
    assert sum(place >= 2 for place in two["places_of"]) == 4
    assert four["calls"] < two["calls"] < alone["calls"]
    assert cut["stopped"] and cut["calls"] == 4
    assert 0 < sum(cut["steps"]) < sum(rest["steps"])
    assert rest["restored"] and last["restored"]
    for name in ("two", "four", "to one", "to four"):
        found = files(speech, name)
        check_same(found, expected)
        assert found == expected, name


@pytest.mark.slow
def test_speakers_take_turns_on_replicas_wherever_a_run_goes_on(speech, one):
    turns = {"resident_speakers": 4}
    reports = finish(
        start(
            told(speech, "turns two", replicas=2, train=turns),
            told(speech, "turns fewer", replicas=4, train=turns, stop_after=3),
            told(speech, "turns fewer", replicas=2, train=turns),
            told(speech, "turns more", replicas=1, train=turns, stop_after=3),
            told(speech, "turns more", replicas=4, train=turns),
        )
    )
    check_report(reports[0], 2)
    assert reports[2]["restored"] and reports[4]["restored"]
    for name in ("turns two", "turns fewer", "turns more"):
        assert files(speech, name) == one[0], name


@pytest.mark.slow
def test_on_replicas_too_no_byte_depends_on_neighbours_dev_sets(speech):
    lines = (speech / "dev.jsonl").read_text().splitlines()
    own = [line for line in lines if json.loads(line)["speaker"] == "s5"]
    manifests = {"all": lines, "own": own, "some": lines[:3] + own}
    for name, some in manifests.items():
        (speech / f"dev_{name}.jsonl").write_text("\n".join(some))
    finish(
        start(
            *(
                told(
                    speech,
                    f"dev {name}",
                    replicas=2,
                    dev=f"dev_{name}.jsonl",
                    places_round=True,
                )
                for name in manifests
            )
        )
    )
    found = {
        files(speech, f"dev {name}")["s5.safetensors"] for name in manifests
    }
    assert len(found) == 1


@pytest.mark.slow
def test_many_steps_in_a_call_give_the_same_bits_on_replicas(speech, one):
    (report,) = finish(
        start(
            told(speech, "many", replicas=2, train={"steps_per_call": 3}),
        )
    )
    check_report(report, 2)
    assert files(speech, "many") == one[0]


@pytest.mark.slow
def test_a_space_learns_the_same_on_replicas_which_meet_for_its_basis(speech):
    """Where a step has as many places in all, the basis moves alike."""
    alone, shared = finish(
        start(
            told(
                speech,
                "space one",
                replicas=1,
                space=SPACE,
                train={"speakers_per_step": 8},
            ),
            told(
                speech,
                "space two",
                replicas=2,
                space=SPACE,
                train={"speakers_per_step": 4},
            ),
        )
    )
    assert alone["calls"] == shared["calls"]
    assert shared["meetings"] != []
    check_same(files(speech, "space two"), files(speech, "space one"))


def start_two(job, *other):
    """Two processes of a job; the second may be told something else."""
    jobs = (job, *(other or (job,)))
    return [
        start(each, TF_CONFIG=config)
        for each, config in zip(jobs, clusters.configs(), strict=True)
    ]


@pytest.mark.slow
def test_two_processes_give_the_same_and_stop_together(speech, one):
    expected, alone = one
    processes = start_two(told(speech, "processes"))
    for (report,) in map(finish, processes):
        check_report(report, 2)
        assert report["steps"] == alone["steps"]
    check_same(files(speech, "processes"), expected)
    # Whichever is asked to stop, both do.
    processes = start_two(
        told(speech, "cut processes"),
        told(speech, "cut processes", stop_after=2),
    )
    for (report,) in map(finish, processes):
        assert report["stopped"]
    (rest,) = finish(start(told(speech, "cut processes")))
    assert rest["restored"]
    check_same(files(speech, "cut processes"), expected)
