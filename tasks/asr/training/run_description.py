"""Describes a run, and checks that a later command agrees with it."""

from collections import abc
from typing import Any

from lingvo_like import hyperparams
from params import schema
from tasks import tables

TRAIN = "tasks.train"
TRAIN_BASE = "tasks.train_base"


def describe(
    name: str,
    experiment: schema.Experiment,
    base_path: str,
    base_fingerprint: str,
    data_digests: abc.Mapping[str, str],
    program: str = TRAIN,
) -> dict[str, Any]:
    """The contents of `experiment.json`.

    Args:
        name: the experiment's registered name.
        experiment: with all overrides.
        data_digests: speaker, in slot order, to the SHA-256 of the training
            and dev utterances.
        program: the binary whose run it is.
    """
    return {
        "program": program,
        "experiment": name,
        "values": hyperparams.to_dict(experiment),
        "base": base_path,
        "base_fingerprint": base_fingerprint,
        "data": data_digests,
    }


def check_program(
    directory: str, saved: abc.Mapping[str, Any], program: str
) -> None:
    """Raises a ValueError for the run of another binary."""
    if saved["program"] != program:
        raise ValueError(
            f"{directory} holds a run of {saved['program']}, not of {program}; "
            f"name another --model_dir"
        )


def check_agreement(
    directory: str,
    saved: abc.Mapping[str, Any],
    now: abc.Mapping[str, Any],
    template: schema.Experiment,
    may_lose: bool = False,
) -> list[str]:
    """Refuses to continue in a directory that belongs to another run.

    Args:
        saved: from `ModelDirectory.read_experiment`.
        now: from `describe`.
        template: the experiment now.
        may_lose: whether the run goes on for the others when speakers are gone
            or have other recordings. It never does with new speakers, or when
            nobody is as before.

    Returns:
        the speakers who are gone or have other recordings.

    Raises:
        ValueError: with every difference.
    """
    check_program(directory, saved, now["program"])
    lines = []
    if saved["experiment"] != now["experiment"]:
        lines.append(
            f"experiment: saved {saved['experiment']}, now {now['experiment']}"
        )
    else:
        lines += hyperparams.difference(saved["values"], template)
    if saved["base_fingerprint"] != now["base_fingerprint"]:
        lines.append(
            f"base model: saved {saved['base_fingerprint'][:12]} "
            f"({saved.get('base')}), now {now['base_fingerprint'][:12]} "
            f"({now['base']})"
        )
    lines += _other_start(directory, saved, now)
    by = now.get("cohorts_by")
    if by and saved.get("cohorts_by", "") != by:
        saved_by = saved.get("cohorts_by") or "none"
        lines.append(f"--cohort: saved {saved_by}, now {by}")
    dev = now.get("dev_speech")
    if saved.get("dev_speech", dev) != dev:
        lines.append(f"dev speech: saved {saved['dev_speech']}, now {dev}")
    before, after = saved["data"], now["data"]
    gone = [s for s in before if s not in after]
    new = [s for s in after if s not in before]
    changed = [s for s in after if before.get(s, after[s]) != after[s]]
    missing = gone + changed
    is_fatal = new or not may_lose or len(missing) == len(before)
    for title, speakers in (
        ("speakers no longer there", gone),
        ("new speakers", new),
        ("speakers whose recordings changed", changed),
    ):
        if speakers and is_fatal:
            lines.append(f"{title}: {tables.first_names(speakers)}")
    if lines:
        raise ValueError(
            f"{directory} holds another run: {'; '.join(lines)}. Use the same "
            f"settings to continue it, or another --model_dir."
        )
    return missing


def _other_start(directory, saved, now):
    """The difference of where the speakers start; none where it is not said."""
    before = saved.get("start", {}).get("path", "")
    after = now.get("start", {}).get("path", "")
    if not after or before == after:
        return []
    return [
        f"--start_from: saved {before or 'none'}, now {after}, where "
        f"--start_from={directory} would go on from its own Submodels"
    ]


def check_request(
    directory: str,
    saved: abc.Mapping[str, Any],
    experiment: schema.Experiment,
    name: str,
    settings: abc.Mapping[str, Any],
) -> None:
    """Refuses an experiment or settings that a run does not have.

    Args:
        saved: from `ModelDirectory.read_experiment`.
        experiment: the run's own.
        name: of the experiment asked for, or empty.
        settings: those asked for, by their dotted names.

    Raises:
        ValueError: with the difference.
    """
    lines = []
    if name and name != saved["experiment"]:
        lines.append(f"experiment: saved {saved['experiment']}, now {name}")
    lines += hyperparams.difference(
        experiment, hyperparams.replace(experiment, settings)
    )
    if lines:
        raise ValueError(f"{directory} holds another run: {'; '.join(lines)}")
