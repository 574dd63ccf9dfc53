"""Runs: who learns from what, and is judged by what."""

import pytest

from tasks.asr.enrolment import plan


@pytest.mark.parametrize("count", [2, 3, 5, 7, 20])
def test_folds_judge_every_utterance_once_by_a_run_that_did_not_hear_it(count):
    final, *folds = plan.runs(
        "ann", [f"text {i}" for i in range(count)], 0, max_folds=5
    )
    assert final.is_final and final.key == "ann" and not final.held_out
    assert final.train == tuple(range(count))
    assert len(folds) == min(count, 5)
    judged = sorted(i for fold in folds for i in fold.held_out)
    assert judged == list(range(count))
    for fold in folds:
        assert not fold.is_final
        assert set(fold.train) == set(range(count)) - set(fold.held_out)
        assert fold.train
    assert len({run.key for run in (final, *folds)}) == 1 + len(folds)


def test_dev_utterances_need_no_folds():
    (run,) = plan.runs("ann", ["a", "b", "c"], 2, max_folds=5)
    assert (run.train, run.held_out) == ((0, 1, 2), (3, 4))
    assert plan.evidence(["a", "b", "c"], 2) == "dev"


def test_a_single_utterance_is_all_there_is():
    (run,) = plan.runs("ann", ["a"], 0, max_folds=5)
    assert (run.train, run.held_out) == ((0,), (0,))
    assert plan.evidence(["a"], 0) == "own"


def test_recordings_of_one_text_are_left_out_together():
    texts = ["on", "off", "on", "stop", "off", "on"]
    _, *folds = plan.runs("ann", texts, 0, max_folds=2)
    assert [fold.held_out for fold in folds] == [(0, 2, 3, 5), (1, 4)]
    for fold in folds:
        assert not {texts[i] for i in fold.train} & {
            texts[i] for i in fold.held_out
        }
    # Said twice, a text is still all there is.
    (run,) = plan.runs("ann", ["on", "on"], 0, max_folds=2)
    assert run.held_out == run.train == (0, 1)
    assert plan.evidence(["on", "on"], 0) == "own"


@pytest.mark.parametrize(
    "num_steps, evaluations, expected",
    [(8, 2, [4, 8]), (8, 1, [8]), (1, 3, [1]), (10, 3, [2, 5, 10])],
)
def test_the_last_step_is_always_evaluated(num_steps, evaluations, expected):
    assert plan.evaluation_steps(num_steps, evaluations) == expected


@pytest.mark.parametrize(
    "counts, most, expected",
    [([6], 12, 2), ([96], 12, 8), ([13], 12, 8), ([5, 30], 12, 8)]
    + [([12, 6, 6], 12, 4), ([60, 36], 12, 8), ([1], 12, 1), ([4], 12, 4)],
)
def test_places_are_a_power_of_two_and_leave_few_empty(counts, most, expected):
    assert plan.even_places(counts, most) == expected


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("embedding_steps", 0, "`embedding_steps` must be at least 1"),
        ("max_folds", 1, "`max_folds` must be at least 2"),
        ("full_learning_rate", 0.0, "`full_learning_rate` must be positive"),
        ("min_gain", 1.0, "`min_gain` must be below 1"),
        ("min_gain", float("nan"), "`min_gain` must be below 1"),
        ("good_loss", -1.0, "`good_loss` must be at least 0"),
        ("min_seconds", -0.1, "`min_seconds` must be at least 0"),
        ("bucket_seconds", 0.0, "`bucket_seconds` must be at least 0.1"),
    ],
)
def test_values_that_make_no_sense_are_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        plan.Values(**{name: value})


@pytest.mark.parametrize(
    "modes, longest, expected",
    [
        (("embedding",), 3.9, 4.0),
        (("embedding",), 4.1, 8.0),
        (("zero_shot", "embedding"), 29.0, 8.0),
        (("embedding", "full"), 4.1, 1.0),
    ],
)
def test_a_speaker_s_short_utterances_share_one_padded_length(
    modes, longest, expected
):
    values = plan.Values()
    assert plan.bucket_seconds(modes, longest, values) == expected
