"""The words in which an enrolment reports."""

import dataclasses

import pytest

from tasks.asr.enrolment import report, results


def enrolled(speaker, mode="embedding", errors=2, loss=1.0, warnings=()):
    judgements = {
        "base": results.Judgement({0: 2.0}, 5, 10),
        "embedding": results.Judgement({0: loss}, errors, 10),
    }
    return results.Enrolled(
        speaker, mode, {}, (), 4, "folds", judgements, 5, 12.5, warnings
    )


def test_the_table_shows_what_each_speaker_keeps():
    text = report.table([enrolled("ann"), enrolled("bob", "", 7)]).splitlines()
    assert text[1].split() == (
        "ann 5 embedding 20.0 % 50.0 % - - folds".split()
    )
    assert text[2].split() == "bob 5 nothing 50.0 % 50.0 % - - folds".split()


def test_the_table_shows_what_being_personal_adds():
    ann = enrolled("ann")
    cohort = results.Judgement({0: 1.5}, 3, 10)
    ann = dataclasses.replace(
        ann,
        judgements=ann.judgements | {"cohort": cohort},
        cohort="the space's mean",
    )
    lines = report.table([ann]).splitlines()
    assert lines[1].endswith(
        "50.0 %    30.0 % (the space's mean)  -10.0        folds"
    )
    summary = ann.summary()
    assert summary["change_over_cohort_points"] == pytest.approx(-10.0)
    assert summary["word_error_rate"]["cohort"] == pytest.approx(0.3)
    assert summary["cohort"] == "the space's mean"


def test_a_refusal_is_one_line_with_the_figures_and_the_hints():
    line = report.refusal(enrolled("bob", "", 7, warnings=("check the voice",)))
    assert "\n" not in line
    for part in ("bob", "50.0 %", "embedding 70.0 %", "check the voice"):
        assert part in line


def test_who_gains_by_another_space_comes_first():
    doubtful = enrolled("cy", errors=0, warnings=("check the voice",))
    before = [enrolled("ann"), enrolled("bob", errors=4), enrolled("cy")]
    after = [enrolled("ann", errors=3), enrolled("bob", errors=1), doubtful]
    rows = report.comparison(before, after, ("bob", "dan"))
    # Who would be refused gains nothing.
    assert [(r["speaker"], r["gains"], r["trained_it"]) for r in rows] == [
        ("bob", True, True),
        ("cy", False, False),
        ("ann", False, False),
    ]
    lines = report.comparison_table(rows).splitlines()
    assert lines[1].endswith("would gain, but trained it")
    assert lines[2].endswith("leave")


def test_results_of_other_speakers_are_not_compared():
    with pytest.raises(ValueError, match="'ann' and 'bob'"):
        report.comparison([enrolled("ann")], [enrolled("bob")], ())
