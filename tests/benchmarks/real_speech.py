"""Manifests of real voices, and commands on them whose results are kept.

What the benchmarks on real voices share: `voices` and `kinds`.
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import time

import numpy as np

from tasks.asr import base_loading
from tasks.asr.data import manifest
from tests.benchmarks import heard as heard_lib, jobs

SPLITS = ("train", "dev", "test")
EXPERIMENT = "whisper.ShortStacked"


def parser(name, description, voices="all"):
    """A parser with flags for the voices, and for how much of each is taken."""
    result = jobs.parser(name, description, "base", "the Whisper of 30 s")
    result.add_argument(
        "--short_base",
        default="",
        help="its short-context form; else it is made of the train speech",
    )
    result.add_argument("--voices", default=voices, help="%(default)s")
    result.add_argument(
        "--fetched",
        default="",
        help="the folder of tasks.fetch_recordings; else it is fetched",
    )
    for split in SPLITS:
        result.add_argument(
            f"--{split}_utterances",
            type=int,
            default=0,
            help="the most of a voice; 0: all there are",
        )
    result.add_argument("--short_steps", type=int, default=480)
    result.add_argument(
        "--set", action="append", default=[], help="override of every job"
    )
    return result


def kept(path, settings, make):
    """The result of `make` with the settings, in a file, so as to make it once.

    Args:
        settings: JSON values on which it depends.
        make: a function without arguments, to a JSON value; None: what is
            kept alone is given, and None without it.
    """
    path = pathlib.Path(path)
    settings = json.loads(json.dumps(settings))
    if path.exists():
        row = json.loads(path.read_text())
        if row["settings"] == settings:
            return row["found"]
    if make is None:
        return None
    found = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    row = {"settings": settings, "found": found}
    new = path.with_suffix(".new")
    new.write_text(json.dumps(row, ensure_ascii=False))
    new.replace(path)
    return found


def digest(*paths):
    """SHA-256 of files."""
    content = b"".join(pathlib.Path(path).read_bytes() for path in paths)
    return hashlib.sha256(content).hexdigest()


def digest_of_run(folder):
    """SHA-256 of a run's Submodel files."""
    return digest(*sorted((folder / "submodels").iterdir()))


def digest_of(speaker, *paths):
    """SHA-256 of a speaker's utterances in manifests, wherever they lie."""
    rows = [
        [each.utt_id, each.text, each.duration, each.language]
        for path in paths
        for each in manifest.read_lines(path).utterances
        if each.speaker == speaker
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def command(folder, module, *arguments, files=()):
    """Runs a binary unless it has ended before; returns its seconds.

    Args:
        folder: that it makes; beside it `FOLDER.json` keeps the seconds, those
            of runs that were cut off included.
        files: on whose content it depends.
    """
    spent = pathlib.Path(f"{folder}.spent")
    settings = [module, *arguments, digest(*files)]

    def run():
        start = time.monotonic()
        before = float(spent.read_text()) if spent.exists() else 0.0
        try:
            jobs.command(module, *arguments)
        finally:
            spent.parent.mkdir(parents=True, exist_ok=True)
            spent.write_text(str(before + time.monotonic() - start))
        return float(spent.read_text())

    seconds = kept(f"{folder}.json", settings, run)
    with contextlib.suppress(FileNotFoundError):
        spent.unlink()
    return seconds


def fetch(arguments):
    """The folder with the voices' manifests."""
    if arguments.fetched:
        return pathlib.Path(arguments.fetched)
    folder = pathlib.Path(arguments.work_dir, "fetched")
    jobs.command(
        "tasks.fetch_recordings",
        f"--output_dir={folder}",
        f"--voices={arguments.voices}",
    )
    return folder


def voices(arguments):
    """The utterances of each split, each voice a speaker of its own.

    Two of them may be the same person's.
    Those that are taken do not depend on how many others are.
    """
    folder = fetch(arguments)
    wanted = set(arguments.voices.split(","))
    found = {}
    for split in SPLITS:
        by_voice = {}
        lines = manifest.read_lines(folder / f"{split}.jsonl")
        for each in lines.utterances:
            voice = pathlib.Path(each.audio_filepath).parent.name
            if voice in wanted or wanted == {"all"}:
                by_voice.setdefault(voice, []).append(
                    dataclasses.replace(each, speaker=voice)
                )
        missing = wanted - {"all"} - set(by_voice)
        if missing:
            raise SystemExit(
                f"{folder}/{split}.jsonl has no voice "
                f"{', '.join(sorted(missing))}. It has: "
                f"{', '.join(sorted(by_voice)) or 'none of them'}."
            )
        most = getattr(arguments, f"{split}_utterances") or None
        found[split] = [
            each
            for voice in sorted(by_voice)
            for each in shuffled(by_voice[voice])[:most]
        ]
    return found


def shuffled(utterances):
    """The utterances in an order that goes by nothing but their ids."""
    return sorted(
        utterances,
        key=lambda each: hashlib.sha256(each.utt_id.encode()).hexdigest(),
    )


def write(arguments, name, utterances, language="en"):
    """Writes a manifest that the base can take; returns its path.

    Args:
        language: of utterances that name none. A base of one language gets
            none at all: it is to hear every voice.
    """
    values = jobs.experiment("whisper.Stacked", []).base
    known = base_loading.known_languages(values, arguments.base)
    is_multilingual = known is None or len(known) > 1
    path = pathlib.Path(arguments.work_dir, "speech", f"{name}.jsonl")
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest.write(
        str(path),
        [
            dataclasses.replace(
                each,
                language=(each.language or language) if is_multilingual else "",
            )
            for each in utterances
        ],
    )
    return path


def short_base(arguments, train):
    """The short-context base, and the seconds that it took to make."""
    if arguments.short_base:
        return arguments.short_base, 0.0
    folder = pathlib.Path(arguments.work_dir, "short_base")
    seconds = command(
        folder,
        "tasks.shorten_context",
        f"--base={arguments.base}",
        f"--manifest={train}",
        f"--output_dir={folder}",
        f"--set=num_steps={arguments.short_steps}",
        files=[train],
    )
    return str(folder), seconds


def train(folder, base, manifests, settings, *flags):
    """Trains Submodels as a user would; returns the seconds.

    Args:
        manifests: paths by split.
        settings: overrides.
    """
    return command(
        folder,
        "tasks.train",
        f"--experiment={EXPERIMENT}",
        f"--base={base}",
        f"--model_dir={folder}",
        f"--train_manifest={manifests['train']}",
        f"--dev_manifest={manifests['dev']}",
        *(f"--set={each}" for each in settings),
        *flags,
        files=[manifests["train"], manifests["dev"]],
    )


def evaluate(folder, model_dir, base, test):
    """Evaluates a run; the `Heard` of base, cohort and submodel."""
    command(
        folder,
        "tasks.evaluate",
        f"--model_dir={model_dir}",
        f"--base={base}",
        f"--test_manifest={test}",
        f"--output_dir={folder}",
        # A run that was trained again is evaluated again.
        files=[test, f"{model_dir}.json"],
    )
    lines = pathlib.Path(folder, "hypotheses.jsonl").read_text().splitlines()
    found = []
    for row in map(json.loads, lines):
        hypotheses = {
            system: row[f"{system}_hypothesis"]
            for system in ("base", "cohort", "submodel")
            if row[f"{system}_hypothesis"] is not None
        }
        found.append(
            heard_lib.Heard(
                row["speaker"],
                row["utt_id"],
                row["language"],
                row["reference"],
                hypotheses,
            )
        )
    return found


def num_base_values(base):
    """The number of a base model's parameters."""
    return sum(int(np.prod(w.shape)) for w in base.named_weights().values())


def experiment(overrides):
    """The experiment of the jobs with overrides, as `--set` gives them."""
    return jobs.experiment(EXPERIMENT, overrides)
