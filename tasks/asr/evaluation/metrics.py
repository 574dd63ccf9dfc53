"""The figures of an evaluation: what each speaker and each group gained.

Errors are pooled over the words of a speaker, and speakers are summed up by
their median, so that no speaker with many recordings or a very high error rate
speaks for the others. Rates are fractions and never clipped: insertions may
carry them past 1. Changes are Submodel minus base, in points (hundredths), so a
positive change is harm. Those over the cohort are Submodel minus cohort: what
being personal adds.
"""

import collections
import functools
from collections import abc
from typing import Any

from tasks.asr.data import text
from tasks.asr.evaluation import bootstrap, groups, scoring, severity
from tasks.asr.recognition import statuses

_MAX_LISTED = 100


def summarize(
    records: abc.Sequence[scoring.Transcribed],
    normalizer: str,
    target_word_error_rate: float,
    train_minutes: abc.Mapping[str, float],
    num_bootstrap: int = 1000,
    seed: int = 0,
    num_heard: int = 0,
) -> dict[str, Any]:
    """Scores every speaker and sums the speakers up.

    Args:
        normalizer: `text.AUTO` or one of `text.NORMALIZERS`.
        target_word_error_rate: fraction; a speaker's success is a rate of at
            most this (Tobin & Tomanek, arXiv 2110.04612).
        train_minutes: dict of speaker to minutes of training speech; a speaker
            may be missing.
        num_bootstrap: resamples of the intervals; 0 leaves the intervals out.
        seed: seed of the resampling, not negative.
        num_heard: utterances that were left out since Submodels had learned
            from them.

    Returns:
        JSON-able dict, in which undefined figures are None, such as the
        relative reduction of a speaker whom the base never mishears. `typical`
        goes by the given severity; `moderate_severe` by the base's measured
        error rate, without controls.

    Raises:
        ValueError: no record, one given twice, a speaker of two severities, an
            unknown normaliser, or a negative number.
    """
    _check_not_negative(
        target_word_error_rate=target_word_error_rate,
        num_bootstrap=num_bootstrap,
        seed=seed,
    )
    scoring.check(records)
    scored, empty = scoring.score(records, normalizer)
    by_speaker = _by_speaker(scored)
    figures = (target_word_error_rate, num_bootstrap, seed)
    speakers = [
        groups.speaker(by_speaker[each], train_minutes.get(each), *figures)
        for each in sorted(by_speaker)
    ]
    rows = [row for row, _ in speakers]
    group = functools.partial(_group, speakers, target_word_error_rate, seed)
    return {
        **_normalizers(records, normalizer),
        "target_word_error_rate": target_word_error_rate,
        "num_bootstrap": num_bootstrap,
        "seed": seed,
        "confidence": bootstrap.CONFIDENCE,
        "measured_upper_bounds": dict(severity.MEASURED_UPPER_BOUNDS),
        "num_heard_left_out": num_heard,
        "num_simulated_utterances": sum(r.simulated for r in records),
        **_left_out(empty, by_speaker),
        **_cut(records),
        "overall": group(lambda row: True),
        "with_cohort": group(groups.has_cohort),
        **_headlines(rows, group),
        "by_severity": {
            "given": _by(rows, group, "severity"),
            "measured": _by(rows, group, "measured_severity"),
        },
        "by_language": _by_language(scored, train_minutes, *figures),
        "by_novelty": _by_novelty(scored, rows, target_word_error_rate, seed),
        "speakers": rows,
        "samples": scoring.samples(scored),
    }


def _check_not_negative(**values):
    for name, value in values.items():
        # NaN is refused, too.
        if not value >= 0:
            raise ValueError(
                f"`{name}` must not be negative. Received: {value}."
            )


def _by_speaker(scored):
    result = collections.defaultdict(list)
    for item in scored:
        result[item.record.speaker].append(item)
    return result


def _group(speakers, target_word_error_rate, seed, belongs):
    """The group of the speakers whose row `belongs` to it."""
    chosen = [(row, rates) for row, rates in speakers if belongs(row)]
    return groups.group(
        [row for row, _ in chosen],
        [rates for _, rates in chosen],
        target_word_error_rate,
        seed,
    )


def _normalizers(records, normalizer):
    """The normaliser, and which one it is for each language."""
    by_language = {
        language or severity.UNKNOWN: text.choose(normalizer, language)
        for language in sorted({record.language for record in records})
    }
    one = set(by_language.values())
    name = one.pop() if len(one) == 1 else normalizer
    return {"normalizer": name, "normalizer_by_language": by_language}


def _by_language(scored, train_minutes, target_word_error_rate, *figures):
    """A group for each language, with what its speakers said in it."""
    by_language = collections.defaultdict(list)
    for item in scored:
        by_language[item.record.language].append(item)
    result = {}
    for language, items in sorted(by_language.items()):
        speakers = [
            groups.speaker(
                own, train_minutes.get(each), target_word_error_rate, *figures
            )
            for each, own in sorted(_by_speaker(items).items())
        ]
        seed = figures[-1]
        result[language or severity.UNKNOWN] = _group(
            speakers, target_word_error_rate, seed, lambda row: True
        )
    return result


def _left_out(empty, by_speaker):
    return {
        "num_empty_references": len(empty),
        "empty_references": [
            f"{record.speaker}/{record.utt_id}"
            for record in empty[:_MAX_LISTED]
        ],
        "speakers_left_out": sorted(
            {record.speaker for record in empty} - set(by_speaker)
        ),
    }


def _cut(records):
    """The numbers of texts whose end is missing."""
    return {
        f"num_cut_by_{system}": sum(
            getattr(record, f"{system}_status") != statuses.OK
            for record in records
        )
        for system in groups.SYSTEMS
    }


def _headlines(rows, group):
    typical = group(groups.is_control)
    worst = max(
        filter(groups.is_control, rows),
        key=lambda row: row["change_points"],
        default={"speaker": None, "change_points": None},
    )
    typical["worst_speaker"] = worst["speaker"]
    typical["worst_change_points"] = worst["change_points"]
    moderate_severe = group(groups.is_moderate_severe)
    reduction = moderate_severe["median_relative_reduction"]
    return {
        "median_relative_reduction_moderate_severe": reduction,
        "typical_change_points": typical["mean_change_points"],
        "typical": typical,
        "moderate_severe": moderate_severe,
        "moderate_severe_given": group(
            lambda row: row["severity"] in ("moderate", "severe"),
        ),
    }


def _by(rows, group, key):
    labels = sorted({row[key] for row in rows}, key=severity.order)
    return {
        label: group(lambda row, label=label: row[key] == label)
        for label in labels
    }


def _by_novelty(scored, rows, target_word_error_rate, seed):
    """Groups by kind of phrase, without intervals; `unseen` is both kinds."""
    hard = {row["speaker"] for row in rows if groups.is_moderate_severe(row)}
    kinds = {novelty: (novelty,) for novelty in scoring.NOVELTIES}
    kinds |= {"unseen": scoring.NOVELTIES[1:]}
    result = {}
    for name, novelties in kinds.items():
        chosen = [item for item in scored if item.record.novelty in novelties]
        if not chosen:
            continue
        pooled = {
            speaker: groups.pooled(items)
            for speaker, items in _by_speaker(chosen).items()
        }
        all_rows = list(pooled.values())
        hard_rows = [row for each, row in pooled.items() if each in hard]
        result[name], of_hard = (
            groups.group(some, [], target_word_error_rate, seed)
            for some in (all_rows, hard_rows)
        )
        reduction = of_hard["median_relative_reduction"]
        result[name]["median_relative_reduction_moderate_severe"] = reduction
    return result
