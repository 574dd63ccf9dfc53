"""Replicas that share a job: whoever trains a speaker, it comes out the same.

Each job is a process of its own, since TensorFlow splits its CPU only once.
"""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from tests import tiny

ROOT = pathlib.Path(__file__).parents[4]
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


@pytest.fixture(scope="module")
def jobs(speech):
    return Jobs(speech)


class Jobs:
    """Runs jobs on the speech, each kind of them once."""

    def __init__(self, folder):
        self.folder = folder
        self._whole = {}

    def told(self, name, **values):
        told = {
            "folder": str(self.folder),
            "model_dir": str(self.folder / name),
            **values,
        }
        return told | {"train": TRAIN | values.get("train", {})}

    def run(self, name, **values):
        """Runs a job in a folder; returns what it said."""
        (report,) = finish([start(self.told(name, **values))])
        return report

    def whole(self, **values):
        """The report and the files of a job that nothing interrupts."""
        key = json.dumps(values, sort_keys=True)
        if key not in self._whole:
            name = f"whole{len(self._whole)}"
            self._whole[key] = self.run(name, **values), self.files(name)
        return self._whole[key]

    def files(self, name):
        folder = self.folder / name / "submodels"
        return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def start(told, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.tasks.asr.training.replica_job"]
        + [json.dumps(told)],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(processes):
    reports = []
    for process in processes:
        out, errors = process.communicate(timeout=3000)
        assert process.returncode == 0, errors
        reports.append(json.loads(out.splitlines()[-1]))
    return reports


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


def test_two_replicas_give_the_bits_of_one(jobs):
    one, expected = jobs.whole()
    two, found = jobs.whole(virtual_cpus=2)
    assert (one["replicas"], two["replicas"]) == (1, 2)
    check_same(found, expected)
    assert found == expected
    # Who is on which replica is even, and so is what is left to do.
    assert sum(place >= 2 for place in two["places_of"]) == 4
    assert two["calls"] < 0.7 * one["calls"]
    # Nothing compiles after each bucket was seen, and nobody meets.
    assert one["buckets"] == one["traces"] == two["traces"] == 2
    assert two["meetings"] == []


@pytest.mark.slow
def test_four_replicas_give_the_same_submodels(jobs):
    report, found = jobs.whole(virtual_cpus=4)
    assert report["replicas"] == 4
    assert report["traces"] == report["buckets"]
    assert report["meetings"] == []
    check_same(found, jobs.whole()[1])


@pytest.mark.slow
def test_two_processes_give_the_same_submodels(jobs):
    one, expected = jobs.whole()
    reports = finish(start_workers(jobs.told("workers", train=TRAIN)))
    for report in reports:
        assert report["replicas"] == 2
        assert report["steps"] == one["steps"]
        assert report["meetings"] == []
    check_same(jobs.files("workers"), expected)


def start_workers(told):
    addresses = []
    sockets = [socket.socket() for _ in range(2)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
        addresses.append(f"127.0.0.1:{each.getsockname()[1]}")
    for each in sockets:
        each.close()
    return [
        start(
            told,
            TF_CONFIG=json.dumps(
                {
                    "cluster": {"worker": addresses},
                    "task": {"type": "worker", "index": index},
                }
            ),
        )
        for index in range(2)
    ]


@pytest.mark.slow
def test_two_processes_stop_together_and_one_goes_on(jobs):
    told = jobs.told("cut_workers", stop_after=2)
    workers = start_workers(told)
    assert [r["stopped"] for r in finish(workers)] == [True, True]
    rest = jobs.run("cut_workers")
    assert rest["restored"]
    check_same(jobs.files("cut_workers"), jobs.whole()[1])


@pytest.mark.slow
def test_a_process_that_dies_is_one_line_to_the_other(jobs):
    told = jobs.told("dies", train=TRAIN | {"num_steps": 2000})
    first, second = start_workers(told)
    # It trains once there is a checkpoint or a Submodel.
    folder = jobs.folder / "dies" / "submodels"
    while not (folder.exists() and any(folder.iterdir())):
        assert first.poll() is None and second.poll() is None
    second.kill()
    second.communicate()
    _, errors = first.communicate(timeout=600)
    assert first.returncode != 0
    assert "another process of the job died or was stopped" in errors


@pytest.mark.slow
@pytest.mark.parametrize("later", [None, 4])
def test_sigterm_saves_and_other_replicas_go_on_from_there(jobs, later):
    name = f"cut{later}"
    first = jobs.run(name, virtual_cpus=2, stop_after=3)
    assert first["stopped"] and first["calls"] == 4
    assert 0 < sum(first["steps"]) < 4 * len(SPEAKERS)
    rest = jobs.run(name, virtual_cpus=later)
    assert rest["restored"] and not rest["stopped"]
    check_same(jobs.files(name), jobs.whole()[1])


@pytest.mark.slow
def test_many_steps_in_a_call_give_the_same_bits(jobs):
    expected = jobs.whole()[1]
    for virtual_cpus in (None, 2):
        report, found = jobs.whole(
            virtual_cpus=virtual_cpus, train={"steps_per_call": 3}
        )
        assert report["traces"] == report["buckets"]
        check_same(found, expected)
        assert found == expected


@pytest.mark.slow
def test_a_space_learns_the_same_on_replicas_which_meet_for_its_basis(jobs):
    """Where a step has as many places in all, the basis moves alike."""
    one, expected = jobs.whole(space=SPACE, train={"speakers_per_step": 8})
    two, found = jobs.whole(
        virtual_cpus=2, space=SPACE, train={"speakers_per_step": 4}
    )
    assert one["calls"] == two["calls"]
    assert two["meetings"] != []
    check_same(found, expected)
