"""One job of an enrolment: its runs, taken through every mode that is tried."""

import dataclasses
import typing

import numpy as np
import tqdm

from tasks.asr.data import text
from tasks.asr.enrolment import experiments as enrolment_experiments
from tasks.asr.enrolment import judging as enrolment_judging
from tasks.asr.enrolment import learning as enrolment_learning
from tasks.asr.enrolment import plan as enrolment_plan
from tasks.asr.enrolment import speech as enrolment_speech
from tasks.asr.enrolment import starts as enrolment_starts
from tasks.asr.training import task


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """What one mode gives one speaker.

    Attributes:
        mode: one of `enrolment_plan.MODES`, or "base".
        step: int, the mode's step with the lowest held-out loss.
        judgement: `Judgement`.
        embedding: tuple of floats, the final run's; () for the base.
        rows: dict of name to the final run's tensors, where they are not the
            embedding's.
    """

    mode: str
    step: int
    judgement: typing.Any
    embedding: tuple = ()
    rows: dict | None = None


class Job:
    """Enrols some speakers side by side.

    Args:
        space: `space.Space`.
        base: frozen `BaseModel`.
        train, dev: dicts of speaker to `SpeakerUtterances`.
        mode: one of `enrolment_plan.MODES`, or "auto".
        values: `enrolment_plan.Values`.
        replicas: `Replicas` that the base was made on.
    """

    def __init__(self, space, base, train, dev, mode, values, replicas):
        self._replicas = replicas
        self._space, self._base, self._values = space, base, values
        self._train = train
        self._data = {s: _joined(train[s], dev.get(s)) for s in train}
        self._modes = {
            speaker: enrolment_plan.modes_to_try(
                mode, bool(space.encoder), len(data.utterances), values
            )
            for speaker, data in train.items()
        }
        self._experiment = enrolment_experiments.of_space(space)
        self._normalizer = self._experiment.text.normalizer
        self._runs = self._runs_of(train)
        with replicas.scope():
            embedding_task = task.SubmodelTask(
                base,
                enrolment_experiments.embedding(
                    self._experiment, space, values
                ),
                [run.key for run in self._runs],
                space=space,
            )
        self._first_block = embedding_task.first_block
        self._speech = enrolment_speech.Speech(
            base,
            self._first_block,
            self._data,
            {
                speaker: enrolment_plan.bucket_seconds(
                    modes,
                    max(u.duration for u in self._data[speaker].utterances),
                    values,
                )
                for speaker, modes in self._modes.items()
            },
        )
        self._learning = self._make_learning(
            embedding_task, self._runs, values.embedding_utterances
        )
        self._task = embedding_task
        self._starts = enrolment_starts.Starts(
            space,
            embedding_task.stack,
            self._learning,
            self._runs,
            self._speech,
            values.embedding_neighbors,
        )

    def data(self, speaker):
        """The speaker's utterances: those to learn from, then dev."""
        return self._data[speaker]

    def train(self, speaker):
        """The speaker's utterances to learn from."""
        return self._train[speaker]

    def evidence(self, speaker):
        """What the speaker's error rates are measured on."""
        texts = self._texts(speaker)
        return enrolment_plan.evidence(
            texts, len(self._data[speaker].utterances) - len(texts)
        )

    def _texts(self, speaker):
        """What is said in each utterance that the speaker learns from."""
        return [
            text.normalize(each.text, self._normalizer)
            for each in self._train[speaker].utterances
        ]

    def tensors(self, candidate):
        """The Submodel's tensors of a candidate that is not the base."""
        if candidate.rows is not None:
            return candidate.rows
        return self._space.materialise(np.array(candidate.embedding, "f4"))

    def run(self):
        """Takes the speakers through their modes.

        Returns:
            dict of speaker to a dict of mode, and "base", to `Candidate`.
        """
        tried = set().union(*self._modes.values())
        learns = bool(tried & {"embedding", "full"})
        steps = self._steps("embedding") if learns else []
        mean = self._learning.snapshot(0)
        nothing = enrolment_learning.Snapshot(
            0, {name: np.zeros_like(row) for name, row in mean.rows.items()}
        )
        starts = [mean] if learns else []
        if self._space.encoder:
            starts.append(self._starts.predicted())
        neighbors = self._values.embedding_neighbors if learns else 0
        judge = self._judge(
            self._runs, len(steps) + 1 + len(starts) + neighbors
        )
        base, *losses = judge.losses(
            [nothing.rows, *(start.rows for start in starts)], self._train
        )
        # Of each mode, pairs of a snapshot and its held-out losses.
        histories = {"base": [(nothing, base)]}
        begun = list(zip(starts, losses, strict=True))
        if "zero_shot" in tried:
            histories["zero_shot"] = begun[-1:]
        if learns:
            before = self._starts.begin_at(_best(begun, self._runs))
            begun += self._starts.neighbors(
                judge, before, self._not_good(before)
            )
            before = self._starts.begin_at(_best(begun, self._runs))
            histories["embedding"] = [
                *begun,
                *self._learn(self._learning, judge, steps, "embedding", before),
            ]
        found = {speaker: {} for speaker in self._train}
        self._add(found, judge, self._runs, histories)
        if "full" in tried:
            self._go_on(found, _best(histories["embedding"], self._runs))
        return {
            speaker: {
                mode: candidate
                for mode, candidate in candidates.items()
                if mode in ("base", *self._modes[speaker])
            }
            for speaker, candidates in found.items()
        }

    def _go_on(self, found, best):
        """Full slots from the embeddings' best points, for who has them."""
        slots = [
            slot
            for slot, run in enumerate(self._runs)
            if "full" in self._modes[run.speaker]
        ]
        runs = [self._runs[slot] for slot in slots]
        values = self._values
        with self._replicas.scope():
            full = task.SubmodelTask(
                self._base,
                enrolment_experiments.full(self._experiment, values),
                [run.key for run in runs],
            )
        starts = [best[run.speaker][0] for run in runs]
        for name, variable in full.stack.variables_by_name.items():
            variable.assign(
                np.stack(
                    [
                        start.rows[name][slot]
                        for start, slot in zip(starts, slots, strict=True)
                    ]
                )
            )
        learning = self._make_learning(full, runs, values.full_utterances)
        steps = self._steps("full")
        judge = self._judge(runs, len(steps) + 1)
        start = learning.snapshot(0)
        (losses,) = judge.losses([start.rows], {run.speaker for run in runs})
        history = [
            (start, losses),
            *self._learn(learning, judge, steps, "full", losses),
        ]
        self._add(found, judge, runs, {"full": history})

    def _learn(self, learning, judge, steps, mode, before):
        """Pairs of a snapshot and its held-out losses, from `before` on."""
        found, looks = [], [before]
        patience = getattr(self._values, f"{mode}_patience")
        going = self._not_good(before)
        learning.stop(set(before) - going)
        with tqdm.tqdm(
            total=steps[-1] * learning.num_going,
            desc=f"enrolling ({mode})",
            unit="update",
        ) as progress:
            for snapshot in learning.run(steps, progress.update):
                (losses,) = judge.losses([snapshot.rows], going)
                # Who has stopped is where the last look was.
                looks.append({**looks[-1], **losses})
                found.append((snapshot, looks[-1]))
                if len(looks) > patience:
                    earlier = looks[-1 - patience]
                    going = going - self._without_gain(earlier, looks[-1])
                going = going & self._not_good(looks[-1])
                learning.stop(set(before) - going)
                progress.total = (
                    progress.n
                    + (steps[-1] - snapshot.step) * learning.num_going
                )
        return found

    def _without_gain(self, before, losses):
        """The speakers whose held-out loss has not sunk enough."""
        least = 1.0 - self._values.min_gain
        return {
            speaker
            for speaker, now in losses.items()
            if enrolment_judging.mean_loss(now)
            > least * enrolment_judging.mean_loss(before[speaker])
        }

    def _not_good(self, losses):
        """The speakers whose held-out loss leaves something to gain."""
        return {
            speaker
            for speaker, each in losses.items()
            if enrolment_judging.mean_loss(each) >= self._values.good_loss
        }

    def _add(self, found, judge, runs, histories):
        """Adds each mode's candidate to every speaker of the runs.

        Args:
            found: dict of speaker to a dict of mode to `Candidate`.
            judge: `Judge` of the runs.
            runs: list of `Run`.
            histories: dict of mode to pairs of a snapshot and its losses.
        """
        best = {mode: _best(each, runs) for mode, each in histories.items()}
        # In one go: a decoder's many small steps cost the same for more rows.
        texts = judge.texts(
            [_rows(each, runs) for each in best.values()],
            {run.speaker for run in runs},
        )
        for of_mode, (mode, chosen) in zip(texts, best.items(), strict=True):
            for slot, run in enumerate(runs):
                if not run.is_final:
                    continue
                snapshot, losses = chosen[run.speaker]
                errors, words = judge.errors(
                    of_mode[run.speaker], self._data[run.speaker]
                )
                embedding, rows = (), None
                if snapshot.embeddings is not None:
                    embedding = tuple(map(float, snapshot.embeddings[slot]))
                elif mode == "full":
                    embedding = found[run.speaker]["embedding"].embedding
                    rows = {k: v[slot].copy() for k, v in snapshot.rows.items()}
                found[run.speaker][mode] = Candidate(
                    mode,
                    snapshot.step,
                    enrolment_judging.Judgement(
                        losses[run.speaker], errors, words
                    ),
                    embedding,
                    rows,
                )

    def _runs_of(self, train):
        return [
            run
            for speaker, data in train.items()
            for run in enrolment_plan.runs(
                speaker,
                self._texts(speaker),
                len(self._data[speaker].utterances) - len(data.utterances),
                self._values.max_folds,
            )
        ]

    def _make_learning(self, of_task, runs, utterances):
        return enrolment_learning.Learning(
            of_task,
            runs,
            self._speech,
            utterances,
            self._values.runs_per_step,
            self._values.seed,
            self._replicas,
        )

    def _judge(self, runs, num_losses):
        return enrolment_judging.Judge(
            self._base,
            self._first_block,
            self._task.stack.site_functions,
            self._speech,
            runs,
            self._normalizer,
            num_losses,
            self._replicas,
        )

    def _steps(self, mode):
        values = self._values
        return enrolment_plan.evaluation_steps(
            getattr(values, f"{mode}_steps"),
            getattr(values, f"{mode}_evaluations"),
        )


def _best(history, runs):
    """Each speaker's pair of the lowest held-out loss, over all its runs."""
    return {
        run.speaker: min(
            history,
            key=lambda each, s=run.speaker: enrolment_judging.mean_loss(
                each[1][s]
            ),
        )
        for run in runs
    }


def _rows(best, runs):
    """Every run's tensors in its speaker's best snapshot, `[runs, ...]`."""
    chosen = [best[run.speaker][0] for run in runs]
    return {
        name: np.stack(
            [each.rows[name][slot] for slot, each in enumerate(chosen)]
        )
        for name in chosen[0].rows
    }


def _joined(train, dev):
    if dev is None:
        return train
    return dataclasses.replace(
        train,
        utterances=train.utterances + dev.utterances,
        tokens=train.tokens + dev.tokens,
    )
