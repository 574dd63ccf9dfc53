"""What a run says of itself, and whether a later command agrees with it."""

from lingvo_like import hyperparams

TRAIN = "tasks.train"
TRAIN_BASE = "tasks.train_base"


def describe(
    name,
    experiment,
    base_path,
    base_fingerprint,
    data_digests,
    program=TRAIN,
):
    """What `experiment.json` holds.

    Args:
        name: str, the experiment's registered name.
        experiment: `schema.Experiment`, resolved.
        base_path: str, as given; where it was found, not what it is.
        base_fingerprint: str, what it is.
        data_digests: dict of speaker, in slot order, to the SHA-256 of its
            training and dev utterances.
        program: str, the binary whose run it is.
    """
    return {
        "program": program,
        "experiment": name,
        "values": hyperparams.to_dict(experiment),
        "base": base_path,
        "base_fingerprint": base_fingerprint,
        "data": data_digests,
    }


def check_program(directory, saved, program):
    """Refuses a directory that is the run of another binary.

    Raises:
        ValueError: names both.
    """
    found = saved.get("program", TRAIN)
    if found != program:
        raise ValueError(
            f"{directory} holds a run of {found}, not of {program}; name "
            f"another --model_dir"
        )


def check_agreement(directory, saved, now, template):
    """Refuses to go on in a directory that belongs to another run.

    Args:
        directory: str, named in the message.
        saved: dict from `ModelDirectory.read_experiment`.
        now: dict from `describe`.
        template: `schema.Experiment` of the run now.

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
    before, after = saved["data"], now["data"]
    for title, speakers in (
        ("speakers no longer there", [s for s in before if s not in after]),
        ("new speakers", [s for s in after if s not in before]),
        (
            "speakers whose recordings changed",
            [s for s in after if before.get(s, after[s]) != after[s]],
        ),
    ):
        if speakers:
            more = f" and {len(speakers) - 5} more" if speakers[5:] else ""
            lines.append(f"{title}: {', '.join(speakers[:5])}{more}")
    if lines:
        raise ValueError(
            f"{directory} holds another run: {'; '.join(lines)}. Use the same "
            f"settings to go on with it, or another --model_dir."
        )
