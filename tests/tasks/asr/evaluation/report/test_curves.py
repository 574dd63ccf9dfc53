"""Learning curves name the speakers whose lines they draw."""

import matplotlib
import numpy as np
import pytest

from tasks.asr.evaluation.report import curves, svg


def history(speakers, num_steps=3):
    """Rows in which a later speaker's losses are higher."""
    return [
        {
            "speaker": speaker,
            "step": 10 * step,
            "train_loss": 1 / step + 0.01 * place,
            "dev_loss": 2 / step + 0.01 * place,
        }
        for place, speaker in enumerate(speakers)
        for step in range(1, num_steps + 1)
    ]


def drawn(rows, severities):
    with matplotlib.rc_context(svg.STYLE):
        return svg.element(curves.losses(rows, severities), "curves")


def test_every_line_is_named_in_both_panels():
    speakers = ["ann", "bo_b", "$x^2$", "_cy", "李雷"]
    text = drawn(history(speakers), {"ann": "mild"})
    for name in ("ann", "bo_b", "$x^2$", "cy", "李雷"):
        assert text.count(f">{name}</text>") == 2, name


def test_among_many_speakers_the_highest_losses_are_named():
    speakers = [f"S{place:03d}" for place in range(60)]
    text = drawn(history(speakers), {})
    for speaker in speakers[-4:]:
        assert text.count(f">{speaker}</text>") == 2
    assert f">{speakers[0]}</text>" not in text
    assert "Median speaker" in text


@pytest.mark.parametrize(
    "wanted",
    [
        [0.5],
        [0.1, 0.5, 0.9],
        [0.0, 0.0, 0.0],
        [0.2, 0.21, 0.22, 0.6, 0.61],
        [0.3, 0.34, 0.38, 0.39, 0.4],
    ],
)
def test_names_stand_apart_in_the_order_of_their_lines(wanted):
    places = curves._apart(wanted, 0.05)
    assert len(places) == len(wanted) and places[0] >= 0
    assert np.all(np.diff(places) >= 0.05 - 1e-9)
    assert np.max(np.abs(np.subtract(places, wanted))) <= 0.05 * len(wanted)


def test_without_a_loss_there_is_nothing_to_draw():
    rows = [{"speaker": "ann", "step": 1, "train_loss": float("nan")}]
    assert curves.losses(rows, {}) is None
