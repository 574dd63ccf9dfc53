"""The figures of the enrolment benchmark are computed as they are named."""

from tests.benchmarks import enrolment_curve


def row(mode, utterances, word_error_rate):
    return {
        "mode": mode,
        "utterances": utterances,
        "word_error_rate": word_error_rate,
    }


def test_the_data_ratio_is_of_the_fewest_utterances_that_are_enough():
    rows = [
        row("scratch", 20, 12.0),
        row("embedding", 2, 20.0),
        row("embedding", 10, 11.0),
        row("full", 5, 12.0),
        row("zero_shot", 1, 3.0),
    ]
    assert enrolment_curve.data_ratio(rows) == 4.0


def test_there_is_no_data_ratio_where_nothing_is_good_enough():
    rows = [row("scratch", 20, 12.0), row("embedding", 50, 12.5)]
    assert enrolment_curve.data_ratio(rows) is None
    assert enrolment_curve.data_ratio(rows[1:]) is None


def test_a_line_of_the_curve_names_who_kept_the_base():
    text = enrolment_curve.line(
        row("embedding", 5, 12.0) | {"interval": [9.0, 15.0], "refused": 2}
    )
    assert "12.0 % [9.0, 15.0]" in text and "2 kept the base" in text
