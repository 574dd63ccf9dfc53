"""A cohort hears the test speech too, and stands beside base and Submodel."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from lingvo_like.submodel import file as submodel_file
from tasks import api
from tasks.asr.evaluation import program
from tasks.asr.training import model_directory
from tests import tiny
from tests.tasks.asr.training import (
    compiled_once,
    test_cohorts as trainings,
    test_program,
)


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Five people's speech with their languages, and new speech to test on."""
    folder = tmp_path_factory.mktemp("speech")
    for name, seed, count in (("train", 0, 4), ("dev", 1, 2), ("test", 2, 3)):
        tiny.recordings(folder, trainings.LANGUAGES, count, seed, name)
        path = folder / f"{name}.jsonl"
        lines = test_program.lines_of(path)
        for line in lines:
            line["language"] = trainings.LANGUAGES[line["speaker"]]
        test_program.write_lines(path, lines)
    tiny.base().save(str(folder / "base"))
    return folder


def altered(path):
    """Replaces a Submodel by one whose texts are others."""
    found = submodel_file.load(path)
    draw = np.random.default_rng(len(found.metadata.speaker))
    tensors = {
        name: 3.0 * draw.standard_normal(each.shape, dtype=np.float32)
        for name, each in found.tensors.items()
    }
    submodel_file.save(
        path,
        submodel_file.create(
            found.layout,
            tensors,
            base_fingerprint=found.metadata.base_fingerprint,
            speaker=found.metadata.speaker,
            heard=found.metadata.heard,
        ),
    )
    return submodel_file.load(path).metadata.sha256


@pytest.fixture(scope="module")
def run(speech):
    """A run whose cohorts can be told from base and speakers by their texts."""
    with compiled_once.sharing():
        made = trainings.train(
            speech, speech / "run", data="", cohort="language"
        )
    saved = made.read_experiment()
    for cohort in saved["cohort"]["submodels"].values():
        cohort["sha256"] = altered(made.in_folder(cohort["path"]))
    made.write_experiment(saved)
    return made


def hypotheses(folder):
    path = pathlib.Path(folder) / "hypotheses.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_speaker_is_heard_by_their_own_cohort(speech, run, tmp_path):
    found = api.evaluate(
        run.path, str(speech / "test.jsonl"), output_dir=str(tmp_path / "out")
    )
    rows = {row["speaker"]: row for row in found.summary["speakers"]}
    for speaker, row in rows.items():
        has_cohort = speaker != "eve"
        assert (row["cohort_word_error_rate"] is not None) == has_cohort
        assert (row["change_over_cohort_points"] is not None) == has_cohort
    assert found.summary["with_cohort"]["num_speakers"] == 4
    details = json.loads((tmp_path / "out" / "results.json").read_text())[
        "details"
    ]
    assert set(details["cohorts"]) == {
        "cohort of language en",
        "cohort of language es",
    }
    page = pathlib.Path(found.report).read_text()
    assert "Over the cohort, points" in page
    # The cohort's own learning curve is drawn, and named.
    assert "cohort of language" in page
    # As if each speaker's own Submodel were the cohort's.
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    directory = model_directory.ModelDirectory(str(copy))
    for speaker, language in trainings.LANGUAGES.items():
        name = f"_cohort.language.{language}.safetensors"
        if speaker == "eve":
            continue
        of_cohort = submodel_file.load(copy / "started_from" / name)
        submodel_file.save(
            directory.submodel(speaker),
            submodel_file.create(
                of_cohort.layout,
                of_cohort.tensors,
                base_fingerprint=of_cohort.metadata.base_fingerprint,
                speaker=speaker,
            ),
        )
    again = api.evaluate(
        str(copy), str(speech / "test.jsonl"), output_dir=str(tmp_path / "too")
    )
    expected = {
        (line["speaker"], line["utt_id"]): line["submodel_hypothesis"]
        for line in hypotheses(again.output_dir)
    }
    texts = set()
    for line in hypotheses(found.output_dir):
        if line["speaker"] == "eve":
            assert line["cohort_hypothesis"] is None
            continue
        key = line["speaker"], line["utt_id"]
        assert line["cohort_hypothesis"] == expected[key]
        texts |= {line["cohort_hypothesis"], line["base_hypothesis"]}
    assert len(texts) > 2


def test_what_the_cohort_heard_is_not_tested_on(speech, run, tmp_path):
    """Also where the speaker's own Submodel has not heard it."""
    lines = test_program.lines_of(speech / "test.jsonl")
    other = next(
        line
        for line in test_program.lines_of(speech / "train.jsonl")
        if line["speaker"] == "bob"
    )
    lines.append(other | {"speaker": "ann", "utt_id": "of bob"})
    for line in lines:
        line["audio_filepath"] = str(speech / line["audio_filepath"])
    test_program.write_lines(tmp_path / "test.jsonl", lines)
    prepared = program.prepare(run.path, str(tmp_path / "test.jsonl"))
    assert [each.utt_id for each in prepared.left_out] == ["of bob"]
    assert len(prepared.data) == 5


def test_a_cohort_that_is_not_what_it_was_is_refused(speech, run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    altered(copy / "started_from" / "_cohort.language.es.safetensors")
    saved = model_directory.ModelDirectory(str(copy)).read_experiment()
    saved["cohort"]["submodels"]["_cohort.language.es"]["sha256"] = "0" * 64
    model_directory.ModelDirectory(str(copy)).write_experiment(saved)
    with pytest.raises(ValueError, match="is not what the run started from"):
        program.prepare(str(copy), str(speech / "test.jsonl"))
