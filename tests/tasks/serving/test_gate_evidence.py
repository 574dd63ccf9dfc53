"""Evaluation's figures decide, and a figure that is missing refuses."""

import json
import pathlib

import pytest

from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tasks.asr.evaluation import metrics, scoring
from tasks.serving import gate_evidence
from tests import stored

SAID = "turn the kitchen light on"
MISHEARD = "turn a chicken like on"


def results(folder, by_speaker, num_bootstrap=200, compared=stored.FINGERPRINT):
    """Writes a results.json.

    Args:
        by_speaker: dict of speaker to a list of pairs, whether the base and
            whether the Submodel hears an utterance.
        compared: fingerprint of the base model that the base's column is of.
    """
    records = [
        scoring.Transcribed(
            speaker=speaker,
            utt_id=str(index),
            severity=None,
            novelty="unseen_phrase",
            reference=SAID,
            base_hypothesis=SAID if base else MISHEARD,
            submodel_hypothesis=SAID if adapted else MISHEARD,
            duration=2.0,
            simulated=False,
        )
        for speaker, heard in by_speaker.items()
        for index, (base, adapted) in enumerate(heard)
    ]
    summary = metrics.summarize(records, "basic", 0.15, {}, num_bootstrap)
    summary["details"] = {
        "base_fingerprint": stored.FINGERPRINT,
        "compared_fingerprint": compared,
    }
    summary["submodel_sha256"] = {
        speaker: metadata(speaker).sha256 for speaker in by_speaker
    }
    path = folder / "results.json"
    path.write_text(json.dumps(summary))
    return str(path)


def test_the_cohort_stands_beside_base_and_submodel(tmp_path):
    path = pathlib.Path(
        results(tmp_path, {"F01": [(False, True)] * 15 + [(True, True)] * 5})
    )
    found = json.loads(path.read_text())
    (row,) = found["speakers"]
    row |= {"cohort_word_error_rate": 0.1, "change_over_cohort_points": -10.0}
    row["intervals"]["change_over_cohort_points"] = [-15.0, 2.0]
    path.write_text(json.dumps(found))
    gate = gate_evidence.Results(str(path)).gate("F01")
    gate.check(metadata())
    assert ", 10.0 % of the cohort (-10.0 points, -15.0 to +2.0);" in (
        gate.describe()
    )
    # Whom the cohort serves better, for sure, is to be served by it.
    row |= {"cohort_word_error_rate": 0.0, "change_over_cohort_points": 5.0}
    row["intervals"]["change_over_cohort_points"] = [1.0, 9.0]
    path.write_text(json.dumps(found))
    gate = gate_evidence.Results(str(path)).gate("F01")
    with pytest.raises(submodel_store.GateError, match="cohort serves them"):
        gate.check(metadata())


def metadata(speaker="F01", value=0.0):
    return submodel_file.load(stored.data(value, speaker)).metadata


def test_a_clear_gain_passes(tmp_path):
    heard = [(False, True)] * 15 + [(True, True)] * 5
    read = gate_evidence.Results(results(tmp_path, {"F01": heard}))
    gate = read.gate("F01")
    gate.check(metadata())
    assert gate.num_utterances == 20
    assert gate.submodel_word_error_rate == 0.0
    assert gate.base_word_error_rate == pytest.approx(0.45)
    assert gate.change_points == pytest.approx(-45.0)
    assert gate.low < gate.change_points < gate.high
    assert gate.confidence == 0.95
    assert gate.source == read.path


@pytest.mark.parametrize(
    "heard",
    [
        [(True, True)] * 20,
        [(True, False)] * 20,
        # Better on the whole, but chance may explain it.
        [(False, True)] * 3 + [(True, False)] * 1 + [(True, True)] * 16,
        [(False, True)] * 5,
    ],
    ids=["equal", "worse", "uncertain", "too few"],
)
def test_no_shown_gain_is_refused(tmp_path, heard):
    gate = gate_evidence.Results(results(tmp_path, {"F01": heard})).gate("F01")
    with pytest.raises(submodel_store.GateError):
        gate.check(metadata())


def test_figures_of_an_earlier_submodel_let_no_later_one_pass(tmp_path):
    path = results(tmp_path, {"F01": [(False, True)] * 9})
    gate = gate_evidence.Results(path).gate("F01")
    gate.check(metadata())
    with pytest.raises(submodel_store.GateError, match="another Submodel"):
        gate.check(metadata(value=1.0))


def test_every_speaker_has_figures_of_their_own(tmp_path):
    read = gate_evidence.Results(
        results(
            tmp_path, {"F01": [(False, True)] * 9, "F02": [(True, True)] * 9}
        )
    )
    read.gate("F01").check(metadata("F01"))
    with pytest.raises(submodel_store.GateError, match="interval"):
        read.gate("F02").check(metadata("F02"))
    with pytest.raises(submodel_store.GateError, match="no figures on 'F03'"):
        read.gate("F03")


def test_without_an_interval_nothing_passes(tmp_path):
    path = results(tmp_path, {"F01": [(False, True)] * 9}, num_bootstrap=0)
    with pytest.raises(submodel_store.GateError, match="no interval"):
        gate_evidence.Results(path).gate("F01")
    path = results(tmp_path, {"F01": [(False, True)]})
    with pytest.raises(submodel_store.GateError, match="at least two utter"):
        gate_evidence.Results(path).gate("F01")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"speakers": 1}', '{"confidence": NaN}', "\xff"],
)
def test_another_file_is_named(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="other.json: not the results.json"):
        gate_evidence.Results(str(path))


@pytest.mark.parametrize(
    "key, value",
    [("intervals", {}), ("num_words", "many"), ("change_points", None)],
)
def test_a_damaged_row_is_named(tmp_path, key, value):
    path = results(tmp_path, {"F01": [(False, True)] * 9})
    summary = json.loads((tmp_path / "results.json").read_text())
    summary["speakers"][0][key] = value
    (tmp_path / "results.json").write_text(json.dumps(summary))
    with pytest.raises(ValueError, match="'F01' are damaged"):
        gate_evidence.Results(path).gate("F01")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing.json"):
        gate_evidence.Results(str(tmp_path / "nothing.json"))


def test_a_gain_over_another_base_model_is_none(tmp_path):
    path = results(tmp_path, {"F01": [(False, True)] * 20}, compared="0" * 64)
    with pytest.raises(ValueError, match="without --compare_with"):
        gate_evidence.Results(path)
