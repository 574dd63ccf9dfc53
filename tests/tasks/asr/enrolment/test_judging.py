"""What held-out errors say of a speaker's recordings."""

import numpy as np
import pytest

from tasks.asr.enrolment import judging as enrolment_judging
from tasks.asr.enrolment import plan as enrolment_plan
from tpu.distribute import replicas

UTT_IDS = {i: f"utt{i}" for i in range(4)}


def judgement(losses, errors=2, words=20):
    return enrolment_judging.Judgement(dict(enumerate(losses)), errors, words)


def test_fewer_errors_rank_first_and_the_loss_decides_between_equals():
    few, many = judgement([3.0], errors=1), judgement([1.0], errors=2)
    assert few.rank < many.rank
    assert judgement([1.0]).rank < judgement([2.0]).rank


@pytest.mark.parametrize(
    "errors, loss, expected",
    [(2, 1.9, True), (3, 1.9, True), (3, 2.0, False), (2, 2.1, False)]
    + [(4, 1.0, False)],
)
def test_a_candidate_must_be_better_and_in_nothing_worse(
    errors, loss, expected
):
    base = judgement([2.0], errors=3)
    assert judgement([loss], errors).improves(base) is expected


def test_good_recordings_give_no_warning():
    base, best = judgement([2.0] * 4, 10), judgement([1.0] * 4, 2)
    assert enrolment_judging.warnings(base, best, UTT_IDS) == ()


def test_another_voice_among_the_utterances_is_named():
    base = judgement([2.0, 2.0, 2.0, 1.0], 10)
    best = judgement([1.0, 1.1, 1.0, 1.8], 5)
    (warning,) = enrolment_judging.warnings(base, best, UTT_IDS)
    assert "utt3" in warning and "voice" in warning
    assert "utt0" not in warning


def test_transcripts_of_something_else_are_said_to_be_that():
    base, best = judgement([6.0] * 4, 22), judgement([5.9] * 4, 20)
    (warning,) = enrolment_judging.warnings(base, best, UTT_IDS)
    assert "transcripts" in warning and "language" in warning


@pytest.mark.parametrize("errors, losses", [(3, [5.9] * 4), (20, [3.0] * 4)])
def test_errors_that_enrolment_mends_are_no_warning(errors, losses):
    base, best = judgement([6.0] * 4, 22), judgement(losses, errors)
    assert enrolment_judging.warnings(base, best, UTT_IDS) == ()


class Speech:
    """Utterances of no content."""

    def by_bucket(self, items, utterance_of):
        return {8: items}

    def batch(self, items, places, utterances, bucket):
        names = ("activations", "activation_paddings", "tokens")
        nothing = np.zeros((places, utterances, 1), np.float32)
        return dict.fromkeys((*names, "token_lengths"), nothing)


class Base:
    """A base model whose loss is the row, and that counts what it hears."""

    heard = 0

    def upper(self, activations, paddings, first_block, rows):
        self.heard += len(activations)
        return rows

    def loss(self, encoded, *rest):
        return encoded

    def decode(self, *arguments, **limits):
        raise AssertionError("only losses are asked for")


def test_candidates_that_are_alike_are_judged_once_and_answered_each():
    runs = [
        enrolment_plan.Run(speaker, speaker, (), held_out, True)
        for speaker, held_out in (("ann", (0, 1)), ("bob", (0,)))
    ]
    base = Base()
    judge = enrolment_judging.Judge(
        base,
        0,
        lambda rows: rows["weight"],
        Speech(),
        runs,
        "none",
        3,
        replicas.Replicas(),
    )
    candidates = [
        {"weight": np.array(rows, np.float32)}
        for rows in ([1.0, 2.0], [1.0, 3.0], [4.0, 2.0])
    ]
    found = judge.losses(candidates, {"ann", "bob"})
    assert found == [
        {"ann": {0: 1.0, 1: 1.0}, "bob": {0: 2.0}},
        {"ann": {0: 1.0, 1: 1.0}, "bob": {0: 3.0}},
        {"ann": {0: 4.0, 1: 4.0}, "bob": {0: 2.0}},
    ]
    # Ann's second candidate and bob's third are their first ones.
    assert base.heard == 6
