"""Where the embeddings of an enrolment's runs start.

At the space's mean; at what its speaker encoder predicts; at the speakers of
the space that are nearest to the better of the two.
"""

import numpy as np

from tasks.asr.enrolment import judging as enrolment_judging

# Rows of runs that are held at once to seek where they start.
_ROWS_TOGETHER = 128


class Starts:
    """Puts the runs where they may start.

    Args:
        space: `space.Space`.
        stack: `EmbeddingSpace` with a slot for each run, in their order.
        learning: `Learning` of the stack's task.
        runs: list of `Run`.
        speech: `Speech`.
        num_neighbors: int, speakers of the space that are tried.
    """

    def __init__(self, space, stack, learning, runs, speech, num_neighbors):
        self._space = space
        self._stack = stack
        self._learning = learning
        self._runs = runs
        self._speech = speech
        self._num_neighbors = num_neighbors

    def predicted(self):
        """A `Snapshot` of every run at what the encoder predicts of it.

        A run predicts from what it learns from, so that what it is judged by
        stays unheard.
        """
        encoder = self._space.speaker_encoder()
        heard = [
            np.mean(
                np.concatenate(
                    [
                        encoder.statistics(
                            *self._speech.of(run.speaker, indices, bucket)
                        )
                        for bucket, indices in self._speech.by_bucket(
                            run.train, lambda i, run=run: (run.speaker, i)
                        ).items()
                    ]
                ),
                axis=0,
            )
            for run in self._runs
        ]
        self._stack.embeddings.assign(encoder.predict(np.stack(heard)))
        return self._learning.snapshot(0)

    def begin_at(self, best):
        """Puts every run at its speaker's best start.

        Args:
            best: dict of speaker to a `Snapshot` and its losses.

        Returns:
            dict of speaker to the losses there.
        """
        self._stack.embeddings.assign(
            np.stack(
                [
                    best[run.speaker][0].embeddings[slot]
                    for slot, run in enumerate(self._runs)
                ]
            )
        )
        return {
            speaker: losses[speaker] for speaker, (_, losses) in best.items()
        }

    def neighbors(self, judge, before, seeking):
        """Starts at the space's own speakers nearest to where the runs are.

        A run takes, of those and its start so far, the one with the lowest
        loss on what it learns from, not on what it is judged by; with dev
        utterances those decide, as of the steps. Which are the nearest is
        asked once, for where the final run is.

        Args:
            judge: `Judge` of the runs.
            before: dict of speaker to the losses where the runs are.
            seeking: set of the speakers who are put elsewhere.

        Returns:
            list of one pair of a snapshot and its losses, or of none.
        """
        begun = np.array(self._stack.embeddings)
        nearest = {
            run.speaker: self._nearest(run.speaker, begun[slot])
            for slot, run in enumerate(self._runs)
            if run.is_final and run.speaker in seeking
        }
        count = max(map(len, nearest.values()), default=0)
        if not count:
            return []
        # A few rounds rather than one, which would hold every row so often.
        together = max(1, _ROWS_TOGETHER // len(self._runs))
        tried = [(begun, before)]
        for first in range(0, count, together):
            some = [
                self._moved(begun, nearest, place)
                for place in range(first, min(first + together, count))
            ]
            rows = []
            for embeddings in some:
                self._stack.embeddings.assign(embeddings)
                rows.append(self._learning.snapshot(0).rows)
            for embeddings, losses in zip(
                some, judge.losses(rows, seeking), strict=True
            ):
                tried.append((embeddings, {**before, **losses}))
        chosen, kept = begun.copy(), {s: dict(before[s]) for s in before}
        for slot, run in enumerate(self._runs):
            if run.speaker in seeking:
                embeddings, losses = min(
                    tried, key=lambda each, r=run: _mean_loss(r, each[1])
                )
                chosen[slot] = embeddings[slot]
                for index in run.held_out:
                    kept[run.speaker][index] = losses[run.speaker][index]
        self._stack.embeddings.assign(chosen)
        return [(self._learning.snapshot(0), kept)]

    def _nearest(self, speaker, embedding):
        """The embeddings nearest to one, of the space's other speakers."""
        # The speaker's own has heard what the speaker may be judged by.
        others = [
            known
            for name, known in zip(
                self._space.speakers, self._space.embeddings, strict=True
            )
            if name != speaker
        ]
        others.sort(key=lambda known: float(np.linalg.norm(known - embedding)))
        return others[: self._num_neighbors]

    def _moved(self, begun, nearest, place):
        """All runs' embeddings, with a speaker's at one of the nearest."""
        result = begun.copy()
        for slot, run in enumerate(self._runs):
            if place < len(nearest.get(run.speaker, ())):
                result[slot] = nearest[run.speaker][place]
        return result


def _mean_loss(run, losses):
    """The mean loss on what decides where a run starts."""
    indices = run.train
    # With dev utterances, or where one is all there is.
    if run.is_final and run.held_out:
        indices = run.held_out
    return enrolment_judging.mean_loss(
        {index: losses[run.speaker][index] for index in indices}
    )
