"""An evaluation changes one speaker's counts, and warnings name them."""

import pytest

from tasks.asr.training import speaker_state


@pytest.mark.parametrize("worst", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_never_the_best(worst):
    state = speaker_state.SpeakerState()
    kept = []
    for step, loss in ((0, worst), (5, 3.0), (10, worst)):
        state.steps = step
        kept.append(state.conclude(loss, num_steps=10, patience=0))
    assert kept == [False, True, False]
    assert (state.best_step, state.best_loss) == (5, 3.0)
    # A file describes its making in JSON, which has no such numbers.
    assert state.base_loss is None
    assert state.finished


def test_what_a_user_should_know_is_said_of_whom_it_concerns():
    states = {
        "ann": speaker_state.SpeakerState(
            steps=9, best_step=9, base_loss=2.0, skipped=3
        ),
        "bob": speaker_state.SpeakerState(
            steps=9, best_step=0, base_loss=2.0, best_loss=2.0
        ),
        "cy": speaker_state.SpeakerState(steps=9, best_step=-1),
        # Without dev speech the last weights are the ones to keep.
        "dee": speaker_state.SpeakerState(steps=9, best_step=9),
        # Asked for no updates: nothing was to be learned.
        "eve": speaker_state.SpeakerState(best_step=0, base_loss=2.0),
    }
    skipped, learned_nothing, none = speaker_state.warnings(states)
    assert skipped.startswith("1 of 5 speakers had updates skipped")
    assert skipped.endswith(": ann")
    assert "are the base model: bob" in learned_nothing
    assert "have no Submodel" in none and none.endswith(": cy")
    assert not speaker_state.warnings({"dee": states["dee"]})
