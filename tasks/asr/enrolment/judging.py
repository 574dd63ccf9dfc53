"""How well Submodels do on utterances that they have not learned from."""

import collections
import dataclasses

import numpy as np
import tensorflow as tf
import tqdm

from tasks.asr.data import text
from tasks.asr.enrolment import learning as enrolment_learning
from tasks.asr.evaluation import scoring

# Utterances that are judged together.
_PLACES = 32
# A text need not be heard further than its transcript's tokens this often, and
# more: as often as tells a base model that says the same on end.
_COPIES, _SPARE_TOKENS = 4, 8
# A held-out loss above the base's by so much is not chance but harm.
_HARM_RATIO, _HARM_NATS = 1.1, 0.05
# Below this, what the others of a speaker learned helps.
_HELPED = 0.97
# Above this error rate and loss, next to nothing was understood.
_LOST_RATE, _LOST_GAIN = 0.8, 0.95


@dataclasses.dataclass(frozen=True)
class Judgement:
    """One candidate's results on one speaker's held-out utterances.

    Attributes:
        losses: dict of utterance index to its loss.
        errors, words: ints, over all of them.
    """

    losses: dict
    errors: int
    words: int

    @property
    def loss(self):
        return mean_loss(self.losses)

    @property
    def word_error_rate(self):
        return self.errors / max(1, self.words)

    @property
    def rank(self):
        """Lower is better: errors, and the loss where they are equal."""
        return self.errors, self.loss

    def improves(self, base):
        """Whether it is better than the base model, and in nothing worse.

        A Submodel that falls silent makes fewer errors than a base model that
        repeats itself; its loss gives it away.
        """
        return (
            self.errors <= base.errors
            and self.loss <= base.loss
            and self.rank < base.rank
        )


def _first_alike(candidates):
    """For each candidate and run, the first candidate whose row is the same.

    A mode that found nothing better is where another one is, and what is the
    same need not be judged twice.

    Args:
        candidates: list of dicts of name to `[runs, ...]`.

    Returns:
        list of lists of candidates' indices.
    """
    num_runs = len(next(iter(candidates[0].values())))
    return [
        [
            next(
                i
                for i, earlier in enumerate(candidates)
                if all(np.array_equal(earlier[n][r], rows[n][r]) for n in rows)
            )
            for r in range(num_runs)
        ]
        for rows in candidates
    ]


def mean_loss(losses):
    """The mean of a dict of utterance index to its loss."""
    return float(np.mean(list(losses.values())))


class Judge:
    """Losses and texts of held-out utterances.

    Args:
        base: frozen `BaseModel`.
        first_block: int, the block that the speech's activations enter.
        site_functions: function of rows, as `Stack.site_functions`.
        speech: `Speech`.
        runs: list of `Run`.
        normalizer: one of `text.NORMALIZERS`.
        num_losses: int, candidates whose losses will be asked for.
        replicas: `Replicas` that share the judging.
    """

    def __init__(
        self,
        base,
        first_block,
        site_functions,
        speech,
        runs,
        normalizer,
        num_losses,
        replicas,
    ):
        self._base = base
        self._replicas = replicas
        self._first_block = first_block
        self._site_functions = site_functions
        self._speech = speech
        self._normalizer = normalizer
        self._runs = runs
        self._items = speech.by_bucket(
            [(slot, i) for slot, r in enumerate(runs) for i in r.held_out],
            lambda item: (runs[item[0]].speaker, item[1]),
        )
        # A decoder's many small operations cost much more without.
        self._decode = tf.function(base.decode, autograph=False)
        # Of each padded length, a function of a list of each replica's batch.
        self._text_steps = dict.fromkeys(
            self._items,
            enrolment_learning.on_replicas(replicas, self._texts, False),
        )
        self._loss_steps = {}
        # Where losses are compiled, the rows of every call.
        self._loss_places = {}
        for bucket, items in self._items.items():
            # A compilation costs what one call does.
            is_compiled = (
                not replicas.is_plain or len(items) * num_losses > _PLACES
            )
            if is_compiled:
                self._loss_places[bucket] = enrolment_learning.even_places(
                    [len(items)], _PLACES
                )
            self._loss_steps[bucket] = enrolment_learning.on_replicas(
                replicas, self._losses, is_compiled
            )

    def losses(self, candidates, speakers):
        """The loss of every held-out utterance of some speakers.

        Args:
            candidates: list of dicts of name to `[runs, ...]`, which are
                judged together; each utterance by the row of the run that
                held it out.
            speakers: collection of str.

        Returns:
            for each candidate a dict of speaker to a dict of utterance index
            to its loss.
        """
        return self._each(
            self._loss_steps,
            self._loss_places,
            candidates,
            speakers,
            np.asarray,
            float,
        )

    def texts(self, candidates, speakers):
        """The text of every held-out utterance, in dicts like `losses`."""
        return self._each(
            self._text_steps,
            {},
            candidates,
            speakers,
            lambda found: self._base.detokenize(*found).numpy(),
            lambda text: text.decode("utf-8", "replace"),
        )

    def errors(self, texts, data):
        """Word errors and words of one speaker.

        Args:
            texts: dict of utterance index to what was recognised.
            data: `SpeakerUtterances`.
        """
        references, hypotheses = [], []
        for index, hypothesis in texts.items():
            reference = text.normalize(
                data.utterances[index].text, self._normalizer
            )
            if reference:
                references.append(reference)
                hypotheses.append(text.normalize(hypothesis, self._normalizer))
        words = sum(len(reference.split()) for reference in references)
        return sum(scoring.word_errors(references, hypotheses)), words

    def _each(self, steps, places, candidates, speakers, read, convert):
        # By the first candidate of its row, the run and the utterance.
        judged = {}
        firsts = _first_alike(candidates)
        parts = list(self._parts(places, firsts, speakers))
        with tqdm.tqdm(
            total=sum(len(part) for _, some, _ in parts for part in some),
            desc="enrolling (judging)",
            unit="utt",
            # Within the bar of the learning, and only where somebody looks.
            leave=False,
            disable=None,
        ) as progress:
            for bucket, some, num_places in parts:
                # A replica that has nothing left judges the first again.
                idle = self._replicas.num_local - len(some)
                results = steps[bucket](
                    [
                        self._batch(candidates, part, num_places, bucket)
                        for part in some + some[:1] * idle
                    ]
                )
                for part, result in zip(some, results, strict=False):
                    values = read(result)
                    for place, item in enumerate(part):
                        judged[item] = convert(values[place])
                    progress.update(len(part))
        found = [collections.defaultdict(dict) for _ in candidates]
        for (first, slot, index), value in judged.items():
            speaker = self._runs[slot].speaker
            for of_candidate, of_slots in zip(found, firsts, strict=True):
                if of_slots[slot] == first:
                    of_candidate[speaker][index] = value
        return [dict(each) for each in found]

    def _parts(self, places, firsts, speakers):
        """What the replicas judge together: padded length, parts, places.

        Args:
            places: dict of padded length to the rows of every call, where
                they are the same for any candidates and speakers, and so one
                program; elsewhere the parts are even ones of all there are.
            firsts: `_first_alike` of the candidates.
            speakers: collection of str.
        """
        num_local = self._replicas.num_local
        for bucket, items in self._items.items():
            rows = [
                (candidate, slot, index)
                for candidate, of_slots in enumerate(firsts)
                for slot, index in items
                if self._runs[slot].speaker in speakers
                and of_slots[slot] == candidate
            ]
            if not rows:
                continue
            num_places = places.get(bucket)
            if num_places is None:
                num_places = enrolment_learning.even_places(
                    [len(rows)], _PLACES
                )
            parts = [
                rows[start : start + num_places]
                for start in range(0, len(rows), num_places)
            ]
            for start in range(0, len(parts), num_local):
                yield bucket, parts[start : start + num_local], num_places

    def _batch(self, candidates, items, places, bucket):
        # An empty place is judged by somebody's row, and not read.
        filled = items + items[:1] * (places - len(items))
        rows = {
            name: tf.constant(
                np.stack([candidates[c][name][slot] for c, slot, _ in filled])
            )
            for name in candidates[0]
        }
        batch = self._speech.batch(
            [(self._runs[slot].speaker, [i]) for _, slot, i in items],
            places,
            1,
            bucket,
        )
        return {
            "rows": rows,
            **{k: tf.constant(v[:, 0]) for k, v in batch.items()},
        }

    def _encode(self, batch):
        return self._base.upper(
            batch["activations"],
            batch["activation_paddings"],
            self._first_block,
            self._site_functions(batch["rows"]),
        )

    def _losses(self, batch):
        return self._base.loss(
            self._encode(batch),
            batch["activation_paddings"],
            batch["tokens"],
            batch["token_lengths"],
        )

    def _texts(self, batch):
        # Who does not understand may say the same on end, as far as the base
        # model's longest text; nobody else should wait for that.
        tokens, lengths, _ = self._decode(
            self._encode(batch),
            batch["activation_paddings"],
            limits=_COPIES * batch["token_lengths"] + _SPARE_TOKENS,
        )
        return tokens, lengths


def warnings(base, best, utt_ids):
    """What the held-out errors say of the recordings themselves.

    Args:
        base: `Judgement` of the base model.
        best: `Judgement` of the best candidate.
        utt_ids: dict of utterance index to its id.

    Returns:
        tuple of str.
    """
    found = []
    ratios = {i: best.losses[i] / max(base.losses[i], 1e-6) for i in utt_ids}
    if (
        best.word_error_rate >= _LOST_RATE
        and np.median(list(ratios.values())) > _LOST_GAIN
    ):
        found.append(
            f"{100 * best.word_error_rate:.0f} % of the held-out words are "
            "wrong, and what was learned from the other utterances does not "
            "help: check that the transcripts are of these recordings and "
            "that they are in the base model's language"
        )
    harmed = [
        utt_ids[i]
        for i, ratio in sorted(ratios.items())
        if ratio > _HARM_RATIO and best.losses[i] > base.losses[i] + _HARM_NATS
    ]
    helped = sum(ratio < _HELPED for ratio in ratios.values())
    if harmed and helped >= len(harmed):
        found.append(
            f"unlike the speaker's other utterances: {', '.join(harmed[:5])}"
            f"{' ...' if harmed[5:] else ''}; check their voice, their "
            "language and their transcript"
        )
    return tuple(found)
