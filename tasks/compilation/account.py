"""What compiling an experiment for a TPU says: figures, and rows of a table."""

import dataclasses

import tqdm

from tasks.asr.training import sharding
from tasks.compilation import capacity, programs
from tpu.aot import compiler


@dataclasses.dataclass(frozen=True)
class Account:
    """The outcome of compiling a program.

    Attributes:
        rows: list of (name, text), for people.
        figures: dict of JSON values.
        problem: one line, where the program does not fit; else None.
    """

    rows: list
    figures: dict
    problem: str | None = None


def training(
    base, experiment, target, num_samples, num_tokens, num_submodels, confirm
):
    """Compiles the training step of a job for the chips of a topology.

    Each chip is a replica with `train.speakers_per_step` places. The Submodels
    of the job are shared out to them, and have rows as
    `train.resident_speakers` says. Of a space every chip has all embeddings.

    Args:
        base: a frozen `BaseModel`.
        experiment: `schema.Experiment`.
        target: `topology.Topology`.
        num_samples: int, of the longest utterance.
        num_tokens: int or None, of the longest transcript.
        num_submodels: int or None, of the job; those of a full step if None.
        confirm: bool; see `capacity.measure`.

    Returns:
        `Account`.
    """
    chips = target.num_chips
    train = experiment.train
    is_space = bool(experiment.space.embedding_dim)
    # Chips that have Submodels of their own.
    owners = 1 if is_space else chips
    # To confirm would draw the embeddings of millions.
    confirm = confirm and not is_space
    job = num_submodels or train.speakers_per_step * chips
    places = sharding.num_places(train, job, chips)
    num_slots = job if is_space else sharding.num_rows(train, job, chips)

    def program(slots, speakers=places):
        return programs.train_program(
            base, experiment, slots, speakers, num_samples, num_tokens, chips
        )

    def compile_at(slots, speakers=places):
        return _compile(
            program(slots, speakers), target, f"{slots:,} Submodels on a chip"
        )

    first = program(places)
    found = capacity.measure(
        compile_at, num_slots, places, first.slot_bytes, confirm
    )
    figures = {
        "speakers_per_step": places * chips,
        "speakers_per_step_of_a_chip": places,
        "utterances_per_step_of_a_chip": first.num_utterances,
        "steps_per_call": first.num_steps,
        "utterance_seconds": first.seconds,
        "num_submodels": job,
        "resident_submodels": num_slots * owners,
        "submodel_bytes": found.slot_bytes,
        "fits": found.report is not None,
        "submodels_per_chip": found.most,
        "submodels_per_job": found.most * owners,
        "confirmed_by_compiling": found.confirmed,
    }
    step = (
        f"{first.num_utterances} utterances of {first.seconds:g} s, "
        f"{places} speakers"
    )
    how = "compiled" if found.confirmed else "computed"
    rows = [
        ("step of a chip", step),
        ("steps of a call", f"{first.num_steps}"),
        (
            "Submodels that fit",
            f"{found.most * owners:,} in a job, {found.most:,} on a chip "
            f"({how}; {found.slot_bytes / 2**20:.2f} MiB each)",
        ),
    ]
    if found.report:
        return _account_of_time(found.report, figures, rows, places, train)
    speakers = places
    if not found.most:
        speakers = capacity.largest(
            lambda speakers: compile_at(speakers, speakers), places - 1
        )
    return _account_of_excess(found, figures, rows, speakers, is_space, target)


def _compile(made, target, what):
    """Compiles a `Program` while somebody may be waiting at a terminal."""
    with tqdm.tqdm(
        desc=f"compiling for {target.name}: {what}",
        bar_format="{desc}",
        disable=None,
        leave=False,
    ):
        return made.compile(target.name)


def _account_of_time(report, figures, rows, places, train):
    step_seconds = report.roofline_seconds / figures["steps_per_call"]
    per_hour = places * 3600.0 / (step_seconds * train.num_steps)
    rows.append(
        (
            "Submodels per chip-hour",
            f"about {per_hour:,.0f}, of {train.num_steps} updates each, at "
            "the roofline",
        )
    )
    return Account(
        report.rows() + rows,
        {
            **report.to_dict(),
            **figures,
            "updates_per_submodel": train.num_steps,
            "submodels_per_chip_hour": per_hour,
        },
    )


def _account_of_excess(found, figures, rows, speakers, is_space, target):
    error = found.error
    most = figures["submodels_per_job"]
    if most:
        largest = f"the largest number found to fit is {most} Submodels"
        if not is_space:
            largest += (
                f"; more can take turns, with train.resident_speakers={most}"
            )
    elif speakers:
        largest = (
            "the step alone is too large; the largest that fits is "
            f"train.speakers_per_step={speakers}"
        )
    else:
        largest = (
            "not one speaker's minibatch fits: lower "
            "train.utterances_per_speaker or --seconds"
        )
    figures = {
        "topology": target.name,
        "num_chips": target.num_chips,
        **figures,
        "hbm_bytes_needed": error.needed_bytes,
        "hbm_bytes_available": error.available_bytes,
        "excess_bytes": error.excess_bytes,
        "largest_speakers_per_step_of_a_chip": speakers,
    }
    return Account(rows, figures, f"{error}; {largest}")


def serving(base, experiment, target, num_samples, num_rows, beam_size):
    """Compiles recognition, from audio to tokens, for one chip.

    Args:
        base, experiment, target, num_samples: as of `training`.
        num_rows: int, utterances of a call.
        beam_size: int, 1 for greedy.

    Returns:
        `Account`.
    """

    def compile_at(rows):
        made = programs.serve_program(
            base, experiment, rows, num_samples, beam_size
        )
        return made, _compile(made, target, f"{rows:,} utterances")

    try:
        made, report = compile_at(num_rows)
    except compiler.DoesNotFitError as error:
        most = capacity.largest(compile_at, num_rows - 1)
        figures = {
            "topology": target.name,
            "fits": False,
            "utterances_per_call": num_rows,
            "excess_bytes": error.excess_bytes,
            "largest_utterances_per_call": most,
        }
        largest = f"the largest number that fits is --num_rows={most}"
        if not most:
            largest = "not one utterance fits: lower --seconds"
        rows = [("utterances that fit", f"{most} of {num_rows} in a call")]
        return Account(rows, figures, f"{error}; {largest}")
    rate = num_rows / report.roofline_seconds
    rows = [
        (
            "call",
            f"{num_rows} utterances of {made.seconds:g} s, each with its own "
            "Submodel, to tokens; text is made of them on the host",
        ),
        (
            "utterances per second",
            f"about {rate:,.0f} of a chip, at the roofline, every loop of "
            "decoding at its longest",
        ),
    ]
    return Account(
        report.rows() + rows,
        {
            **report.to_dict(),
            "fits": True,
            "utterances_per_call": num_rows,
            "utterance_seconds": made.seconds,
            "utterances_per_second": rate,
        },
    )
