"""The state of one speaker's training, besides the tensors."""

import dataclasses
import math
from collections import abc


@dataclasses.dataclass
class SpeakerState:
    """One speaker's counts and losses.

    Attributes:
        steps: updates so far.
        evaluated_at: the step of the last evaluation; -1 before any.
        best_step: the step whose weights are the ones to keep; -1 while there
            are none.
        best_loss: the dev loss at that step.
        sha256: of the content of the Submodel file; empty while there is none.
        base_loss: the dev loss of the base model.
        start_loss: the dev loss of the Submodel that the speaker started from;
            None for the base model.
        keeps_base: whether the base model is better than all weights so far,
            where the speaker started from a Submodel.
        worse: evaluations since the best.
        skipped: updates with a gradient that was not finite, up to the last
            evaluation.
        loss_sum, loss_count: of the training losses since the last evaluation.
    """

    steps: int = 0
    evaluated_at: int = -1
    best_step: int = -1
    best_loss: float | None = None
    sha256: str = ""
    base_loss: float | None = None
    start_loss: float | None = None
    keeps_base: bool = False
    worse: int = 0
    finished: bool = False
    skipped: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0

    @property
    def is_base(self) -> bool:
        """Whether the weights to keep are the base model's, if step 0's are."""
        return self.keeps_base or self.start_loss is None

    def boundary(self, num_steps: int, every: int) -> int:
        """The step, of `num_steps`, at which the speaker's current leg ends."""
        if self.evaluated_at < self.steps and (
            self.steps % every == 0 or self.steps == num_steps
        ):
            return self.steps
        return min((self.steps // every + 1) * every, num_steps)

    def conclude(
        self,
        dev_loss: float | None,
        num_steps: int,
        patience: int,
        base_loss: float | None = None,
    ) -> bool:
        """Records an evaluation of the current weights.

        Args:
            dev_loss: None where there is no dev data. One that is not finite is
                never the best.
            patience: evaluations without a better one before training ends
                early; 0 for never.
            base_loss: of the base model, before the first update, where the
                weights are those of a Submodel.

        Returns:
            Whether the current weights are the ones to keep.
        """
        self.evaluated_at = self.steps
        at_end = self.steps >= num_steps
        loss = math.inf if dev_loss is None else dev_loss
        improved = math.isfinite(loss) and (
            self.best_loss is None or loss < self.best_loss
        )
        if self.steps == 0 and base_loss is not None:
            self._compare_start(loss, base_loss)
            improved = math.isfinite(loss) and not self.keeps_base
        elif self.steps == 0 and math.isfinite(loss):
            self.base_loss = dev_loss
        if improved:
            self.best_loss, self.worse = dev_loss, 0
        else:
            self.worse += 1
        keeps = improved or (dev_loss is None and at_end)
        if keeps:
            self.best_step, self.keeps_base = self.steps, False
        self.finished = at_end or (
            dev_loss is not None and 0 < patience <= self.worse
        )
        return keeps

    def _compare_start(self, loss, base_loss):
        """Whoever starts from a Submodel must still be better than the base."""
        if math.isfinite(loss):
            self.start_loss = loss
        if not math.isfinite(base_loss):
            return
        self.base_loss = base_loss
        if not loss < base_loss:
            self.best_step, self.best_loss = 0, base_loss
            self.keeps_base = True


def warnings(states: abc.Mapping[str, SpeakerState]) -> tuple[str, ...]:
    """Warnings about speakers whose training has ended."""
    nothing = {
        speaker: state
        for speaker, state in states.items()
        if state.base_loss is not None and state.steps
        if state.best_step == 0
    }
    found = (
        (
            "had updates skipped, since a gradient was not finite",
            [s for s, state in states.items() if state.skipped],
        ),
        (
            "learned nothing that helps on their dev speech: their Submodels "
            "are the base model",
            [s for s, state in nothing.items() if state.is_base],
        ),
        (
            "learned nothing new that helps on their dev speech: their "
            "Submodels are those that they started from",
            [s for s, state in nothing.items() if not state.is_base],
        ),
        (
            "have no Submodel: no dev loss of theirs was finite",
            [s for s, state in states.items() if state.best_step < 0],
        ),
    )
    return tuple(
        f"{len(speakers)} of {len(states)} speakers {what}: "
        f"{', '.join(sorted(speakers)[:5])}{' ...' if speakers[5:] else ''}"
        for what, speakers in found
        if speakers
    )
