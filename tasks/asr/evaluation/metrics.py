"""What each speaker gained: word error rates of the base and the Submodel.

Errors are pooled over the words of a speaker, and speakers are summed up by
their median, so that no speaker with many recordings or a very high error rate
speaks for the others. Rates are fractions and never clipped: insertions may
carry them past 1. Changes are Submodel minus base, in points (hundredths), so a
positive change is harm.
"""

import collections
import dataclasses

from tasks.asr.evaluation import bootstrap, groups, scoring

_MAX_LISTED = 100


@dataclasses.dataclass(frozen=True)
class Transcribed:
    """One utterance as said, as the base heard it and as the Submodel did.

    Attributes:
        speaker: str.
        utt_id: str, unique within the speaker.
        severity: str that the corpus or the user gives, or None. `typical`
            marks a control.
        novelty: one of `scoring.NOVELTIES`, against what the speaker's
            Submodel was trained on.
        reference: str, what was said.
        base_hypothesis: str.
        submodel_hypothesis: str.
        duration: float, seconds.
        simulated: bool.
    """

    speaker: str
    utt_id: str
    severity: str | None
    novelty: str
    reference: str
    base_hypothesis: str
    submodel_hypothesis: str
    duration: float
    simulated: bool


def summarize(
    records,
    normalizer,
    target_word_error_rate,
    train_minutes,
    num_bootstrap=1000,
    seed=0,
):
    """Scores every speaker and sums the speakers up.

    Args:
        records: sequence of `Transcribed`, at least one.
        normalizer: one of `text.NORMALIZERS`.
        target_word_error_rate: float, a fraction; at most this is success
            (Tobin & Tomanek, arXiv 2110.04612).
        train_minutes: dict of speaker to minutes of training speech; a speaker
            may be missing.
        num_bootstrap: int, resamples of the intervals; 0 leaves them out.
        seed: int, not negative; of the resampling.

    Returns:
        JSON-able dict. Figures that are undefined, such as the relative
        reduction of a speaker whom the base never mishears, are None. The
        groups `overall`, `typical`, `moderate_severe`,
        `moderate_severe_given` and those in `by_severity` have the keys of
        `groups.group`. `typical` goes by the given severity;
        `moderate_severe` by the base's measured error rate, given controls
        left out. `typical_change_points` is the mean of the typical speakers'
        changes, each speaker one vote.

    Raises:
        ValueError: no record, one given twice, a speaker of two severities, an
            unknown novelty or normaliser, or a negative number.
    """
    for name, value in (
        ("target_word_error_rate", target_word_error_rate),
        ("num_bootstrap", num_bootstrap),
        ("seed", seed),
    ):
        if not value >= 0:
            raise ValueError(
                f"`{name}` must not be negative. Received: {value}."
            )
    scoring.check(records)
    scored, empty = scoring.score(records, normalizer)
    by_speaker = collections.defaultdict(list)
    for item in scored:
        by_speaker[item.record.speaker].append(item)
    speakers = [
        groups.speaker(
            by_speaker[speaker],
            train_minutes.get(speaker),
            target_word_error_rate,
            num_bootstrap,
            seed,
        )
        for speaker in sorted(by_speaker)
    ]

    def group(belongs):
        chosen = [(row, rates) for row, rates in speakers if belongs(row)]
        return groups.group(
            [row for row, _ in chosen],
            [rates for _, rates in chosen],
            target_word_error_rate,
            seed,
        )

    rows = [row for row, _ in speakers]
    return {
        "normalizer": normalizer,
        "target_word_error_rate": target_word_error_rate,
        "num_bootstrap": num_bootstrap,
        "seed": seed,
        "confidence": bootstrap.CONFIDENCE,
        "measured_upper_bounds": dict(groups.MEASURED_UPPER_BOUNDS),
        "num_simulated_utterances": sum(r.simulated for r in records),
        **_left_out(empty, by_speaker),
        "overall": group(lambda row: True),
        **_headlines(rows, group),
        "by_severity": {
            "given": _by(rows, group, "severity"),
            "measured": _by(rows, group, "measured_severity"),
        },
        "by_novelty": _by_novelty(scored, rows, target_word_error_rate, seed),
        "speakers": rows,
        "samples": scoring.samples(scored),
    }


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


def _headlines(rows, group):
    typical = group(groups.is_control)
    worst = max(
        filter(groups.is_control, rows),
        key=lambda row: row["change_points"],
        default=None,
    )
    typical["worst_speaker"] = worst and worst["speaker"]
    typical["worst_change_points"] = worst and worst["change_points"]
    moderate_severe = group(groups.is_moderate_severe)
    return {
        "median_relative_reduction_moderate_severe": moderate_severe[
            "median_relative_reduction"
        ],
        "typical_change_points": typical["mean_change_points"],
        "typical": typical,
        "moderate_severe": moderate_severe,
        "moderate_severe_given": group(
            lambda row: row["severity"] in ("moderate", "severe"),
        ),
    }


def _by(rows, group, key):
    labels = sorted({row[key] for row in rows}, key=groups.severity_order)
    return {
        label: group(lambda row, of=label: row[key] == of) for label in labels
    }


def _by_novelty(scored, rows, target_word_error_rate, seed):
    """Each kind of phrase as a group without intervals; `unseen` is both."""
    moderate_severe = {
        row["speaker"] for row in rows if groups.is_moderate_severe(row)
    }
    kinds = {novelty: (novelty,) for novelty in scoring.NOVELTIES}
    kinds["unseen"] = scoring.NOVELTIES[1:]
    summed = {}
    for name, novelties in kinds.items():
        by_speaker = collections.defaultdict(list)
        for item in scored:
            if item.record.novelty in novelties:
                by_speaker[item.record.speaker].append(item)
        pooled = {
            speaker: groups.pooled(items)
            for speaker, items in by_speaker.items()
        }
        if not pooled:
            continue
        summed[name], hard = (
            groups.group(
                [pooled[speaker] for speaker in pooled if speaker in speakers],
                [],
                target_word_error_rate,
                seed,
            )
            for speakers in (pooled, moderate_severe)
        )
        summed[name]["median_relative_reduction_moderate_severe"] = hard[
            "median_relative_reduction"
        ]
    return summed


def table(summary):
    """The summary as plain text, at most 96 columns wide.

    Args:
        summary: dict, as `summarize` gives it.

    Returns:
        str of several lines: speakers by given severity, then the medians.
    """
    by_severity = collections.defaultdict(list)
    for row in summary["speakers"]:
        by_severity[row["severity"]].append(row)
    lines = [_COLUMNS, "-" * len(_COLUMNS)]
    for severity, total in summary["by_severity"]["given"].items():
        lines += [_speaker_line(row) for row in by_severity[severity]]
        lines += [_group_line(f"{severity}: median", total), ""]
    lines.append(_group_line("all: median", summary["overall"]))
    return "\n".join(lines + _notes(summary))


_COLUMNS = (
    f"{'speaker':<24} {'measured':<9} {'utts':>5} {'words':>6} {'base %':>7} "
    f"{'Submodel %':>10} {'reduced %':>10} {'points':>8} {'train min':>9}"
)


def _line(name, measured, row, base, submodel, reduction, change, minutes):
    name = "".join(c if c.isprintable() else "?" for c in name)
    name = name if len(name) <= 24 else name[:21] + "..."
    return (
        f"{name:<24} {measured:<9} {row['num_utterances']:>5} "
        f"{row['num_words']:>6} {_shown(base, 100):>7} "
        f"{_shown(submodel, 100):>10} {_shown(reduction, 100):>10} "
        f"{_shown(change, 1, '+'):>8} {_shown(minutes, 1):>9}"
    )


def _speaker_line(row):
    return _line(
        row["speaker"],
        row["measured_severity"],
        row,
        row["base_word_error_rate"],
        row["submodel_word_error_rate"],
        row["relative_reduction"],
        row["change_points"],
        row["train_minutes"],
    )


def _group_line(name, total):
    return _line(
        f"{name} of {total['num_speakers']}",
        "",
        total,
        total["median_base_word_error_rate"],
        total["median_submodel_word_error_rate"],
        total["median_relative_reduction"],
        None,
        None,
    )


def _shown(value, scale, sign=""):
    return "-" if value is None else f"{value * scale:{sign}.1f}"


def _figure(total, key, scale, sign="", unit="%"):
    """A figure with its interval."""
    text = f"{_shown(total[key], scale, sign)} {unit}"
    interval = total["intervals"][key]
    if total[key] is None or interval is None:
        return text
    low, high = (_shown(value, scale, sign) for value in interval)
    return f"{text} ({low} to {high})"


def _notes(summary):
    overall, typical = summary["overall"], summary["typical"]
    hard = summary["moderate_severe"]
    target = _shown(summary["target_word_error_rate"], 100)
    notes = [
        "",
        f"Word error rate, normalizer {summary['normalizer']}; "
        f"{100 * summary['confidence']:.0f} % intervals.",
        "Median, base:         "
        + _figure(overall, "median_base_word_error_rate", 100),
        "Median, Submodel:     "
        + _figure(overall, "median_submodel_word_error_rate", 100),
        "Median reduction:     "
        + _figure(overall, "median_relative_reduction", 100),
        f"  moderate and severe as measured ({hard['num_speakers']}): "
        + _figure(hard, "median_relative_reduction", 100),
        f"At most {target} %: {_shown(overall['success_before'], 100)} % of "
        f"speakers before, {_shown(overall['success_after'], 100)} % after.",
    ]
    if typical["num_speakers"]:
        notes.append(
            f"Typical speakers, mean change: "
            f"{_figure(typical, 'mean_change_points', 1, '+', 'points')}; "
            f"worst {typical['worst_speaker']} "
            f"{_shown(typical['worst_change_points'], 1, '+')}."
        )
    if summary["num_empty_references"]:
        notes.append(
            f"{summary['num_empty_references']} utterances left out: nothing "
            "is left of their reference once normalised."
        )
    if summary["num_simulated_utterances"]:
        notes.append("SIMULATED SPEECH: not clinical evidence.")
    return notes
