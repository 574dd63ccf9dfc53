"""Errors are counted by each utterance's language, and reported by it."""

import pytest

from tasks.asr.evaluation import metrics, scoring, table
from tasks.asr.evaluation.report import page


def transcribed(speaker, utt_id, language, reference, base, submodel=None):
    return scoring.Transcribed(
        speaker=speaker,
        utt_id=utt_id,
        severity=None,
        novelty="unseen_phrase",
        reference=reference,
        base_hypothesis=base,
        submodel_hypothesis=reference if submodel is None else submodel,
        duration=2.0,
        simulated=False,
        language=language,
    )


RECORDS = [
    # English rules: one word error of three.
    transcribed("ann", "0", "en", "I won't stop", "I will not"),
    # Letters of another language keep their accents: one error of two.
    transcribed("bob", "0", "de", "schön hier", "schon hier"),
    transcribed("bob", "1", "de", "so geht es", "so geht es"),
    # No spaces between words: two errors of five characters.
    transcribed("cy", "0", "ja", "電気を切る", "電気をつけ"),
    # A speaker of two languages counts in both, with what was said in each.
    transcribed("dee", "0", "de", "ja", "nein"),
    transcribed("dee", "1", "en", "colour", "color"),
]


@pytest.fixture(scope="module")
def summary():
    return metrics.summarize(RECORDS, "auto", 0.15, {"bob": 2.0}, 50)


def test_each_language_has_its_normalizer(summary):
    assert summary["normalizer"] == "auto"
    assert summary["normalizer_by_language"] == {
        "de": "basic",
        "en": "english",
        "ja": "characters",
    }
    rates = {
        row["speaker"]: row["base_word_error_rate"]
        for row in summary["speakers"]
    }
    # "won't" is two words of English, "will not".
    assert rates["ann"] == pytest.approx(1 / 4)
    assert rates["bob"] == pytest.approx(1 / 5)
    assert rates["cy"] == pytest.approx(2 / 5)
    # "colour" and "color" are one English word.
    assert rates["dee"] == pytest.approx(1 / 2)


def test_each_language_has_the_figures_of_what_was_said_in_it(summary):
    by_language = summary["by_language"]
    assert list(by_language) == ["de", "en", "ja"]
    assert {k: v["num_speakers"] for k, v in by_language.items()} == {
        "de": 2,
        "en": 2,
        "ja": 1,
    }
    german = by_language["de"]
    assert german["num_utterances"] == 3
    # The median of bob's 1/5 and dee's 1.
    assert german["median_base_word_error_rate"] == pytest.approx(0.6)
    assert german["median_submodel_word_error_rate"] == 0.0
    assert by_language["en"]["median_base_word_error_rate"] == (
        pytest.approx((1 / 4 + 0) / 2)
    )
    low, high = german["intervals"]["median_base_word_error_rate"]
    assert low <= 0.6 <= high
    languages = {
        row["speaker"]: row["languages"] for row in summary["speakers"]
    }
    assert languages["dee"] == ["de", "en"] and languages["cy"] == ["ja"]


def test_the_table_and_the_report_show_them(summary):
    text = table.text(summary)
    assert "in de: median of 2" in text and "in ja: median of 1" in text
    assert "normalizer auto (de basic, en english, ja characters)" in text
    shown = page.render(summary, [], {})
    assert "<h2>By language</h2>" in shown
    assert "<td>de, en</td>" in shown
    assert "auto (de basic, en english, ja characters)" in shown


def test_one_language_needs_no_table_of_its_own():
    one = metrics.summarize(RECORDS[:1], "auto", 0.15, {}, 50)
    assert one["normalizer"] == "english"
    assert list(one["by_language"]) == ["en"]
    assert "in en: median" not in table.text(one)
    assert "<h2>By language</h2>" not in page.render(one, [], {})
    unnamed = [transcribed("ann", "0", "", "on", "off")]
    unnamed = metrics.summarize(unnamed, "auto", 0.15, {}, 50)
    assert list(unnamed["by_language"]) == ["unknown"]


def test_rules_of_another_language_are_refused():
    with pytest.raises(ValueError, match="`english` is for English.*'de'"):
        metrics.summarize(RECORDS, "english", 0.15, {}, 50)
