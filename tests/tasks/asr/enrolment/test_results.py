"""Held-out errors judge candidates and a speaker's recordings."""

import pytest

from tasks.asr.enrolment import results

UTT_IDS = {i: f"utt{i}" for i in range(4)}


def judgement(losses, errors=2, words=20):
    return results.Judgement(dict(enumerate(losses)), errors, words)


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
    assert results.warnings(base, best, UTT_IDS) == ()


def test_another_voice_among_the_utterances_is_named():
    base = judgement([2.0, 2.0, 2.0, 1.0], 10)
    best = judgement([1.0, 1.1, 1.0, 1.8], 5)
    (warning,) = results.warnings(base, best, UTT_IDS)
    assert "utt3" in warning and "voice" in warning
    assert "utt0" not in warning


def test_transcripts_of_something_else_are_said_to_be_that():
    base, best = judgement([6.0] * 4, 22), judgement([5.9] * 4, 20)
    (warning,) = results.warnings(base, best, UTT_IDS)
    assert "transcripts" in warning and "language" in warning


@pytest.mark.parametrize("errors, losses", [(3, [5.9] * 4), (20, [3.0] * 4)])
def test_errors_that_enrolment_mends_are_no_warning(errors, losses):
    base, best = judgement([6.0] * 4, 22), judgement(losses, errors)
    assert results.warnings(base, best, UTT_IDS) == ()
