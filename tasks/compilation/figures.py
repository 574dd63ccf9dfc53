"""The account of an experiment on a TPU: figures, and rows of a table."""

import dataclasses
from collections import abc

import tqdm

from lingvo_like.base_models import base_model
from params import schema
from tasks.asr.batches import speaker_places
from tasks.compilation import capacity, programs
from tpu.aot import compiler, report as aot_report, topology


@dataclasses.dataclass(frozen=True)
class Account:
    """The outcome of compiling a program.

    Attributes:
        rows: (name, text), for people.
        figures: JSON values.
        problem: one line if the program does not fit; else None.
    """

    rows: list[tuple[str, str]]
    figures: dict
    problem: str | None = None


@dataclasses.dataclass(frozen=True)
class TrainingJob:
    """A job of training on the chips of a topology.

    Each chip is a replica with `train.speakers_per_step` places. The chips
    share out the Submodels of the job, and have rows for them as
    `train.resident_speakers` says. Every chip has all embeddings of a space.

    Attributes:
        num_samples: of the longest utterance.
        num_tokens: of the longest transcript; None for the base's maximum.
        num_submodels: of the job; None for those of a full step.
    """

    base: base_model.BaseModel
    experiment: schema.Experiment
    target: topology.Topology
    num_samples: int
    num_tokens: int | None = None
    num_submodels: int | None = None

    @property
    def is_space(self) -> bool:
        return bool(self.experiment.space.embedding_dim)

    @property
    def size(self) -> int:
        """Submodels of the job."""
        places = self.experiment.train.speakers_per_step
        return self.num_submodels or places * self.target.num_chips

    @property
    def places(self) -> int:
        """Speakers in a step of one chip."""
        return speaker_places.num_places(
            self.experiment.train, self.size, self.target.num_chips
        )

    @property
    def num_slots(self) -> int:
        """Submodels that a chip holds at a time."""
        if self.is_space:
            return self.size
        return speaker_places.num_rows(
            self.experiment.train, self.size, self.target.num_chips
        )

    @property
    def owners(self) -> int:
        """Chips that have Submodels of their own."""
        return 1 if self.is_space else self.target.num_chips

    def program(self, num_slots: int, places: int) -> programs.Program:
        return programs.train_program(
            self.base,
            self.experiment,
            num_slots,
            places,
            self.num_samples,
            self.num_tokens,
            self.target.num_chips,
        )

    def compile(
        self, num_slots: int, places: int | None = None
    ) -> aot_report.CompileReport:
        program = self.program(num_slots, places or self.places)
        what = f"{num_slots:,} Submodels on a chip"
        return _compile(program, self.target, what)


def training(job: TrainingJob, confirm: bool) -> Account:
    """Compiles the training step, and finds how many Submodels fit.

    Args:
        confirm: whether to find the number by compiling. A space's number is
            always computed: to compile it, the embeddings of millions of
            speakers would be drawn.
    """
    program = job.program(job.places, job.places)
    found = capacity.measure(
        job.compile,
        job.num_slots,
        job.places,
        program.slot_bytes,
        confirm and not job.is_space,
    )
    account = _account(job, program, found)
    if found.error:
        return _too_large(job, found.error, account)
    step_seconds = found.report.roofline_seconds / program.num_steps
    num_updates = job.experiment.train.num_steps
    per_hour = job.places * 3600.0 / (step_seconds * num_updates)
    speed = f"about {per_hour:,.0f}, of {num_updates} updates each"
    row = ("Submodels per chip-hour", f"{speed}, at the roofline")
    figures = {
        **found.report.to_dict(),
        **account.figures,
        "updates_per_submodel": num_updates,
        "submodels_per_chip_hour": per_hour,
    }
    return Account([*found.report.rows(), *account.rows, row], figures)


def _account(job, program, found):
    """The part of the account that holds whether the job fits or not."""
    most = found.most * job.owners
    how = "compiled" if found.confirmed else "computed"
    rows = [
        (
            "step of a chip",
            f"{program.num_utterances} utterances of {program.seconds:g} s, "
            f"{job.places} speakers",
        ),
        ("steps of a call", f"{program.num_steps}"),
        (
            "Submodels that fit",
            f"{most:,} in a job, {found.most:,} on a chip "
            f"({how}; {found.slot_bytes / 2**20:.2f} MiB each)",
        ),
    ]
    figures = {
        "speakers_per_step": job.places * job.target.num_chips,
        "speakers_per_step_of_a_chip": job.places,
        "utterances_per_step_of_a_chip": program.num_utterances,
        "steps_per_call": program.num_steps,
        "utterance_seconds": program.seconds,
        "num_submodels": job.size,
        "resident_submodels": job.num_slots * job.owners,
        "submodel_bytes": found.slot_bytes,
        "fits": found.report is not None,
        "submodels_per_chip": found.most,
        "submodels_per_job": most,
        "confirmed_by_compiling": found.confirmed,
    }
    return Account(rows, figures)


def _too_large(job, error, account):
    """The account of a job that does not fit, with the largest that does."""
    most = account.figures["submodels_per_job"]
    speakers = job.places
    if most:
        largest = f"the largest number found to fit is {most} Submodels"
        if not job.is_space:
            largest += (
                f"; more can take turns, with train.resident_speakers={most}"
            )
    else:
        speakers = capacity.largest(
            lambda number: job.compile(number, number), job.places - 1
        )
        largest = (
            "the step alone is too large; the largest that fits is "
            f"train.speakers_per_step={speakers}"
            if speakers
            else "not one speaker's minibatch fits: lower "
            "train.utterances_per_speaker or --seconds"
        )
    figures = {
        "topology": job.target.name,
        "num_chips": job.target.num_chips,
        **account.figures,
        "hbm_bytes_needed": error.needed_bytes,
        "hbm_bytes_available": error.available_bytes,
        "excess_bytes": error.excess_bytes,
        "largest_speakers_per_step_of_a_chip": speakers,
    }
    return Account(account.rows, figures, f"{error}; {largest}")


def serving(
    make_program: abc.Callable[[int], programs.Program],
    target: topology.Topology,
    num_rows: int,
) -> Account:
    """Compiles recognition, from audio to tokens, for one chip.

    Args:
        make_program: of a number of utterances of a call.
    """

    def compile_at(
        rows: int,
    ) -> tuple[programs.Program, aot_report.CompileReport]:
        program = make_program(rows)
        return program, _compile(program, target, f"{rows:,} utterances")

    try:
        program, report = compile_at(num_rows)
    except compiler.DoesNotFitError as error:
        most = capacity.largest(compile_at, num_rows - 1)
        largest = f"the largest number that fits is --num_rows={most}"
        if not most:
            largest = "not one utterance fits: lower --seconds"
        return Account(
            [("utterances that fit", f"{most} of {num_rows} in a call")],
            {
                "topology": target.name,
                "fits": False,
                "utterances_per_call": num_rows,
                "excess_bytes": error.excess_bytes,
                "largest_utterances_per_call": most,
            },
            f"{error}; {largest}",
        )
    rate = num_rows / report.roofline_seconds
    rows = [
        (
            "call",
            f"{num_rows} utterances of {program.seconds:g} s, each with its "
            "own Submodel, to tokens; the host makes text of them",
        ),
        (
            "utterances per second",
            f"about {rate:,.0f} of a chip, at the roofline, with every loop "
            "of decoding at its longest",
        ),
    ]
    figures = {
        **report.to_dict(),
        "fits": True,
        "utterances_per_call": num_rows,
        "utterance_seconds": program.seconds,
        "utterances_per_second": rate,
    }
    return Account(report.rows() + rows, figures)


def _compile(program, target, what):
    """Compiles a program, while somebody may be waiting at a terminal."""
    with tqdm.tqdm(
        desc=f"compiling for {target.name}: {what}",
        bar_format="{desc}",
        disable=None,
        leave=False,
    ):
        return program.compile(target.name)
