"""One job in its folder: from a corpus to Submodel files."""

import dataclasses
import sys
from collections import abc

import numpy as np
from absl import logging

from lingvo_like.base_models import base_model
from params import schema
from tasks import tables
from tasks.asr.training import (
    continuation,
    job_state,
    model_directory,
    space_initialization,
    space_training,
    speaker_state,
    starting_submodels,
    submodel_files,
    trainer,
)
from tpu.distribute import replicas as replicas_lib


@dataclasses.dataclass(frozen=True)
class Job:
    """A job that begins or goes on in a folder.

    Attributes:
        starts: the Submodels that its speakers start from.
        selected: slots to train; None for all.
        space_from: the run that a space starts from.
        noun: for one of those who train.
    """

    directory: model_directory.ModelDirectory
    base: base_model.BaseModel
    experiment: schema.Experiment
    continued: continuation.Continuation
    origin: submodel_files.Origin
    replicas: replicas_lib.Replicas
    starts: starting_submodels.StartingSubmodels
    selected: abc.Sequence[int] | None = None
    space_from: str = ""
    noun: str = "speaker"

    def run(self) -> trainer.Trainer:
        """Trains the job to its end.

        Raises:
            ValueError, OSError: it cannot be made, or nothing can be written.
            preemption.Stopped: SIGTERM or Ctrl-C came; the checkpoint holds
                everything.
        """
        corpus, continued = self.continued.corpus, self.continued
        is_chief = self.replicas.processes.is_chief
        # Nothing of the run is written until the whole job has been made.
        state = job_state.create(
            self.base,
            self.experiment,
            corpus.train,
            self.replicas,
            corpus.speakers,
        )
        if is_chief:
            self._check_disk_space(state)
        self.starts.copy(self.replicas.processes)
        if continued.begins:
            if is_chief:
                self.directory.begin_anew()
            # No process looks for a checkpoint before that.
            self.replicas.processes.gather()
        self._start(state)
        if is_chief:
            self._describe_run()
            print(self._summary(state))
        made = trainer.Trainer(
            state,
            corpus.train,
            corpus.dev,
            self.directory,
            self.origin,
            self.selected,
        )
        self._set_aside(made)
        made.run()
        if is_chief:
            self._finish(state, made)
        # No process ends before the chief has written everything.
        self.replicas.processes.gather()
        return made

    def _check_disk_space(self, state):
        num_bytes = (
            state.task.stack.layout.num_values
            * np.dtype(self.experiment.train.submodel_dtype).itemsize
        )
        self.directory.check_disk_space(
            state.variables.values(),
            len(state.speakers) + self.starts.num_missing,
            num_bytes,
        )

    def _start(self, state):
        """Continues from the newest checkpoint, or begins."""
        state.starts = self.starts if self.starts.any else None
        directory = self.directory
        if state.restore(directory.checkpoints):
            logging.info("continuing from the checkpoint in %s", directory.path)
            return
        is_chief = self.replicas.processes.is_chief
        is_lost = directory.has_submodels() and not self.continued.begins
        if is_chief and is_lost:
            print(
                f"warning: {directory.checkpoints} has no checkpoint any more, "
                "so all of the run is trained again",
                file=sys.stderr,
            )
        state.put_starts(state.residents)
        if self.experiment.space.embedding_dim:
            start = space_initialization.initialize(
                state.task,
                self.continued.corpus.train,
                self.origin.base_fingerprint,
                self.space_from,
            )
            if is_chief:
                print(start)

    def _describe_run(self):
        continued, directory = self.continued, self.directory
        if continued.withdrawn:
            print(
                "not in the manifests any more, so left as they are: "
                f"{', '.join(continued.withdrawn)} (`tasks.store erase --run` "
                "takes people out of a run)",
                file=sys.stderr,
            )
        left_out = continued.corpus.left_out
        directory.write_left_out(left_out.describe(examples=None))
        directory.write_texts(continuation.texts(directory, continued))
        directory.write_experiment(
            continued.description | self.starts.to_json()
        )

    def _summary(self, state):
        """One line on what trains and where, and one on where it starts."""
        num_speakers, residents = len(state.speakers), len(state.residents)
        some = f"{len(self.selected)} of " if self.selected else ""
        parts = [
            f"{some}{tables.counted(num_speakers, self.noun)} x "
            f"{self.experiment.train.num_steps} updates",
            f"{state.task.stack.layout.num_values:,} values each",
        ]
        if not self.replicas.is_plain:
            parts[0] += f" on {self.replicas.num_replicas} replicas"
        if residents < num_speakers:
            parts.append(f"{residents:,} at a time")
        lines = [", ".join(parts)]
        if self.starts.any:
            lines.append(self.starts.describe(self.continued.corpus.speakers))
        return "\n".join(lines)

    def _set_aside(self, made):
        done = []
        for slot, reason in self.continued.set_aside.items():
            if not made.state.speakers[slot].finished:
                made.set_aside.add(slot, reason)
            elif reason == continuation.CHANGED:
                done.append(self.continued.corpus.speakers[slot])
        if done and self.replicas.processes.is_chief:
            print(
                f"warning: done before, and left as they are: "
                f"{', '.join(done)}. Since then, {continuation.CHANGED}",
                file=sys.stderr,
            )

    def _finish(self, state, made):
        """Says what came out, and writes the space if there is one."""
        corpus = self.continued.corpus
        for warning in speaker_state.warnings(
            {
                corpus.speakers[slot]: state.speakers[slot]
                for slot in made.selected
                if slot not in made.set_aside.reasons
            }
        ):
            print(f"warning: {warning}", file=sys.stderr)
        print(f"Submodels: {self.directory.submodels}")
        if self.experiment.space.embedding_dim:
            space_training.write(
                self.directory, state.task, corpus.train, self.origin
            )
            print(f"space: {self.directory.space}")
