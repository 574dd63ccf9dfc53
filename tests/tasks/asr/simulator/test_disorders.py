"""Simulated disorders of human voices, as parameters."""

import dataclasses

import pytest

from tasks.asr.simulator import disorders

# Each is larger the more severe a disorder is.
STRENGTHS = (
    *("undershoot", "smear_seconds", "breath", "tremor_depth"),
    *("pitch_tremor", "pause_rate", "pause_seconds"),
)


def test_a_disorder_is_the_same_whenever_it_is_drawn():
    first = disorders.draw(3, "ann", "severe")
    assert disorders.draw(3, "ann", "severe") == first
    assert disorders.draw(4, "ann", "severe") != first
    other = disorders.draw(3, "bob", "severe")
    assert other.undershoot != first.undershoot
    assert (first.speaker, first.altered_from) == ("ann-severe", "ann")


@pytest.mark.parametrize("speaker", ["ann", "bob", "cleo"])
def test_more_severe_is_the_same_disorder_further_on(speaker):
    drawn = [
        disorders.draw(0, speaker, severity)
        for severity in ("mild", "moderate", "severe")
    ]
    for name in STRENGTHS:
        values = [getattr(each, name) for each in drawn]
        assert 0 < values[0] < values[1] < values[2], name
    rates = [each.rate for each in drawn]
    assert 1 > rates[0] > rates[1] > rates[2] >= 0.5
    assert len({each.tremor_hertz for each in drawn}) == 1


def test_what_is_not_asked_for_stays_as_it_is_and_changes_no_draw():
    whole = disorders.draw(0, "ann", "severe")
    part = disorders.draw(0, "ann", "severe", ("tremor",))
    kept = ("tremor_hertz", "tremor_depth", "pitch_tremor")
    untouched = disorders.Disorder()
    for field in dataclasses.fields(whole):
        if field.name in ("speaker", "altered_from", "severity"):
            continue
        like = whole if field.name in kept else untouched
        assert getattr(part, field.name) == getattr(like, field.name)


@pytest.mark.parametrize("severity", ["typical", "sever"])
def test_an_unknown_severity_is_named(severity):
    with pytest.raises(ValueError, match=f"unknown severity '{severity}'"):
        disorders.draw(0, "ann", severity)


def test_an_unknown_alteration_is_named():
    with pytest.raises(ValueError, match="'braeth'. Did you mean breath"):
        disorders.draw(0, "ann", "mild", ("braeth",))
