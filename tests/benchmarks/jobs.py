"""Data, jobs and error rates that the benchmarks of training share."""

import argparse
import dataclasses
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from lingvo_like import hyperparams
from lingvo_like.stack import stack
from lingvo_like.submodel import file as submodel_file
from params import registry
from tasks.asr import base_loading, layouts
from tasks.asr.data import preparation
from tasks.asr.evaluation import recordings, scoring
from tasks.asr.recognition import transcription
from tasks.asr.training import (
    job_state,
    model_directory,
    run_description,
    sharding,
    submodel_files,
    trainer,
)
from tpu.distribute import replicas as replicas_lib

NORMALIZER = "english"
# The default folder of the benchmarks and their base model.
FOLDER = "runs/benchmarks"
SHORT_BASE = "a short-context base model, from tasks.shorten_context"


def parser(name, description, default_base=None, base_help=SHORT_BASE):
    """An argument parser with the arguments that every such benchmark has.

    Args:
        name: of the benchmark.
        description: for --help.
        default_base: of --base; None for the short-context base model of
            `short_base`.
        base_help: what --base is.
    """
    result = argparse.ArgumentParser(
        prog=f"python -m tests.benchmarks.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "--base",
        default=default_base,
        help=base_help
        + ("; made if not given" if default_base is None else " (%(default)s)"),
    )
    result.add_argument(
        "--work_dir",
        default=f"{FOLDER}/{name}",
        help="a folder for data and runs (%(default)s)",
    )
    return result


def parse(from_parser):
    """Parses the arguments, and makes the base model if none was given."""
    arguments = from_parser.parse_args()
    if arguments.base is None:
        arguments.base = str(short_base(pathlib.Path(FOLDER, "short_base")))
    return arguments


def command(*arguments):
    """Runs a binary as a user would, and returns its seconds.

    Raises:
        SystemExit: the binary failed; it has said why.
    """
    print(f"$ python -m {shlex.join(arguments)}", flush=True)
    start = time.monotonic()
    code = subprocess.run([sys.executable, "-m", *arguments]).returncode
    if code:
        raise SystemExit(f"{arguments[0]} ended with exit status {code}")
    return time.monotonic() - start


def short_base(folder):
    """The short-context base model in a folder; it is made if it is missing.

    The commands are those of a user, on 30 simulated voices and half of a real
    voice's training phrases; they take 13 minutes on 2 cores.
    """
    base = folder / "base"
    if base.is_dir():
        return base
    voices = simulate(
        folder / "voices",
        num_speakers=30,
        severities="typical",
        utterances_per_speaker=15,
        voices="0:30",
        split="false",
    )
    fetched = fetch_recordings(folder)
    lines = (fetched / "train.jsonl").read_text().splitlines()
    half = fetched / "half.jsonl"
    half.write_text("".join(line + "\n" for line in lines[:190]))
    command(
        "tasks.shorten_context",
        "--base=tiny.en",
        f"--output_dir={base}",
        f"--manifest={voices / 'manifest.jsonl'},{half}",
        "--set=num_steps=480",
    )
    return base


def unheard_voices(folder):
    """Simulates typical voices that `short_base` has not heard."""
    return simulate(
        folder / "typical",
        num_speakers=28,
        severities="typical",
        utterances_per_speaker=30,
        voices="30:44",
        seed=5,
        split="false",
    )


def fetch_recordings(folder):
    """Fetches a real voice; returns the folder of its manifests."""
    command("tasks.fetch_recordings", f"--output_dir={folder / 'asterisk'}")
    return folder / "asterisk"


def simulate(folder, **flags):
    """Runs tasks.simulate unless the folder exists; returns the folder."""
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "tasks.simulate",
            f"--output_dir={folder}",
            *arguments,
        ],
        check=True,
    )
    return pathlib.Path(folder)


def in_process(module, *flags):
    """Runs a benchmark with more flags; returns the JSON of its last line."""
    found = subprocess.run(
        [sys.executable, "-m", module, *sys.argv[1:], *flags],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(found.stdout.splitlines()[-1])


def experiment(name, overrides):
    """A registered experiment with overrides such as `train.num_steps=9`."""
    return layouts.changed(
        registry.get(name), hyperparams.assignments(overrides)
    )


def load_base(path, values):
    """The frozen base model at `path`."""
    return base_loading.load(values.base, path)


class Job:
    """One training job in a folder, through the same classes as the binary.

    Args:
        base: frozen `BaseModel`.
        values: `schema.Experiment`.
        corpus: `preparation.Corpus`.
        folder: path of the run.
        reuse: a `SubmodelTask` of the same speakers, its slots untouched, so
            that nothing compiles again; or None.
        selected: slots to train; None for all.
        replicas: `Replicas` that share the job; None for one.
    """

    def __init__(
        self,
        base,
        values,
        corpus,
        folder,
        reuse=None,
        selected=None,
        replicas=None,
    ):
        self.base = base
        self.corpus = corpus
        self.directory = model_directory.ModelDirectory(str(folder))
        self.directory.prepare()
        self._describe(base, values, corpus)
        replicas = replicas or replicas_lib.Replicas()
        if reuse:
            state = job_state.JobState(
                reuse, sharding.shard(replicas, base, values, corpus.train)
            )
        else:
            state = job_state.create(base, values, corpus.train, replicas)
        self.task = state.task
        self.trainer = trainer.Trainer(
            state,
            corpus.train,
            corpus.dev,
            self.directory,
            submodel_files.Origin("benchmark", base.fingerprint()),
            selected,
        )
        # A benchmark that was interrupted continues.
        state.restore(self.directory.checkpoints)

    def _describe(self, base, values, corpus):
        """Rejects a folder in which a job with other values ran."""
        now = run_description.describe(
            "benchmark", values, "", base.fingerprint(), corpus.digests
        )
        saved = self.directory.read_experiment()
        if saved is not None:
            run_description.check_agreement(
                self.directory.path, saved, now, values
            )
        self.directory.write_experiment(now)

    def time_steps(self):
        """A list to which each further training step adds (bucket, seconds)."""
        step, found = self.trainer.train_step, []

        def timed(batches):
            start = time.perf_counter()
            result = step(batches)
            bucket = batches[0]["audio"].shape[-1]
            found.append((bucket, time.perf_counter() - start))
            return result

        self.trainer.train_step = timed
        return found

    def tensors(self, speaker):
        """The tensors in a speaker's Submodel file."""
        return submodel_file.load(self.directory.submodel(speaker)).tensors


def prepare(base, values, folder, train="train.jsonl", dev=""):
    """The corpus of a simulated folder."""
    folder = pathlib.Path(folder)
    return preparation.prepare(
        base,
        values,
        str(folder / train),
        str(folder / dev) if dev else "",
        strict=True,
    )


def test_data(base, path, speakers):
    """The test utterances of the speakers, by slot."""
    data, _ = recordings.read(base, str(path), list(speakers))
    return data


def first_utterances(data, count):
    """At most `count` utterances of each speaker."""
    return {
        slot: dataclasses.replace(each, utterances=each.utterances[:count])
        for slot, each in data.items()
    }


def word_errors(base, data, adapters=None, title="", transcriber=None):
    """(errors, words) of each speaker.

    Args:
        base: `BaseModel`.
        data: dict of slot to `SpeakerUtterances`.
        adapters: `Stack` whose slots are those of `data`, or None.
        title: of the progress bar.
        transcriber: a `Transcriber` to use again, instead of `adapters`.
    """
    transcriber = transcriber or transcription.Transcriber(base, adapters)
    found = transcriber.transcribe(data, title=title)
    records = [
        scoring.Transcribed(
            speaker=utterance.speaker,
            utt_id=utterance.utt_id,
            severity=utterance.severity or None,
            novelty="unseen_phrase",
            reference=utterance.text,
            base_hypothesis=found[slot, index].text,
            submodel_hypothesis=found[slot, index].text,
            duration=utterance.duration,
            simulated=utterance.simulated,
        )
        for slot, speaker in data.items()
        for index, utterance in enumerate(speaker.utterances)
    ]
    scored, _ = scoring.score(records, NORMALIZER)
    totals = {}
    for item in scored:
        errors, words = totals.get(item.record.speaker, (0, 0))
        totals[item.record.speaker] = (
            errors + item.base_errors,
            words + item.words,
        )
    return totals


def rate(totals):
    """The word error rate, in percent, of all the speakers' words."""
    errors = sum(e for e, _ in totals.values())
    return 100.0 * errors / sum(w for _, w in totals.values())


def submodels(run):
    """The Submodel files of a run's folder, by speaker."""
    found = [
        submodel_file.load(str(path))
        for path in sorted(pathlib.Path(run, "submodels").glob("*.safetensors"))
    ]
    return {each.metadata.speaker: each for each in found}


def stack_of(base, files, speakers, layout):
    """A `Stack` with the speakers' tensors: dict of speaker to tensors."""
    result = stack.Stack(speakers, layout, layout.constants(base.kernel))
    for speaker in speakers:
        result.write(result.slot(speaker), files[speaker])
    return result


def stack_of_run(base, run, data, layout):
    """A `Stack` of a run's Submodels, in the order of the test data's slots."""
    return stack_of(
        base,
        {name: each.tensors for name, each in submodels(run).items()},
        [each.speaker for each in data.values()],
        layout,
    )


def with_train(values, **train):
    """The experiment with other values of `train`."""
    return dataclasses.replace(
        values, train=dataclasses.replace(values.train, **train)
    )
