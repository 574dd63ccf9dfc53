"""One job of an enrolment: its runs, taken through every mode that is tried."""

import dataclasses
from collections import abc
from typing import TypeAlias

import numpy as np
import tqdm

from lingvo_like.base_models import base_model
from lingvo_like.space import file as space_file
from lingvo_like.stack import rows as slot_rows
from tasks.asr.data import preparation, text
from tasks.asr.enrolment import (
    activations as activations_lib,
    baselines,
    experiments,
    judging,
    learning,
    plan,
    results,
    starting_points,
)
from tasks.asr.training import task
from tpu.distribute import replicas as replicas_lib

Utterances: TypeAlias = preparation.TokenizedUtterances
# A snapshot of all runs, and its held-out losses.
_Point: TypeAlias = tuple[learning.Snapshot, starting_points.Losses]


class Job:
    """Enrols some speakers side by side.

    Args:
        dev: dict of speaker to utterances to be judged by; speakers may be
            missing.
        mode: one of `plan.MODES`, or "auto".
        cohorts: dict of speaker to what everybody would get; None for those
            who are not to be judged beside one, the space's mean for speakers
            who are missing.

    Attributes:
        data: dict of speaker to the utterances to learn from, then dev.
        evidence: dict of speaker to one of `plan.EVIDENCE`.
    """

    def __init__(
        self,
        space: space_file.Space,
        base: base_model.BaseModel,
        train: abc.Mapping[str, Utterances],
        dev: abc.Mapping[str, Utterances],
        mode: str,
        values: plan.Values,
        replicas: replicas_lib.Replicas,
        cohorts: abc.Mapping[str, baselines.Baseline | None] | None = None,
    ):
        self.train = train
        self.mode = mode
        self.cohorts = {
            s: (cohorts or {}).get(s, baselines.MEAN) for s in train
        }
        self.data = {s: _joined(train[s], dev.get(s)) for s in train}
        self._replicas = replicas
        self._space, self._base, self._values = space, base, values
        self._experiment = experiments.of_space(space)
        self._normalizer = self._experiment.text.normalizer
        self.evidence, self._modes, self._runs = {}, {}, []
        bucket_seconds = {}
        for speaker, data in train.items():
            texts = [
                text.normalize(
                    each.text, text.choose(self._normalizer, each.language)
                )
                for each in data.utterances
            ]
            num_dev = len(self.data[speaker].utterances) - len(texts)
            self.evidence[speaker] = plan.evidence(texts, num_dev)
            self._runs += plan.runs(speaker, texts, num_dev, values.max_folds)
            self._modes[speaker] = plan.modes_to_try(
                mode, bool(space.encoder), len(texts), values
            )
            longest = max(u.duration for u in self.data[speaker].utterances)
            bucket_seconds[speaker] = plan.bucket_seconds(
                self._modes[speaker], longest, values
            )
        with replicas.scope():
            self._task = task.SubmodelTask(
                base,
                experiments.embedding(self._experiment, space, values),
                learning.slot_names(self._runs),
                space=space,
            )
        self._speech = activations_lib.Speech(
            base, self._task.first_block, self.data, bucket_seconds
        )
        self._learner = self._make_learner(
            self._task, self._runs, values.embedding_utterances
        )
        self._starts = starting_points.Starts(
            space, self._learner, values.embedding_neighbors
        )

    def tensors(self, candidate: results.Candidate) -> dict[str, np.ndarray]:
        """The Submodel's tensors of a candidate that is not the base."""
        if candidate.tensors is not None:
            return candidate.tensors
        return self._space.materialise(np.array(candidate.embedding, "f4"))

    def run(self) -> dict[str, dict[str, results.Candidate]]:
        """Takes the speakers through their modes.

        Returns:
            dict of speaker to a dict of mode, and "base" and "cohort", to the
            candidate.
        """
        tried = set().union(*self._modes.values())
        learns = bool(tried & {"embedding", "full"})
        mean = self._learner.snapshot(0)
        nothing = learning.Snapshot(
            0, {name: np.zeros_like(row) for name, row in mean.rows.items()}
        )
        begun = [mean] if learns else []
        if self._space.encoder:
            begun.append(self._starts.predicted())
        num_losses = 2 + len(begun)
        if learns:
            num_losses += self._values.embedding_neighbors
            num_losses += len(self._steps("embedding"))
        judge = self._make_judge(self._runs, num_losses)
        starts = [nothing, self._of_cohorts(mean), *begun]
        losses = judge.losses([start.rows for start in starts], self.train)
        base, cohort, *points = zip(starts, losses, strict=True)
        histories: dict[str, list[_Point]] = {
            results.BASE: [base],
            results.COHORT: [cohort],
        }
        if "zero_shot" in tried:
            histories["zero_shot"] = [points[-1]]
        if learns:
            histories["embedding"] = self._learn_embeddings(points, judge)
        found = {speaker: {} for speaker in self.train}
        self._add(found, judge, self._runs, histories)
        if "full" in tried:
            self._learn_full(found, _best(histories["embedding"], self._runs))
        result = {}
        for speaker, modes in self._modes.items():
            beside = [results.BASE]
            if self.cohorts[speaker] is not None:
                beside.append(results.COHORT)
            result[speaker] = {
                mode: found[speaker][mode] for mode in (*beside, *modes)
            }
        return result

    def _of_cohorts(self, mean):
        """The cohorts' tensors in every run; the mean's, where none has any."""
        rows = {name: each.copy() for name, each in mean.rows.items()}
        for slot, run in enumerate(self._runs):
            cohort = self.cohorts[run.speaker]
            for name, tensor in ((cohort and cohort.tensors) or {}).items():
                rows[name][slot] = tensor
        return learning.Snapshot(0, rows)

    def _learn_embeddings(self, points, judge):
        """The points of the embeddings: starts, neighbors, and steps."""
        before = self._starts.begin_at(_best(points, self._runs))
        seeking = self._not_good(before)
        points = points + self._starts.neighbors(judge, before, seeking)
        before = self._starts.begin_at(_best(points, self._runs))
        return points + self._learn(self._learner, judge, "embedding", before)

    def _learn_full(self, found, best):
        """Adds what whole Submodels learn from the embeddings' best points."""
        slots = [
            slot
            for slot, run in enumerate(self._runs)
            if "full" in self._modes[run.speaker]
        ]
        runs = [self._runs[slot] for slot in slots]
        with self._replicas.scope():
            full = task.SubmodelTask(
                self._base,
                experiments.full(self._experiment, self._values),
                learning.slot_names(runs),
            )
        rows, of_runs = _rows(best, self._runs), slot_rows.SlotRows(len(runs))
        for name, variable in full.stack.variables_by_name.items():
            of_runs.write(variable, of_runs.slots, rows[name][slots])
        learner = self._make_learner(full, runs, self._values.full_utterances)
        judge = self._make_judge(runs, 1 + len(self._steps("full")))
        start = learner.snapshot(0)
        (losses,) = judge.losses([start.rows], {run.speaker for run in runs})
        points = self._learn(learner, judge, "full", losses)
        history = [(start, losses), *points]
        self._add(found, judge, runs, {"full": history})

    def _learn(self, learner, judge, mode, before) -> list[_Point]:
        """Learns on from where the losses are `before`; the points passed."""
        points, looks, steps = [], [before], self._steps(mode)
        patience = getattr(self._values, f"{mode}_patience")
        going = self._not_good(before)
        learner.stop(set(before) - going)
        with tqdm.tqdm(
            total=steps[-1] * learner.num_going,
            desc=f"enrolling ({mode})",
            unit="update",
        ) as progress:
            for snapshot in learner.run(steps, progress.update):
                (losses,) = judge.losses([snapshot.rows], going)
                # Speakers who have stopped keep their last losses.
                looks.append({**looks[-1], **losses})
                points.append((snapshot, looks[-1]))
                if len(looks) > patience:
                    earlier = looks[-1 - patience]
                    going = going - self._without_gain(earlier, looks[-1])
                going = going & self._not_good(looks[-1])
                learner.stop(set(before) - going)
                left = (steps[-1] - snapshot.step) * learner.num_going
                progress.total = progress.n + left
        return points

    def _without_gain(self, before, losses):
        """The speakers whose held-out loss has not fallen enough."""
        least, mean = 1.0 - self._values.min_gain, results.mean_loss
        return {
            speaker
            for speaker, now in losses.items()
            if mean(now) > least * mean(before[speaker])
        }

    def _not_good(self, losses):
        """The speakers whose held-out loss leaves something to gain."""
        return {
            speaker
            for speaker, each in losses.items()
            if results.mean_loss(each) >= self._values.good_loss
        }

    def _add(self, found, judge, runs, histories):
        """Adds each mode's best point to every speaker of the runs."""
        best = {mode: _best(each, runs) for mode, each in histories.items()}
        # All modes at once: a decoder's many small steps hardly cost more for
        # more rows.
        candidates = [_rows(each, runs) for each in best.values()]
        texts = judge.texts(candidates, {run.speaker for run in runs})
        for of_mode, (mode, chosen) in zip(texts, best.items(), strict=True):
            for slot, run in enumerate(runs):
                if not run.is_final:
                    continue
                snapshot, losses = chosen[run.speaker]
                errors, words = judge.errors(
                    of_mode[run.speaker], self.data[run.speaker]
                )
                embedding, tensors = (), None
                if snapshot.embeddings is not None:
                    embedding = tuple(map(float, snapshot.embeddings[slot]))
                elif mode in ("full", results.COHORT):
                    tensors = {
                        name: rows[slot].copy()
                        for name, rows in snapshot.rows.items()
                    }
                if mode == "full":
                    embedding = found[run.speaker]["embedding"].embedding
                found[run.speaker][mode] = results.Candidate(
                    mode,
                    snapshot.step,
                    results.Judgement(dict(losses[run.speaker]), errors, words),
                    embedding,
                    tensors,
                )

    def _make_learner(self, of_task, runs, utterances):
        return learning.Learning(
            of_task,
            runs,
            self._speech,
            utterances,
            self._values,
            self._replicas,
        )

    def _make_judge(self, runs, num_losses):
        return judging.Judge(
            self._task.stack.site_functions,
            self._speech,
            runs,
            self._normalizer,
            num_losses,
            self._replicas,
        )

    def _steps(self, mode):
        return plan.evaluation_steps(
            getattr(self._values, f"{mode}_steps"),
            getattr(self._values, f"{mode}_evaluations"),
        )


def _best(history, runs):
    """Each speaker's point of the lowest held-out loss, over all its runs."""

    def best(speaker: str) -> _Point:
        return min(
            history, key=lambda each: results.mean_loss(each[1][speaker])
        )

    return {run.speaker: best(run.speaker) for run in runs}


def _rows(best, runs):
    """Every run's tensors in its speaker's best snapshot, `[runs, ...]`."""
    chosen = [best[run.speaker][0] for run in runs]
    return {
        name: np.stack([c.rows[name][slot] for slot, c in enumerate(chosen)])
        for name in chosen[0].rows
    }


def _joined(train, dev):
    if dev is None:
        return train
    return dataclasses.replace(
        train, utterances=train.utterances + dev.utterances
    )
