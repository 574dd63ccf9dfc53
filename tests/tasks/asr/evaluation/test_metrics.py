import dataclasses
import json
import random
import time

import numpy as np
import pytest

from tasks.asr.data import text
from tasks.asr.evaluation import bootstrap, metrics, scoring, table


def transcribed(
    speaker="A",
    utt_id="0",
    reference="turn on the light",
    base="turn on the light",
    submodel="turn on the light",
    severity="severe",
    novelty="unseen_phrase",
    duration=2.0,
    simulated=False,
    cohort=None,
):
    return scoring.Transcribed(
        speaker,
        utt_id,
        severity,
        novelty,
        reference,
        base,
        submodel,
        duration,
        simulated,
        cohort_hypothesis=cohort,
    )


def summarize(records, normalizer="basic", target=0.15, minutes=None, **kwargs):
    kwargs.setdefault("num_bootstrap", 50)
    return metrics.summarize(
        records, normalizer, target, minutes or {}, **kwargs
    )


def noisy_speakers(num_speakers, num_utterances, base_rate, submodel_rate):
    """Ten-word utterances whose words are each lost at a given rate."""
    random_ = np.random.default_rng(3)
    words = [f"word{i}" for i in range(10)]

    def heard(rate):
        return " ".join(w for w in words if random_.random() >= rate)

    return [
        transcribed(
            f"S{s:03d}",
            f"{u:04d}",
            " ".join(words),
            heard(base_rate),
            heard(submodel_rate),
        )
        for s in range(num_speakers)
        for u in range(num_utterances)
    ]


@pytest.mark.parametrize(
    "hypothesis, errors",
    [
        ("turn on the light", 0),
        ("turn of the light", 1),  # a substitution
        ("turn on light", 1),  # a deletion
        ("turn it on the light", 1),  # an insertion
        ("", 4),
        ("please turn off light now now", 5),
    ],
)
def test_word_errors_equal_those_counted_by_hand(hypothesis, errors):
    assert scoring.word_errors(["turn on the light"], [hypothesis]) == [errors]


def test_errors_are_pooled_over_words_not_averaged_over_utterances():
    summary = summarize(
        [
            # 1 error of 1 word, and 1 of 9: 2/10 pooled, 5/9 averaged.
            transcribed(utt_id="0", reference="stop", base="shop"),
            transcribed(
                utt_id="1",
                reference="a b c d e f g h i",
                base="a b c d e f g h j",
                submodel="a b c d e f g h i",
            ),
        ]
    )
    (row,) = summary["speakers"]
    assert row["num_words"] == 10
    assert row["base_word_error_rate"] == pytest.approx(0.2)
    # "turn on the light" against "stop": one substitution, three insertions.
    assert row["submodel_word_error_rate"] == pytest.approx(0.4)
    assert row["relative_reduction"] == pytest.approx(-1.0)
    assert row["change_points"] == pytest.approx(20.0)


def test_rates_over_100_percent_are_kept():
    summary = summarize(
        [transcribed(reference="stop", base="a b c d", submodel="stop")]
    )
    assert summary["speakers"][0]["base_word_error_rate"] == 4.0
    assert summary["overall"]["median_base_word_error_rate"] == 4.0
    assert " 400.0 " in table.text(summary)


def test_text_is_compared_normalised():
    record = transcribed(reference="Turn on.", base="turn on", submodel="x")
    assert summarize([record], "none")["speakers"][0][
        "base_word_error_rate"
    ] == pytest.approx(1.0)
    for normalizer in ("basic", "english", "torgo"):
        summary = summarize([record], normalizer)
        assert summary["speakers"][0]["base_word_error_rate"] == 0
        assert summary["normalizer"] == normalizer


@pytest.mark.parametrize("normalizer", text.NORMALIZERS)
def test_typography_alone_is_no_error_and_no_word(normalizer):
    record = transcribed(
        reference="Hello … don’t turn\u00a0on the hos\u00adpital light",
        base="\ufeffHello... don't turn on the hospital\u200b light",
        submodel="Hello — don‘t turn on — the hospital light …",
    )
    scored, _ = scoring.score([record], normalizer)
    assert (scored[0].base_errors, scored[0].submodel_errors) == (0, 0)
    # One more where "don't" is two words; 31 where letters are words.
    assert scored[0].words in (7, 8, 31)


def test_empty_references_are_left_out_and_counted():
    summary = summarize(
        [
            transcribed("A", "0"),
            transcribed("A", "1", reference="Um, uh!", base="a b c"),
            transcribed("B", "0", reference=""),
        ],
        "english",
    )
    assert summary["num_empty_references"] == 2
    assert summary["empty_references"] == ["A/1", "B/0"]
    assert summary["speakers_left_out"] == ["B"]
    (row,) = summary["speakers"]
    assert row["num_utterances"] == 1
    assert row["base_word_error_rate"] == 0
    assert "2 utterances left out" in table.text(summary)


def test_texts_whose_end_is_missing_are_scored_and_counted():
    cut = dataclasses.replace(
        transcribed("A", "1", base="turn on"), base_status="CUT: its end"
    )
    summary = summarize([transcribed("A", "0"), cut])
    assert summary["num_cut_by_base"] == 1
    assert summary["num_cut_by_submodel"] == 0
    assert summary["speakers"][0]["num_utterances"] == 2
    assert "end is missing: 1 of the base, 0 of Sub" in table.text(summary)
    whole = summarize([transcribed()])
    assert "end is missing" not in table.text(whole)


def test_nothing_but_empty_references_still_makes_a_summary():
    summary = summarize([transcribed(reference="...")])
    assert summary["speakers"] == []
    assert summary["overall"]["median_base_word_error_rate"] is None
    assert summary["median_relative_reduction_moderate_severe"] is None
    json.dumps(summary, allow_nan=False)
    assert table.text(summary)


def test_reduction_of_a_speaker_without_base_errors_is_undefined():
    summary = summarize(
        [
            transcribed("A", base="turn on the light", submodel="turn on"),
            transcribed("B", base="", submodel="turn on the"),
        ]
    )
    assert summary["speakers"][0]["relative_reduction"] is None
    assert summary["overall"]["num_undefined_reductions"] == 1
    assert summary["overall"]["median_relative_reduction"] == 0.75
    json.dumps(summary, allow_nan=False)


def test_speakers_are_summed_up_by_their_median_and_share_of_success():
    bases = ["", "turn", "turn on", "turn on the", "turn on the light"]
    summary = summarize(
        [
            transcribed(f"S{i}", base=base, submodel="turn on the light")
            for i, base in enumerate(bases)
        ],
        target=0.25,
    )
    overall = summary["overall"]
    assert overall["median_base_word_error_rate"] == 0.5
    assert overall["median_submodel_word_error_rate"] == 0
    assert overall["success_before"] == pytest.approx(2 / 5)
    assert overall["success_after"] == 1


def test_harm_to_typical_speakers_is_positive_and_names_the_worst():
    summary = summarize(
        [
            transcribed("A", severity="typical", submodel="turn on the"),
            transcribed("B", severity="Typical", submodel="turn"),
            transcribed("C", severity="severe", base="", submodel=""),
        ]
    )
    # The mean over two speakers of +25 and +75 points; the third is no control.
    assert summary["typical_change_points"] == pytest.approx(50.0)
    assert summary["typical"]["worst_speaker"] == "B"
    assert summary["typical"]["worst_change_points"] == pytest.approx(75.0)
    assert "+50.0 points" in table.text(summary)


def test_moderate_and_severe_are_measured_and_leave_controls_out():
    words = "turn on the light"
    summary = summarize(
        [
            # Called mild, yet the base misses 3 of 4 words.
            transcribed("A", severity="mild", base="turn", submodel=words),
            # Called severe, yet the base hears it well.
            transcribed("B", severity="severe", base=words, submodel=words),
            transcribed("C", severity="typical", base="", submodel=""),
        ]
    )
    measured = {
        r["speaker"]: r["measured_severity"] for r in summary["speakers"]
    }
    assert measured == {"A": "moderate", "B": "typical", "C": "severe"}
    assert summary["moderate_severe"]["num_speakers"] == 1
    assert summary["median_relative_reduction_moderate_severe"] == 1.0
    assert summary["moderate_severe_given"]["num_speakers"] == 1


def test_speakers_without_severity_are_grouped_as_unknown():
    summary = summarize([transcribed(severity=None, base="")])
    assert list(summary["by_severity"]["given"]) == ["unknown"]
    assert summary["typical_change_points"] is None
    assert summary["median_relative_reduction_moderate_severe"] == 1.0


def test_seen_and_unseen_phrases_are_reported_apart():
    words = "turn on the light"
    summary = summarize(
        [
            transcribed(
                utt_id="0", novelty="seen_phrase", base="", submodel=words
            ),
            transcribed(
                utt_id="1", novelty="unseen_phrase", base="", submodel=""
            ),
            transcribed(
                utt_id="2", novelty="unseen_words", base="", submodel="turn on"
            ),
        ]
    )
    reductions = {
        novelty: group["median_relative_reduction"]
        for novelty, group in summary["by_novelty"].items()
    }
    assert reductions == {
        "seen_phrase": 1.0,
        "unseen_phrase": 0.0,
        "unseen_words": 0.5,
        "unseen": 0.25,
    }
    unseen = summary["by_novelty"]["unseen"]
    assert unseen["median_relative_reduction_moderate_severe"] == 0.25
    row = summary["speakers"][0]
    assert row["by_novelty"]["unseen_words"]["relative_reduction"] == 0.5


def test_order_of_the_records_does_not_matter():
    records = noisy_speakers(6, 5, 0.5, 0.2)
    expected = summarize(records)
    random.Random(0).shuffle(records)
    assert summarize(records) == expected


def test_intervals_follow_the_seed():
    records = noisy_speakers(6, 5, 0.5, 0.2)
    assert summarize(records, seed=1) == summarize(records, seed=1)
    assert (
        summarize(records, seed=1)["overall"]["intervals"]
        != summarize(records, seed=2)["overall"]["intervals"]
    )


def test_interval_of_a_speaker_does_not_depend_on_the_others():
    records = noisy_speakers(4, 8, 0.5, 0.2)
    alone = summarize([r for r in records if r.speaker == "S002"])
    assert alone["speakers"][0] == summarize(records)["speakers"][2]


def test_speaker_interval_covers_the_true_rate_as_often_as_it_says():
    random_ = np.random.default_rng(0)
    covered = 0
    for trial in range(300):
        errors = random_.binomial(10, [0.5, 0.2], size=(60, 2))
        rates = bootstrap.speaker_rates(
            f"S{trial}", np.full(60, 10), errors, 400, 0
        )
        low, high = bootstrap.interval(rates[:, 1] - rates[:, 0])
        covered += low <= -0.3 <= high
    assert 0.90 <= covered / 300 <= 0.985


def test_interval_of_the_median_covers_the_true_median():
    overall = summarize(noisy_speakers(30, 20, 0.5, 0.2), num_bootstrap=500)[
        "overall"
    ]["intervals"]
    for key, truth in (
        ("median_base_word_error_rate", 0.5),
        ("median_submodel_word_error_rate", 0.2),
        ("median_relative_reduction", 0.6),
    ):
        low, high = overall[key]
        assert low < truth < high
        assert high - low < 0.1


def test_pairing_narrows_the_interval_of_a_change():
    """Hard utterances are hard for both systems."""
    random_ = np.random.default_rng(0)
    base = random_.integers(0, 11, size=80)
    errors = np.stack([base, np.maximum(base - 1, 0)], axis=1)
    rates = bootstrap.speaker_rates("A", np.full(80, 10), errors, 1000, 0)
    paired = np.ptp(bootstrap.interval(rates[:, 1] - rates[:, 0]))
    shuffled = rates[random_.permutation(1000), 1] - rates[:, 0]
    assert paired < 0.2 * np.ptp(bootstrap.interval(shuffled))


def test_speakers_are_resampled_as_blocks():
    """Two kinds of speakers, no noise within: only blocks can vary."""
    records = [
        transcribed(f"S{s}", str(u), base="" if s % 2 else "turn on the")
        for s in range(8)
        for u in range(4)
    ]
    summary = summarize(records, num_bootstrap=300)
    low, high = summary["speakers"][1]["intervals"]["base_word_error_rate"]
    assert low == high == 1.0
    low, high = summary["overall"]["intervals"]["median_base_word_error_rate"]
    assert (low, high) == (0.25, 1.0)


def test_no_resampling_leaves_intervals_out():
    summary = summarize(noisy_speakers(2, 2, 0.5, 0.2), num_bootstrap=0)
    assert set(summary["overall"]["intervals"].values()) == {None}
    assert set(summary["speakers"][0]["intervals"].values()) == {None}
    assert table.text(summary)


def test_a_single_utterance_has_no_interval():
    summary = summarize(
        [
            transcribed("A", "0", base="turn the"),
            transcribed("B", "0", base="turn the"),
            transcribed("B", "1"),
        ]
    )
    alone, more = summary["speakers"]
    assert alone["base_word_error_rate"] == 0.5
    assert set(alone["intervals"].values()) == {None}
    assert more["intervals"]["base_word_error_rate"] == [0.0, 0.5]
    overall = summarize([transcribed("A", "0", base="turn the")])["overall"]
    assert overall["median_base_word_error_rate"] == 0.5
    assert set(overall["intervals"].values()) == {None}


def test_a_hundred_speakers_take_a_moment():
    errors = np.random.default_rng(0).integers(0, 5, size=(50, 2))
    start = time.process_time()
    rates = np.stack(
        [
            bootstrap.speaker_rates(str(s), np.full(50, 5), errors, 1000, 0)
            for s in range(100)
        ]
    )
    drawn = bootstrap.draw_speakers([str(s) for s in range(100)], rates, 0)
    assert drawn.shape == (1000, 100, 2)
    assert time.process_time() - start < 3


def test_what_being_personal_adds_is_told_of_those_who_have_a_cohort():
    """Of 8 words each: the base 8 errors, the cohort 4 or 2, Submodels 1."""
    said = "turn on the light"
    records = []
    for speaker, cohort in (
        ("A", "turn on"),
        ("B", "turn on the"),
        ("C", None),
    ):
        records += [
            transcribed(speaker, "0", said, "", said, cohort=cohort),
            transcribed(speaker, "1", said, "", "turn on the", cohort=cohort),
        ]
    summary = summarize(records, num_bootstrap=200)
    a, b, c = summary["speakers"]
    assert [row["cohort_word_error_rate"] for row in (a, b, c)] == [
        0.5,
        0.25,
        None,
    ]
    assert a["change_over_cohort_points"] == pytest.approx(-37.5)
    assert b["change_over_cohort_points"] == pytest.approx(-12.5)
    assert c["change_over_cohort_points"] is None
    # Of two utterances a draw has 0, 1 or 2 of the one with an error.
    assert a["intervals"]["change_over_cohort_points"] == [-50.0, -25.0]
    assert c["intervals"]["change_over_cohort_points"] is None
    overall, with_cohort = summary["overall"], summary["with_cohort"]
    assert overall["num_speakers"] == 3
    assert overall["num_speakers_with_cohort"] == 2
    for group in (overall, with_cohort):
        assert group["median_cohort_word_error_rate"] == 0.375
        assert group["mean_change_over_cohort_points"] == pytest.approx(-25.0)
        assert group["median_reduction_over_cohort"] == pytest.approx(0.625)
        low, high = group["intervals"]["mean_change_over_cohort_points"]
        assert -50.0 <= low < -25.0 < high <= 0.0
    assert with_cohort["num_speakers"] == 2
    lines = table.text(summary).splitlines()
    header = next(i for i, x in enumerate(lines) if "what being pers" in x)
    assert lines[header + 2].split() == (
        "A 100.0 50.0 12.5 -37.5 (-50.0 to -25.0)".split()
    )
    assert lines[header + 4].startswith("all: median of 2")
    assert "-25.0 mean (" in lines[header + 4]
    assert max(map(len, lines)) <= 100
    assert any(x.startswith("cohort: one Submodel") for x in lines)
    # The figures beside it are as without a cohort.
    plain = summarize(
        [dataclasses.replace(r, cohort_hypothesis=None) for r in records],
        num_bootstrap=200,
    )
    assert "cohort" not in table.text(plain)
    for key in ("median_relative_reduction", "mean_change_points"):
        assert plain["overall"][key] == overall[key]
        assert plain["overall"]["intervals"][key] == overall["intervals"][key]


def test_samples_hold_every_regression_and_few_improvements_of_a_speaker():
    records = [transcribed("A", f"better{i}", base="") for i in range(10)] + [
        transcribed("B", f"worse{i}", submodel="turn") for i in range(10)
    ]
    samples = summarize(records)["samples"]
    assert samples["num_improved"] == samples["num_regressed"] == 10
    assert len(samples["regressions"]) == 10
    assert len(samples["improvements"]) == 2
    worse = samples["regressions"][0]
    assert (worse["base_errors"], worse["submodel_errors"]) == (0, 3)


def test_minutes_of_speech_and_simulation_are_told():
    summary = summarize(
        [
            transcribed("A", "0", duration=90.0, simulated=True),
            transcribed("B", "0", duration=30.0),
        ],
        minutes={"A": 3.5},
    )
    a, b = summary["speakers"]
    assert (a["test_minutes"], a["train_minutes"]) == (1.5, 3.5)
    assert b["train_minutes"] is None
    assert summary["num_simulated_utterances"] == 1
    assert "SIMULATED SPEECH: not clinical evidence" in table.text(summary)


def test_table_explains_its_columns_and_names_rates_of_few_words():
    sentence = "turn on the light and then turn it off"
    lines = table.text(
        summarize(
            [transcribed("amy")]
            + [transcribed("zoe", f"{n}", sentence) for n in range(6)]
        )
    )
    for word in ("base: ", "measured: ", "points: ", "train min: ", "100 %"):
        assert word in lines
    assert "Rates of fewer than 50 words, which say little:\n  amy\n" in lines


def test_table_groups_speakers_by_severity_mildest_first():
    lines = table.text(
        summarize(
            [
                transcribed("zoe", severity="typical"),
                transcribed("amy", severity="severe", base=""),
                transcribed(
                    "a-very-long-speaker-name-\x1b[31m", severity="mild"
                ),
            ]
        )
    )
    places = [lines.index(w) for w in ("zoe", "a-very-long", "amy", "all:")]
    assert places == sorted(places)
    assert max(map(len, lines.splitlines())) <= 100
    assert "\x1b" not in lines


@pytest.mark.parametrize(
    "records, message",
    [
        ([], "no records"),
        ([transcribed(), transcribed()], "'A', utterance '0'"),
        (
            [transcribed(), transcribed(utt_id="1", severity="mild")],
            "one severity.*'severe' and 'mild'",
        ),
    ],
)
def test_unusable_records_are_refused_by_name(records, message):
    with pytest.raises(ValueError, match=message):
        summarize(records)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"novelty": "new"}, "'A', utterance '0'.*unseen_words.*'new'"),
        ({"duration": -1.0}, "`duration`.*-1"),
        ({"duration": float("nan")}, "`duration`.*nan"),
    ],
)
def test_an_impossible_utterance_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        transcribed(**changes)


def test_negative_target_is_refused():
    with pytest.raises(ValueError, match="target_word_error_rate.*-1"):
        summarize([transcribed()], target=-1)
