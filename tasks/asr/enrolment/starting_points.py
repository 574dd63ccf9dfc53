"""Where the embeddings of an enrolment's runs start.

At the space's mean, at the prediction of its speaker encoder, or at the
speakers of the space that are nearest to the better of the two.
"""

import collections
from collections import abc
from typing import TypeAlias, cast

import numpy as np

from lingvo_like.space import embedding_space, file as space_file
from lingvo_like.stack import rows as slot_rows
from tasks.asr.enrolment import judging, learning, results

# Rows of runs that are tried at once: they are all held in memory.
_ROWS_TOGETHER = 128

# Dict of speaker to a dict of utterance index to its held-out loss.
Losses: TypeAlias = abc.Mapping[str, abc.Mapping[int, float]]


class Starts:
    """Puts the runs at their starts.

    Args:
        learner: learns the embeddings, which are put there.
        num_neighbors: number of speakers of the space that are tried.
    """

    def __init__(
        self,
        space: space_file.Space,
        learner: learning.Learning,
        num_neighbors: int,
    ):
        self._space = space
        self._learner = learner
        self._num_neighbors = num_neighbors
        self._runs = learner.runs
        self._stack = cast(embedding_space.EmbeddingSpace, learner.task.stack)

    def predicted(self) -> learning.Snapshot:
        """Puts every run where the encoder predicts it.

        A run predicts from what it learns from: what it is judged by stays
        unheard.
        """
        encoder, speech = self._space.speaker_encoder(), self._learner.speech
        heard = collections.defaultdict(list)
        for run in self._runs:
            buckets = speech.by_bucket(run.speaker, run.train)
            statistics = [
                encoder.statistics(*speech.of(run.speaker, indices, bucket))
                for bucket, indices in buckets.items()
            ]
            mean = np.mean(np.concatenate(statistics), axis=0)
            heard[run.speaker].append(mean)
        # Each speaker's by themselves, as snapshots are taken.
        predicted = [encoder.predict(np.stack(each)) for each in heard.values()]
        self._put(np.concatenate(predicted))
        return self._learner.snapshot(0)

    def begin_at(
        self, best: abc.Mapping[str, tuple[learning.Snapshot, Losses]]
    ) -> dict[str, abc.Mapping[int, float]]:
        """Puts every run at its speaker's best start; the losses there.

        Args:
            best: dict of speaker to a snapshot and its losses.
        """
        chosen = [
            cast(np.ndarray, best[run.speaker][0].embeddings)
            for run in self._runs
        ]
        self._put(np.stack([each[slot] for slot, each in enumerate(chosen)]))
        return {
            speaker: losses[speaker] for speaker, (_, losses) in best.items()
        }

    def neighbors(
        self,
        judge: judging.Judge,
        before: Losses,
        seeking: abc.Collection[str],
    ) -> list[tuple[learning.Snapshot, Losses]]:
        """Tries the space's own speakers nearest to where the runs are.

        A run takes the neighbor, or its start so far, with the lowest loss on
        what it learns from, not on what it is judged by. Only dev utterances
        decide here as they do for steps. The neighbors are those nearest to
        the final run of a speaker.

        Args:
            before: the losses where the runs are.
            seeking: the speakers whose runs may move.

        Returns:
            one snapshot and its losses, or nothing without a neighbor.
        """
        begun = np.array(self._stack.embeddings)[: len(self._runs)]
        nearest = {
            run.speaker: self._nearest(run.speaker, begun[slot])
            for slot, run in enumerate(self._runs)
            if run.is_final and run.speaker in seeking
        }
        count = max(map(len, nearest.values()), default=0)
        if not count:
            return []
        tried = [(begun, before)]
        together = max(1, _ROWS_TOGETHER // len(self._runs))
        for first in range(0, count, together):
            ranks = range(first, min(first + together, count))
            some = [self._moved(begun, nearest, rank) for rank in ranks]
            rows = []
            for embeddings in some:
                self._put(embeddings)
                rows.append(self._learner.snapshot(0).rows)
            found = judge.losses(rows, seeking, first)
            for rank, embeddings, losses in zip(
                ranks, some, found, strict=True
            ):
                # Who has fewer neighbors was judged once more where it is.
                moved = {s: losses[s] for s in losses if rank < len(nearest[s])}
                tried.append((embeddings, {**before, **moved}))
        chosen, kept = begun.copy(), {s: dict(before[s]) for s in before}
        for slot, run in enumerate(self._runs):
            if run.speaker in seeking:
                embeddings, losses = min(
                    tried, key=lambda each, run=run: _mean_loss(run, each[1])
                )
                chosen[slot] = embeddings[slot]
                for index in run.held_out:
                    kept[run.speaker][index] = losses[run.speaker][index]
        self._put(chosen)
        return [(self._learner.snapshot(0), kept)]

    def _nearest(self, speaker, embedding):
        """The embeddings nearest to one, of the space's other speakers."""
        # The speaker's own embedding may have learned the held-out utterances.
        known = zip(self._space.speakers, self._space.embeddings, strict=True)
        others = [place for name, place in known if name != speaker]
        others.sort(key=lambda place: float(np.linalg.norm(place - embedding)))
        # One of those that are alike: whether they are judged at once, and
        # then only once, would depend on who else enrols.
        nearest = others[: self._num_neighbors]
        return list({place.tobytes(): place for place in nearest}.values())

    def _put(self, embeddings):
        """Puts every run at its row of `[runs, embedding_dim]`."""
        rows = slot_rows.SlotRows(len(self._runs))
        rows.write(self._stack.embeddings, rows.slots, embeddings)

    def _moved(self, begun, nearest, rank):
        """All runs' embeddings, each at its speaker's neighbor of a rank."""
        result = begun.copy()
        for slot, run in enumerate(self._runs):
            if rank < len(nearest.get(run.speaker, ())):
                result[slot] = nearest[run.speaker][rank]
        return result


def _mean_loss(run, losses):
    """The mean loss on the utterances that decide where a run starts."""
    indices = run.train
    # With dev utterances, or where a single text is all there is.
    if run.is_final and run.held_out:
        indices = run.held_out
    return results.mean_loss({i: losses[run.speaker][i] for i in indices})
