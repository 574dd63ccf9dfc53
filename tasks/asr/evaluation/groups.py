"""The figures of one speaker, and of a group of speakers.

A group is summed up by the same function whether its speakers are the real
ones or a resampling of them, so that a figure and its interval cannot part.
"""

import warnings
from collections import abc
from typing import Any

import numpy as np

from tasks.asr.evaluation import bootstrap, scoring, severity

# In the order of resampled rates.
SYSTEMS = ("base", "submodel", "cohort")


def is_control(row: dict[str, Any]) -> bool:
    """Whether a speaker's row is that of a speaker given as typical."""
    return row["severity"] == "typical"


def has_cohort(row: dict[str, Any]) -> bool:
    """Whether a speaker's cohort was heard, too."""
    return row["cohort_word_error_rate"] is not None


def is_moderate_severe(row: dict[str, Any]) -> bool:
    """Whether the base's errors, not a label, show moderate or severe."""
    is_hard = row["measured_severity"] in ("moderate", "severe")
    return is_hard and not is_control(row)


def speaker(
    scored: abc.Sequence[scoring.Scored],
    train_minutes: float | None,
    target_word_error_rate: float,
    num_bootstrap: int,
    seed: int,
) -> tuple[dict[str, Any], np.ndarray]:
    """One speaker's JSON-able row, and resampled rates `[num_bootstrap, 3]`.

    The rates are those of the base, of the Submodel and of the cohort, NaN
    where there is none. Intervals are over the speaker's utterances, and
    None below `bootstrap.FEWEST` of them.
    """
    record = scored[0].record
    words = np.array([s.words for s in scored])
    errors = np.array(
        [(s.base_errors, s.submodel_errors, s.cohort_errors) for s in scored],
        float,
    )
    resampled = bootstrap.speaker_rates(
        record.speaker, words, errors, num_bootstrap, seed
    )
    base, submodel, cohort = resampled.T
    row = {
        "speaker": record.speaker,
        "severity": record.given_severity,
        "languages": sorted({s.record.language for s in scored}),
        "simulated": any(s.record.simulated for s in scored),
        "test_minutes": sum(s.record.duration for s in scored) / 60,
        "train_minutes": train_minutes,
    }
    row |= pooled(scored)
    row["measured_severity"] = severity.measured(row["base_word_error_rate"])
    for when, system in (("before", "base"), ("after", "submodel")):
        rate = row[f"{system}_word_error_rate"]
        row[f"success_{when}"] = rate <= target_word_error_rate
    intervals = {
        "base_word_error_rate": bootstrap.interval(base),
        "submodel_word_error_rate": bootstrap.interval(submodel),
        "relative_reduction": bootstrap.interval(
            _relative_reduction(base, submodel)
        ),
        "change_points": bootstrap.interval(100 * (submodel - base)),
        "cohort_word_error_rate": bootstrap.interval(cohort),
        "change_over_cohort_points": bootstrap.interval(
            100 * (submodel - cohort)
        ),
    }
    has_spread = len(scored) >= bootstrap.FEWEST
    row["intervals"] = intervals if has_spread else dict.fromkeys(intervals)
    row["by_novelty"] = {
        novelty: pooled([s for s in scored if s.record.novelty == novelty])
        for novelty in sorted({s.record.novelty for s in scored})
    }
    return row, resampled


def pooled(scored: abc.Sequence[scoring.Scored]) -> dict[str, Any]:
    """Errors pooled over the words of utterances of one speaker."""
    words = sum(s.words for s in scored)
    base = sum(s.base_errors for s in scored) / words
    submodel = sum(s.submodel_errors for s in scored) / words
    of_cohort = [s.cohort_errors for s in scored if s.cohort_errors is not None]
    # Somebody either has a cohort or has none.
    cohort = sum(of_cohort) / words if len(of_cohort) == len(scored) else None
    return {
        "num_utterances": len(scored),
        "num_words": words,
        "base_word_error_rate": base,
        "submodel_word_error_rate": submodel,
        "relative_reduction": _number(_relative_reduction(base, submodel)),
        "change_points": 100 * (submodel - base),
        "cohort_word_error_rate": cohort,
        "change_over_cohort_points": (
            None if cohort is None else 100 * (submodel - cohort)
        ),
    }


def group(
    rows: abc.Sequence[dict[str, Any]],
    resampled: abc.Sequence[np.ndarray],
    target_word_error_rate: float,
    seed: int,
) -> dict[str, Any]:
    """Sums up the rows of a group of speakers.

    Args:
        rows: rows from `speaker`, or from `pooled` where no intervals are
            wanted; may be empty.
        resampled: error rates `[num_bootstrap, 3]` of each row; empty where
            no intervals are wanted.

    Returns:
        JSON-able dict: counts, the figures of `_figures` (None where there is
        no speaker), and `intervals`, `[low, high]` or None for each of them.
    """
    rates = np.array(
        [
            [row[f"{system}_word_error_rate"] for system in SYSTEMS]
            for row in rows
        ],
        float,
    ).reshape(-1, len(SYSTEMS))
    figures = _figures(rates, target_word_error_rate)
    intervals = dict.fromkeys(figures)
    has_spread = sum(row["num_utterances"] for row in rows) >= bootstrap.FEWEST
    if has_spread and resampled and len(resampled[0]):
        drawn = bootstrap.draw_speakers(
            [row["speaker"] for row in rows], np.stack(resampled), seed
        )
        intervals = {
            key: bootstrap.interval(values)
            for key, values in _figures(drawn, target_word_error_rate).items()
        }
    return {
        "num_speakers": len(rows),
        "num_utterances": sum(row["num_utterances"] for row in rows),
        "num_words": sum(row["num_words"] for row in rows),
        "num_speakers_with_cohort": sum(map(has_cohort, rows)),
        "num_undefined_reductions": sum(
            row["relative_reduction"] is None for row in rows
        ),
        **{key: _number(value) for key, value in figures.items()},
        "intervals": intervals,
    }


def _figures(rates, target_word_error_rate):
    """Sums up the speaker axis of `[..., speakers, 3]`.

    Every speaker has one vote in the mean change, however many words they
    said. A reduction that is undefined has no vote in the median, and who has
    no cohort has none in its figures.
    """
    base, submodel, cohort = (rates[..., i] for i in range(len(SYSTEMS)))
    with warnings.catch_warnings():
        # No speaker, or none with a defined reduction: NaN is the answer.
        warnings.simplefilter("ignore", RuntimeWarning)
        return {
            "median_base_word_error_rate": np.median(base, axis=-1),
            "median_submodel_word_error_rate": np.median(submodel, axis=-1),
            "median_relative_reduction": np.nanmedian(
                _relative_reduction(base, submodel), axis=-1
            ),
            "mean_change_points": 100 * np.mean(submodel - base, axis=-1),
            "median_cohort_word_error_rate": np.nanmedian(cohort, axis=-1),
            "mean_change_over_cohort_points": 100
            * np.nanmean(submodel - cohort, axis=-1),
            "median_reduction_over_cohort": np.nanmedian(
                _relative_reduction(cohort, submodel), axis=-1
            ),
            "success_before": np.mean(base <= target_word_error_rate, axis=-1),
            "success_after": np.mean(
                submodel <= target_word_error_rate, axis=-1
            ),
        }


def _relative_reduction(base, submodel):
    """(base - submodel) / base, NaN where base is 0; arrays of one shape."""
    base, submodel = np.asarray(base, float), np.asarray(submodel, float)
    undefined = np.full(base.shape, np.nan)
    return np.divide(base - submodel, base, out=undefined, where=base > 0)


def _number(value):
    """A float that JSON can hold: None for NaN."""
    return float(value) if np.isfinite(value) else None
