"""Submodels that are the same for everybody, beside a newcomer's own."""

import dataclasses

import numpy as np
import pytest

from lingvo_like.submodel import file as submodel_file, heard
from tasks.asr.data import manifest, preparation
from tasks.asr.enrolment import baselines, destination, enrol, results
from tasks.asr.training import model_directory, starting_submodels
from tests import tiny
from tests.tasks.asr.enrolment import enrolments

SPANISH = "_cohort.language.es"


@pytest.fixture(scope="module")
def base():
    return tiny.base()


@pytest.fixture(scope="module")
def space(base):
    return enrolments.space(base)


def cohort_file(space, scale=1.0, **changes):
    """A Submodel of the space's layout, as a cohort of Spanish has one."""
    tensors = space.materialise(space.mean_embedding + scale)
    return submodel_file.create(
        space.layout,
        tensors,
        **{
            "base_fingerprint": space.metadata.base_fingerprint,
            "speaker": SPANISH,
        }
        | changes,
    )


def run_with(folder, made):
    """The folder of a run that has one cohort."""
    directory = model_directory.ModelDirectory(str(folder))
    directory.prepare()
    starts = starting_submodels.StartingSubmodels(directory)
    data = submodel_file.to_bytes(made)
    start = starts.put(made, SPANISH, "cohort", lambda: data)
    starts.add_cohorts({SPANISH: start}, {})
    for path in starts._found:
        (folder / "started_from").mkdir()
        (folder / path).write_bytes(data)
    directory.write_experiment(
        {
            "program": "tasks.train",
            "experiment": enrolments.EXPERIMENT,
            "values": {},
            "base": "base",
            "base_fingerprint": made.metadata.base_fingerprint,
            "data": {},
        }
        | starts.to_json()
    )
    return str(folder)


def speech(language="", sha256="", count=1):
    return preparation.TokenizedUtterances(
        tuple(
            manifest.Utterance(
                "a.wav",
                "on",
                "ann",
                str(i),
                1.0,
                language=language,
                sha256=sha256,
            )
            for i in range(count)
        )
    )


def test_a_newcomer_has_the_cohort_of_their_group_or_the_mean(space, tmp_path):
    made = cohort_file(space)
    folder = run_with(tmp_path / "run", made)
    known = space.speakers[0]
    found = baselines.of_run(
        folder,
        space,
        {"ann": speech("es"), "bob": speech("en"), known: speech("es")},
        {},
    )
    assert found["ann"].title == "cohort of language es"
    assert found["ann"].started_from == {
        "sha256": made.metadata.sha256,
        "speaker": SPANISH,
        "source": "run",
    }
    for name, tensor in made.tensors.items():
        np.testing.assert_array_equal(found["ann"].tensors[name], tensor)
    assert found["bob"] is baselines.MEAN
    # The space has learned from its own speakers.
    assert found[known] is None
    nothing = baselines.of_run(
        str(tmp_path / "none"), space, {"ann": speech("es")}, {}
    )
    assert nothing == {"ann": baselines.MEAN}


def test_nobody_is_judged_beside_a_cohort_that_has_heard_them(space, tmp_path):
    hashes = ["a" * 64, "b" * 64]
    made = cohort_file(space, heard=heard.pack(heard.keys(hashes[:1])))
    folder = run_with(tmp_path / "run", made)
    new, old = speech("es", hashes[1]), speech("es", hashes[0])
    assert baselines.of_run(folder, space, {"ann": old}, {}) == {"ann": None}
    assert baselines.of_run(folder, space, {"ann": new}, {"ann": old}) == {
        "ann": None
    }
    found = baselines.of_run(folder, space, {"ann": new}, {"ann": new})
    assert found["ann"] is not None


def test_a_cohort_of_another_base_is_refused(space, tmp_path):
    made = cohort_file(space, base_fingerprint="other")
    folder = run_with(tmp_path / "run", made)
    with pytest.raises(ValueError, match="cohort of language es is of another"):
        baselines.of_run(folder, space, {"ann": speech("es")}, {})


@pytest.fixture(scope="module")
def newcomers(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    return enrolments.speech(base, folder, ("ann", "bob"), 3)


def baseline(space, point):
    return baselines.Baseline(
        "cohort",
        space.materialise(point),
        {"sha256": "ab", "speaker": "_cohort", "source": "run"},
    )


def test_the_cohort_is_kept_where_nothing_personal_is_better(
    base, space, newcomers
):
    # A space where being personal does harm, and its mean.
    worse = dataclasses.replace(
        enrolments.QUICK, embedding_learning_rate=1e4, embedding_evaluations=1
    )
    far = np.full_like(space.mean_embedding, 50.0)
    bad = enrolments.changed(space, mean_embedding=far)
    # With an encoder a newcomer starts near the base model, and gains.
    near = enrolments.space(base, encoder=True)
    (usual,) = enrol.enrol(
        near, base, {"ann": newcomers["ann"]}, values=enrolments.QUICK
    )
    assert usual.mode
    good = np.array(usual.embedding, "f4")
    cohorts = {"ann": baseline(near, good), "bob": None}
    ann, bob = enrol.enrol(bad, base, newcomers, values=worse, cohorts=cohorts)
    assert ann.mode == results.COHORT
    assert ann.over_cohort == 0.0
    for name, tensor in cohorts["ann"].tensors.items():
        np.testing.assert_array_equal(ann.tensors[name], tensor)
    made = destination.make_submodel(ann, bad, 0).metadata
    assert made.training["mode"] == "cohort"
    assert made.started_from == cohorts["ann"].started_from
    # Nothing was learned from the newcomer.
    assert made.heard == ""
    assert set(bob.judgements) == {"base", "embedding"}
    assert bob.over_cohort is None and bob.summary()["cohort"] == ""
    # Who asks for an embedding gets one, or nothing.
    (asked,) = enrol.enrol(
        bad,
        base,
        {"ann": newcomers["ann"]},
        mode="embedding",
        values=worse,
        cohorts=cohorts,
    )
    assert asked.mode == ""
    assert asked.judgements["cohort"].loss == ann.judgements["cohort"].loss


def test_what_is_personal_knows_what_it_heard(base, space, newcomers):
    (ann,) = enrol.enrol(
        space,
        base,
        {"ann": newcomers["ann"]},
        mode="embedding",
        values=enrolments.QUICK,
    )
    if ann.mode:
        made = destination.make_submodel(ann, space, 0).metadata
        assert len(heard.unpack(made.heard)) == 3
        assert made.started_from == {}
