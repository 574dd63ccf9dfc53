"""The account of an experiment, by a compiler whose memory is known."""

import pytest

from tasks.compilation import figures as figures_lib, programs
from tests import tiny
from tpu.aot import compiler, report as aot_report, topology

CHIP = topology.lookup("v5e-4")
AVAILABLE = CHIP.chip.program_hbm_bytes


class Program:
    """A program whose memory is given."""

    seconds, num_utterances, num_steps, slot_bytes = 1.0, 4, 1, 2**20

    def __init__(self, needed):
        self.needed = needed

    def compile(self, name):
        if self.needed > AVAILABLE:
            raise compiler.DoesNotFitError("too much", self.needed, AVAILABLE)
        return aot_report.CompileReport(
            topology=topology.lookup(name),
            compile_seconds=1.0,
            flops=1e12,
            bytes_accessed=1e9,
            argument_bytes=self.needed,
            output_bytes=0,
            alias_bytes=0,
            temporary_bytes=0,
            code_bytes=0,
        )


@pytest.fixture
def made(monkeypatch):
    """Lists the programs of a step of `train`: speakers and rows of each."""
    found = []

    def train_program(base, experiment, slots, speakers, *others):
        found.append((speakers, slots))
        return Program(slots * Program.slot_bytes)

    monkeypatch.setattr(programs, "train_program", train_program)
    return found


def training(num_submodels=None, **train):
    job = figures_lib.TrainingJob(
        None, tiny.experiment(**train), CHIP, 16000, 8, num_submodels
    )
    return figures_lib.training(job, confirm=False)


def serving(num_rows, row_bytes):
    return figures_lib.serving(
        lambda rows: Program(rows * row_bytes), CHIP, num_rows
    )


@pytest.mark.parametrize(
    "num_submodels, places, job", [(None, 2, 8), (1, 1, 1), (5, 2, 5)]
)
def test_a_job_of_few_has_the_step_that_it_would_have(
    made, num_submodels, places, job
):
    figures = training(num_submodels, speakers_per_step=2).figures
    assert {speakers for speakers, _ in made} == {places}
    assert figures["num_submodels"] == job
    assert figures["speakers_per_step"] == 4 * places
    rows = -(-job // 4)
    assert made[-1][1] == figures["resident_submodels"] / 4 == rows


def test_too_many_are_told_what_may_take_turns(made):
    found = training(10**6, speakers_per_step=2)
    most = AVAILABLE // Program.slot_bytes
    assert found.figures["submodels_per_chip"] == most
    assert f"train.resident_speakers={4 * most}" in found.problem


@pytest.mark.parametrize(
    "row_bytes, remedy",
    [
        (2**30, "the largest number that fits is --num_rows=15"),
        (2**34, "not one utterance fits: lower --seconds"),
    ],
)
def test_a_call_that_does_not_fit_is_told_what_does(row_bytes, remedy):
    found = serving(64, row_bytes)
    assert found.problem.endswith(remedy)
    assert found.rows
    assert found.figures["excess_bytes"] == 64 * row_bytes - AVAILABLE


def test_a_call_that_fits_is_told_its_rate():
    found = serving(8, 2**20)
    assert found.problem is None
    seconds = 1e12 / 197e12
    assert found.figures["utterances_per_second"] == pytest.approx(8 / seconds)
