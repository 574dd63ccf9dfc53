"""Kills a job repeatedly, and compares its files with those of an unkilled one.

    python -m tests.benchmarks.resume --kills=20

The program trains several speakers on a tiny base with `python -m
tasks.train`: once from start to end, and once with SIGKILLs at random moments,
while it starts, trains, writes a checkpoint or evaluates. After every kill,
everything under `submodels/` must load. The Submodel files of both runs must
be equal byte for byte. The last line is one JSON object.
"""

import collections
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

from absl import app, flags

from lingvo_like import files
from lingvo_like.submodel import file as submodel_file
from tests import tiny

_KILLS = flags.DEFINE_integer(
    "kills", 20, "How often to kill the job.", lower_bound=1
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the moments of the kills.")
_NUM_STEPS = flags.DEFINE_integer("num_steps", 400, "Updates of a speaker.")

ROOT = pathlib.Path(__file__).parents[2]
SPEAKERS = ("ann", "bob", "cy", "dee", "eve")
# The job prints this when it is ready to train.
READY = "values each"
# Functions on the stack of a process; the innermost one names its phase.
PHASES = {
    ("checkpoint.py", "save"): "checkpoint",
    ("checkpoint.py", "restore"): "restore",
    ("trainer.py", "_evaluate_due"): "evaluation",
    ("trainer.py", "_train_leg"): "training",
    ("trainer.py", "run"): "training",
}
# Python runs this when it starts; on a signal it writes the stack.
STACK_WRITER = """
import faulthandler, os, signal
faulthandler.register(
    signal.SIGUSR1, file=open(os.environ["STACK_FILE"], "w"), all_threads=True
)
"""


class Job:
    """The command of a run, which can be started repeatedly.

    Args:
        folder: pathlib.Path with the base and the recordings.
        name: str, of the model directory.
        num_steps: int.
    """

    def __init__(self, folder, name, num_steps):
        self.model_dir = folder / name
        self._num_steps = num_steps
        self._stack_file = folder / f"{name}.stack"
        self._log = folder / f"{name}.log"
        self._command = [
            sys.executable,
            "-m",
            "tasks.train",
            "--experiment=conformer.Tiny",
            f"--base={folder / 'base'}",
            f"--train_manifest={folder / 'train.jsonl'}",
            f"--dev_manifest={folder / 'dev.jsonl'}",
            f"--model_dir={self.model_dir}",
            f"--set=train.num_steps={num_steps}",
            "--set=base.buckets_seconds=1.0,2.0",
            "--set=train.eval_every_steps=10",
            "--set=train.checkpoint_every_seconds=1",
            "--set=submodel.dropout_rate=0.2",
            "--set=augment.speed_factors=0.9,1.0,1.1",
            "--set=augment.num_freq_masks=1",
            "--set=augment.freq_mask_max_bins=5",
            "--set=augment.num_time_masks=1",
            "--set=augment.time_mask_max_frames=5",
        ]
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(folder / "start"),
            "PYTHONUNBUFFERED": "1",
            "STACK_FILE": str(self._stack_file),
        }

    def start(self):
        """Starts the command; its output goes to a file."""
        self._stack_file.unlink(missing_ok=True)
        with open(self._log, "wb") as log:
            return subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def is_ready(self):
        return READY in self._log.read_text(errors="replace")

    def wait(self, process, until, seconds=3600.0):
        """Waits for `until()` or the end of the process; returns the seconds.

        Raises:
            TimeoutError: neither came in time.
        """
        begun = time.monotonic()
        while not until() and process.poll() is None:
            if time.monotonic() - begun > seconds:
                raise TimeoutError(f"nothing happened for {seconds:g} s")
            time.sleep(0.005)
        return time.monotonic() - begun

    def kill(self, process):
        """Kills the process; returns its phase, or None if it had ended."""
        # Before Python has made the file, this signal would end the process.
        if self._stack_file.exists():
            process.send_signal(signal.SIGUSR1)
            self.wait(process, lambda: "(most recent" in self._stack(), 10.0)
        process.kill()
        if process.wait() != -signal.SIGKILL:
            return None
        return phase(self._stack())

    def _stack(self):
        if not self._stack_file.exists():
            return ""
        return self._stack_file.read_text(errors="replace")

    def finish(self, process):
        """Waits for the end; raises a RuntimeError if the command failed."""
        if process.wait():
            raise RuntimeError(
                f"{' '.join(self._command)} failed:\n"
                + self._log.read_text(errors="replace")[-2000:]
            )

    def checkpoints(self):
        """The folders of checkpoints, and those that are complete."""
        folder = self.model_dir / "checkpoints"
        steps = sorted(path for path in folder.glob("*") if path.name.isdigit())
        return steps, [path for path in steps if (path / "state.json").exists()]

    def newest(self):
        """The newest complete checkpoint, or None."""
        return max(self.checkpoints()[1], default=None)

    def progress(self):
        """The part of the run that the newest checkpoint holds, 0 to 1."""
        if self.newest() is None:
            return 0.0
        text = (self.newest() / "state.json").read_text().partition("\n")[2]
        steps = [s["steps"] for s in json.loads(text)["state"]["speakers"]]
        return sum(steps) / (len(steps) * self._num_steps)

    def submodels(self):
        """The bytes of the files by name, without hidden files."""
        return {
            path.name: path.read_bytes()
            for path in sorted((self.model_dir / "submodels").glob("*"))
            if not path.name.startswith(files.TEMPORARY_PREFIX)
        }


def phase(stack):
    """The phase of a process, from the stack that faulthandler wrote."""
    for line in stack.splitlines():
        for (file_name, function), name in PHASES.items():
            if f'{file_name}"' in line and line.endswith(f" in {function}"):
                return name
    return "start-up"


def unreadable(contents):
    """Names of the Submodel files that do not load."""
    names = []
    for name, data in contents.items():
        try:
            submodel_file.load(data)
        except submodel_file.SubmodelError:
            names.append(name)
    return names


def prepare(folder):
    """Writes the recordings and the base of both runs."""
    tiny.recordings(folder, SPEAKERS, 6)
    tiny.recordings(folder, SPEAKERS, 4, seed=1, name="dev")
    tiny.base(buckets_seconds=(1.0, 2.0)).save(str(folder / "base"))
    (folder / "start").mkdir()
    (folder / "start" / "sitecustomize.py").write_text(STACK_WRITER)


def uninterrupted(job):
    """Runs the job; returns seconds until ready, a checkpoint, and the end."""
    process = job.start()
    start_up = job.wait(process, job.is_ready)
    first = job.wait(process, lambda: job.checkpoints()[1])
    rest = job.wait(process, lambda: False)
    job.finish(process)
    return start_up, first, first + rest


def moment(job, process, draw, times, share):
    """Waits until the moment of the next kill.

    Args:
        job: `Job`.
        process: what was just started.
        draw: `random.Random`.
        times: tuple from `uninterrupted`.
        share: float, how much of the whole run this kill may win.
    """
    start_up, first, training = times
    gain = draw.uniform(0.0, 2.0 * max(0.0, share) * (training - first))
    kind = draw.choices(
        ("start-up", "any", "training", "checkpoint"), (2, 2, 3, 3)
    )[0]
    if kind == "start-up":
        pause(job, process, draw.uniform(0.3, start_up), job.is_ready)
        return
    job.wait(process, job.is_ready)
    before = job.newest()
    if kind == "any":
        pause(
            job,
            process,
            draw.uniform(0.0, first),
            lambda: job.newest() != before,
        )
        return
    job.wait(process, lambda: job.newest() != before)
    pause(job, process, gain)
    if kind == "checkpoint":

        def writing():
            begun, complete = job.checkpoints()
            return len(begun) > len(complete)

        job.wait(process, writing)
        pause(job, process, draw.uniform(0.0, 0.05))


def pause(job, process, seconds, until=lambda: False):
    """Waits for a time, for `until()`, or for the end of the process."""
    deadline = time.monotonic() + seconds
    job.wait(process, lambda: time.monotonic() > deadline or until())


def kill_often(job, kills, seed, times):
    """Starts and kills the job, then lets it end.

    Returns:
        phases of the kills, and how many files of Submodels did not load.
    """
    draw = random.Random(seed)
    phases, broken = [], 0
    print(f"{'kill':>4}  {'phase':<10}  {'done':>5}  Submodels")
    while len(phases) < kills:
        process = job.start()
        # The progress between kills must not add up to the whole run, or the
        # last kills would find no process.
        share = 0.8 * (len(phases) + 1) / kills - job.progress()
        moment(job, process, draw, times, share)
        found = job.kill(process)
        if found is None:
            job.finish(process)
            print("the run ended before the next kill")
            return phases, broken
        phases.append(found)
        contents = job.submodels()
        bad = unreadable(contents)
        broken += len(bad)
        print(
            f"{len(phases):>4}  {phases[-1]:<10}  {job.progress():>5.1%}  "
            f"{len(contents)}"
            + (f"  unreadable: {', '.join(bad)}" if bad else ""),
            flush=True,
        )
    job.finish(job.start())
    return phases, broken


def main(_):
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        prepare(folder)
        whole = Job(folder, "whole", _NUM_STEPS.value)
        times = uninterrupted(whole)
        print(
            f"uninterrupted: {times[0]:.1f} s to start, {times[2]:.1f} s to "
            f"train, the first checkpoint after {times[1]:.1f} s",
            flush=True,
        )
        killed = Job(folder, "killed", _NUM_STEPS.value)
        phases, broken = kill_often(killed, _KILLS.value, _SEED.value, times)
        expected, found = whole.submodels(), killed.submodels()
        identical = len(expected) == len(SPEAKERS) and expected == found
        different = [k for k in expected if found.get(k) != expected[k]]
    for name in different:
        print(f"different: {name}")
    print(
        json.dumps(
            {
                "kills": len(phases),
                "identical": identical,
                "files": len(expected),
                "unreadable_files": broken,
                "kills_by_phase": dict(collections.Counter(phases)),
                "seconds": round(time.monotonic() - begun),
            }
        )
    )
    if not identical or broken or len(phases) < _KILLS.value:
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
