"""How well Submodels do on utterances that they have not learned from."""

import dataclasses

import numpy as np
import tensorflow as tf

from tasks.asr import enrolment_learning, scoring, text

# Utterances that are judged together.
_PLACES = 16
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
        return float(np.mean(list(self.losses.values())))

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


class Judge:
    """Losses and texts of held-out utterances.

    Args:
        base: frozen `BaseModel`.
        first_block: int, the block that the speech's activations enter.
        adapter_functions: function of rows, as `Stack.adapter_functions`.
        speech: `Speech`.
        runs: list of `Run`.
        normalizer: one of `text.NORMALIZERS`.
        num_losses, num_texts: ints, how often each will be asked for.
    """

    def __init__(
        self,
        base,
        first_block,
        adapter_functions,
        speech,
        runs,
        normalizer,
        num_losses,
        num_texts,
    ):
        self._base = base
        self._first_block = first_block
        self._adapter_functions = adapter_functions
        self._speech = speech
        self._normalizer = normalizer
        items = [(slot, i) for slot, r in enumerate(runs) for i in r.held_out]
        self._runs = runs
        self._places = min(_PLACES, max(1, len(items)))
        self._batches = [
            group[i : i + self._places]
            for group in speech.by_bucket(
                items, lambda item: runs[item[0]].speaker
            )
            for i in range(0, len(group), self._places)
        ]
        count = len(self._batches)
        self._loss_step = enrolment_learning.compiled(
            self._losses, num_losses * count
        )
        self._text_step = enrolment_learning.compiled(
            self._texts, num_texts * count
        )

    def losses(self, rows):
        """The loss of every held-out utterance.

        Args:
            rows: dict of name to `[runs, ...]`; each utterance is judged by
                the row of the run that held it out.

        Returns:
            dict of speaker to a dict of utterance index to its loss.
        """
        return self._each(self._loss_step, rows, float)

    def texts(self, rows):
        """The text of every held-out utterance, in a dict like `losses`."""
        return self._each(
            self._text_step, rows, lambda text: text.decode("utf-8", "replace")
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

    def _each(self, step, rows, convert):
        found = {}
        for items in self._batches:
            slots = [slot for slot, _ in items]
            slots += slots[:1] * (self._places - len(slots))
            batch = self._speech.batch(
                [(self._runs[slot].speaker, [i]) for slot, i in items],
                self._places,
                1,
            )
            values = step(
                {k: tf.constant(v[slots]) for k, v in rows.items()},
                {k: tf.constant(v[:, 0]) for k, v in batch.items()},
            ).numpy()
            for place, (slot, index) in enumerate(items):
                speaker = self._runs[slot].speaker
                found.setdefault(speaker, {})[index] = convert(values[place])
        return found

    def _encode(self, rows, batch):
        return self._base.upper(
            batch["activations"],
            batch["activation_paddings"],
            self._first_block,
            self._adapter_functions(rows),
        )

    def _losses(self, rows, batch):
        return self._base.loss(
            self._encode(rows, batch),
            batch["activation_paddings"],
            batch["tokens"],
            batch["token_lengths"],
        )

    def _texts(self, rows, batch):
        tokens, lengths, _ = self._base.decode(
            self._encode(rows, batch), batch["activation_paddings"]
        )
        return self._base.detokenize(tokens, lengths)


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
