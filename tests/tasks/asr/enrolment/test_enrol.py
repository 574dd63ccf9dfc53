"""Speakers enrol from few utterances, each by its own speech alone."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tqdm

from lingvo_like.submodel import file as submodel_file
from tasks.asr.enrolment import (
    activations as activations_lib,
    destination,
    enrol,
    job as job_lib,
    judging,
    learning,
    plan,
    starting_points as starts,
)
from tests import tiny
from tests.tasks.asr.enrolment import enrolments
from tpu.distribute import replicas


@pytest.fixture(scope="module")
def base():
    return tiny.base()


@pytest.fixture(scope="module")
def spaces(base):
    return {
        encoder: enrolments.space(base, encoder) for encoder in (False, True)
    }


@pytest.fixture(scope="module")
def speech(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    return enrolments.speech(base, folder, ("ann", "bob"), 3)


@pytest.fixture(scope="module")
def together(base, spaces, speech):
    return {
        each.speaker: each
        for each in enrol.enrol(
            spaces[True], base, speech, values=enrolments.QUICK
        )
    }


def test_a_learned_embedding_lowers_the_held_out_loss_and_is_kept(together):
    for each in together.values():
        assert each.evidence == "folds"
        assert set(each.judgements) == {
            "base",
            "cohort",
            "zero_shot",
            "embedding",
        }
        assert set(each.judgements["base"].losses) == {0, 1, 2}
        found = each.judgements
        assert found["embedding"].loss < found["zero_shot"].loss
        assert each.best.rank == min(one.rank for one in found.values())
        assert each.best.rank < found["base"].rank
        assert each.mode in ("zero_shot", "embedding")
        # Nobody's own, the same for all.
        assert each.cohort == "the space's mean"
        assert each.num_utterances == 3


def test_a_speaker_comes_out_the_same_in_a_job_alone(
    base, spaces, speech, together
):
    values = dataclasses.replace(enrolments.QUICK, speakers_per_job=1)
    for alone in enrol.enrol(spaces[True], base, speech, values=values):
        other = together[alone.speaker]
        assert (alone.mode, alone.step) == (other.mode, other.step)
        np.testing.assert_allclose(alone.embedding, other.embedding, atol=1e-5)
        for name, tensor in (alone.tensors or {}).items():
            np.testing.assert_allclose(tensor, other.tensors[name], atol=1e-5)
        for index, loss in alone.best.losses.items():
            assert abs(loss - other.best.losses[index]) < 1e-4


@pytest.fixture
def calls(monkeypatch):
    """Each replica's minibatches of the steps that are taken from now on."""
    calls, batches = [], learning.Learning._batches

    def counting(learning, group):
        calls.append(group)
        return batches(learning, group)

    monkeypatch.setattr(learning.Learning, "_batches", counting)
    return calls


def round_by_place_and_shape(base, monkeypatch):
    """Makes every row of a computation round losses in a way of its own.

    On some machines and shapes it does, and a tiny base may not show it.
    """
    loss = base.loss

    def rounded(*arguments, **others):
        found = loss(*arguments, **others)
        count = found.shape[0]
        return found * (1.0 + (np.arange(count, dtype="f4") + count) / 2**16)

    monkeypatch.setattr(base, "loss", rounded)


@pytest.mark.parametrize(
    "mode, num_dev, speakers_per_step",
    [
        ("embedding", 0, 2),
        pytest.param("embedding", 2, 1, marks=pytest.mark.slow),
        pytest.param("full", 0, 2, marks=pytest.mark.slow),
        pytest.param("full", 2, 1, marks=pytest.mark.slow),
    ],
)
def test_no_byte_of_a_file_depends_on_who_else_enrols(
    base, spaces, tmp_path, monkeypatch, calls, mode, num_dev, speakers_per_step
):
    round_by_place_and_shape(base, monkeypatch)
    speech = enrolments.speech(base, tmp_path, ("dee", "bob", "cy"), 6)
    # Unlike each other in how much they have, and in how long it is.
    speech["bob"] = dataclasses.replace(
        speech["bob"], utterances=speech["bob"].utterances[:5]
    )
    speech["cy"] = dataclasses.replace(
        speech["cy"],
        utterances=tuple(
            dataclasses.replace(each, tokens=each.tokens * 5)
            for each in speech["cy"].utterances
        ),
    )
    dev = {}
    if num_dev:
        names = ("bob", "cy")
        held_out = enrolments.speech(base, tmp_path / "dev", names, num_dev)
        dev = {"bob": held_out["bob"]}
    values = dataclasses.replace(
        enrolments.QUICK,
        embedding_neighbors=2,
        speakers_per_step=speakers_per_step,
    )

    def file_of_bob(names, dev):
        some = {name: speech[name] for name in names}
        enrolled = enrol.enrol(spaces[True], base, some, dev, mode, values)
        (bob,) = [each for each in enrolled if each.speaker == "bob"]
        # Also where the base model is as good, which these losses decide.
        summary = bob.summary()
        if not bob.mode:
            return summary
        made = destination.make_submodel(bob, spaces[True], 0)
        return summary, submodel_file.to_bytes(made)

    alone = file_of_bob(["bob"], dev)
    calls.clear()
    assert file_of_bob(["dee", "bob", "cy"], dev) == alone
    together = [
        {each.stream_key.split("\x1f")[0] for each in own} for (own,) in calls
    ]
    assert max(map(len, together)) == speakers_per_step
    assert file_of_bob(["bob", "cy"], dev | {"cy": speech["dee"]}) == alone


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """A base of two lengths, its space, and speakers unlike each other."""
    base = tiny.base(buckets_seconds=(1.0, 2.0))
    folder = tmp_path_factory.mktemp("uneven")
    speech = enrolments.speech(base, folder, ("ann", "bob", "cy"), 8)
    for speaker, (short, count) in {
        "ann": (True, 2),
        "bob": (False, 5),
        "cy": (False, 3),
    }.items():
        data = speech[speaker]
        # The longest first, or none that is longer than the first bucket.
        order = sorted(
            (
                place
                for place, each in enumerate(data.utterances)
                if not short or each.duration < 0.95
            ),
            key=lambda place, data=data: -data.utterances[place].duration,
        )[:count]
        speech[speaker] = dataclasses.replace(
            data,
            utterances=tuple(data.utterances[place] for place in order),
        )
    return base, enrolments.space(base, True), speech


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["embedding", "full"])
def test_unlike_speakers_come_out_the_same_in_any_company(uneven, mode):
    base, space, speech = uneven
    values = dataclasses.replace(
        enrolments.QUICK, bucket_seconds=0.5, full_utterances=2
    )
    lengths = {
        speaker: {base.bucket_samples(n) for n in found}
        for speaker, found in activations_lib.Speech(
            base, 0, speech, dict.fromkeys(speech, 1.0)
        ).num_samples.items()
    }
    assert len(lengths["ann"]) == 1 and len(lengths["bob"]) == 2
    together = enrol.enrol(space, base, speech, mode=mode, values=values)
    for other in together:
        (alone,) = enrol.enrol(
            space,
            base,
            {other.speaker: speech[other.speaker]},
            mode=mode,
            values=values,
        )
        assert (alone.mode, alone.step) == (other.mode, other.step)
        for name in other.judgements:
            one, two = alone.judgements[name], other.judgements[name]
            assert one.errors == two.errors
            assert one.losses.keys() == two.losses.keys()
            for index, loss in one.losses.items():
                assert abs(loss - two.losses[index]) < 1e-4
        for name, tensor in (alone.tensors or {}).items():
            np.testing.assert_allclose(tensor, other.tensors[name], atol=1e-5)
    assert any(each.tensors for each in together)


@pytest.mark.parametrize(
    "mode", ["embedding", pytest.param("full", marks=pytest.mark.slow)]
)
def test_an_utterance_is_padded_as_its_minibatch_and_not_its_speaker_asks(
    uneven, mode
):
    base, space, speech = uneven
    job = job_lib.Job(
        space,
        base,
        {"bob": speech["bob"]},
        {},
        mode,
        dataclasses.replace(enrolments.QUICK, bucket_seconds=0.5),
        replicas.Replicas(),
    )
    job.run()
    found = job._speech
    own = {
        index: base.bucket_samples(num_samples)
        for index, num_samples in enumerate(found.num_samples["bob"])
    }
    assert len(set(own.values())) == 2
    # One utterance makes a minibatch here, and a judgement always.
    assert set(found._heard) == {("bob", *each) for each in own.items()}


def test_a_speaker_is_heard_at_its_own_lengths_whoever_tries_what(uneven):
    """A full slot's many steps are worth shorter padding, but one's own."""
    base, space, speech = uneven
    values = dataclasses.replace(
        enrolments.QUICK, bucket_seconds=2.0, full_min_utterances=3
    )

    def lengths(speaker, some):
        job = job_lib.Job(
            *(space, base, some, {}, "auto", values, replicas.Replicas())
        )
        return {key for key in job._speech._heard if key[0] == speaker}

    first = dataclasses.replace(
        speech["bob"],
        utterances=speech["bob"].utterances[:2],
    )
    coarse = lengths("bob", {"bob": first})
    assert coarse == lengths("bob", {"bob": first, "cy": speech["cy"]})
    fine = lengths("bob", {"bob": speech["bob"]})
    assert {key[2] for key in coarse} == {2 * base.sample_rate}
    assert min(key[2] for key in fine) < 2 * base.sample_rate


def test_a_run_predicts_from_what_it_learns_from_alone(base, spaces, speech):
    def starts(data):
        job = job_lib.Job(
            spaces[True],
            base,
            {"ann": data},
            {},
            "zero_shot",
            enrolments.QUICK,
            replicas.Replicas(),
        )
        job._starts.predicted()
        return job._runs, job._learner.snapshot(0).embeddings

    data = speech["ann"]
    others = (speech["bob"].utterances[0], *data.utterances[1:])
    runs, before = starts(data)
    _, after = starts(dataclasses.replace(data, utterances=others))
    moved = np.max(np.abs(after - before), axis=1)
    for run, distance in zip(runs, moved, strict=True):
        assert distance > 1e-4 if 0 in run.train else distance < 1e-6
    assert {0 in run.train for run in runs} == {True, False}


@pytest.fixture(scope="module")
def good(base, spaces, speech):
    """Where more learning leads: for each speaker a place of low loss."""
    values = dataclasses.replace(enrolments.QUICK, embedding_steps=12)
    found = enrol.enrol(spaces[True], base, speech, values=values)
    return {each.speaker: np.array(each.embedding, "f4") for each in found}


def test_an_embedding_starts_at_the_mean_where_the_prediction_is_worse(
    base, spaces, speech, good
):
    def embedding(mean, mode):
        (each,) = enrol.enrol(
            enrolments.changed(spaces[True], mean_embedding=mean),
            base,
            {"ann": speech["ann"]},
            mode=mode,
            values=dataclasses.replace(
                enrolments.QUICK, embedding_learning_rate=1e-9
            ),
        )
        return np.array(each.embedding), each.judgements[mode].loss

    far = np.full_like(spaces[True].mean_embedding, 50.0)
    predicted, worse = embedding(far, "zero_shot")
    np.testing.assert_allclose(
        embedding(far, "embedding")[0], predicted, atol=1e-6
    )
    # Where more learning leads is better than the prediction.
    found, better = embedding(good["ann"], "embedding")
    assert better < worse
    np.testing.assert_allclose(found, good["ann"], atol=1e-6)


def starting(base, spaces, speech, known, neighbors, **changes):
    """Enrols speakers who hardly learn in a space of some known ones."""
    space = enrolments.changed(
        spaces[True],
        known,
        embeddings=np.stack(list(known.values())),
    )
    values = dataclasses.replace(
        enrolments.QUICK,
        embedding_neighbors=neighbors,
        embedding_learning_rate=1e-9,
        **changes,
    )
    found = enrol.enrol(space, base, speech, values=values)
    return {each.speaker: each for each in found}


@pytest.fixture(scope="module")
def without(base, spaces, speech, good):
    """Ann, who may start at no speaker of the space."""
    return starting(base, spaces, {"ann": speech["ann"]}, good, 0)["ann"]


def test_an_embedding_may_start_at_the_nearest_speakers(
    base, spaces, speech, good, without
):
    ann = {"ann": speech["ann"]}
    far = {f"far{i}": np.full_like(good["ann"], 50.0 + i) for i in range(3)}
    known = far | {"near": good["ann"]}
    # More than there are is all of them.
    each = starting(base, spaces, ann, known, 10)["ann"]
    np.testing.assert_allclose(each.embedding, good["ann"], atol=1e-6)
    before = without.judgements["embedding"].loss
    assert each.judgements["embedding"].loss < before
    # It is not among the nearest two; nobody starts where it is worse.
    near = {f"near{i}": np.array(without.embedding, "f4") for i in range(2)}
    each = starting(base, spaces, ann, near | known, 2)["ann"]
    np.testing.assert_allclose(each.embedding, without.embedding, atol=1e-6)


def test_nobody_starts_at_the_embedding_of_the_same_speaker(
    base, spaces, speech, good, without
):
    ann = {"ann": speech["ann"]}
    each = starting(base, spaces, ann, {"ann": good["ann"]}, 5)["ann"]
    assert each.embedding == without.embedding


def test_a_neighbor_is_the_same_whoever_else_enrols(base, spaces, speech, good):
    known = {f"known {name}": place for name, place in good.items()}
    together = starting(base, spaces, speech, known, 2)["bob"]
    bob = {"bob": speech["bob"]}
    alone = starting(base, spaces, bob, known, 2)["bob"]
    assert alone.embedding == together.embedding
    assert alone.best.errors == together.best.errors


def test_what_a_run_is_judged_by_does_not_decide_where_it_starts(
    base, spaces, speech, good, monkeypatch
):
    """However good or bad a neighbor is on what a fold leaves out."""
    ann = {"ann": speech["ann"]}
    known = {"near": good["ann"], "far": np.full_like(good["ann"], 50.0)}
    losses = judging.Judge.losses
    starts = {}

    def spoiled(judge, candidates, *rest):
        found = losses(judge, candidates, *rest)
        if len(candidates) == 2:
            # These are the two neighbors: both do well, and the far one does
            # best, if only on the first utterance.
            found = [{"ann": dict.fromkeys(range(3), -1.0)} for _ in found]
            found[1]["ann"][0] = -1000.0
            found[0]["ann"][1] = found[0]["ann"][2] = -2.0
        return found

    begin = job_lib.Job._learn

    def learn(job, learning, *rest):
        starts["embeddings"] = learning.snapshot(0).embeddings
        starts["runs"] = list(job._runs)
        return begin(job, learning, *rest)

    monkeypatch.setattr(judging.Judge, "losses", spoiled)
    monkeypatch.setattr(job_lib.Job, "_learn", learn)
    starting(base, spaces, ann, known, 2)
    for run, embedding in zip(
        starts["runs"], starts["embeddings"], strict=True
    ):
        is_far = bool(np.all(embedding > 40.0))
        assert is_far == (0 in run.train)


def test_nothing_is_sought_or_learned_where_nothing_is_to_gain(
    base, spaces, speech, monkeypatch
):
    monkeypatch.setattr(learning.Learning, "_batches", None)
    monkeypatch.setattr(starts.Starts, "_moved", None)
    values = dataclasses.replace(
        enrolments.QUICK, good_loss=1e9, embedding_neighbors=2
    )
    (each,) = enrol.enrol(
        spaces[True], base, {"ann": speech["ann"]}, mode="full", values=values
    )
    assert each.step == 0


def test_one_stops_while_another_goes_on_as_if_alone(
    base, spaces, speech, together
):
    losses = {
        speaker: each.judgements["zero_shot"].loss
        for speaker, each in together.items()
    }
    good, worse = sorted(losses, key=lambda speaker: losses[speaker])
    values = dataclasses.replace(enrolments.QUICK, embedding_steps=4)

    def enrolled(speakers, good_loss):
        found = enrol.enrol(
            spaces[True],
            base,
            {speaker: speech[speaker] for speaker in speakers},
            values=dataclasses.replace(values, good_loss=good_loss),
        )
        return {each.speaker: each for each in found}

    between = (losses[good] + losses[worse]) / 2
    both = enrolled((good, worse), between)
    unmoved = enrolled((good,), 1e9)[good]
    assert both[good].embedding == unmoved.embedding
    assert both[worse].judgements["embedding"].loss < losses[worse]
    alone = enrolled((worse,), between)[worse]
    np.testing.assert_allclose(
        alone.embedding, both[worse].embedding, atol=1e-5
    )
    for name, judgement in alone.judgements.items():
        expected = both[worse].judgements[name]
        assert judgement.loss == pytest.approx(expected.loss, rel=1e-4)


def test_what_is_kept_is_a_point_of_the_space(spaces, together):
    for each in together.values():
        expected = spaces[True].materialise(np.array(each.embedding, "f4"))
        for name, tensor in expected.items():
            np.testing.assert_array_equal(each.tensors[name], tensor)


def test_zero_shot_learns_nothing_shows_its_work_and_is_what_auto_starts_from(
    base, spaces, speech, together, monkeypatch
):
    shown = []

    class Bar(tqdm.tqdm):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named | {"disable": False})
            shown.append(self)

    monkeypatch.setattr(tqdm, "tqdm", Bar)
    (each,) = enrol.enrol(
        spaces[True],
        base,
        {"ann": speech["ann"]},
        mode="zero_shot",
        values=enrolments.QUICK,
    )
    assert {bar.desc for bar in shown} == {
        "enrolling (recordings)",
        "enrolling (judging)",
    }
    for bar in shown:
        assert bar.n == bar.total > 0
    assert set(each.judgements) == {"base", "cohort", "zero_shot"}
    assert each.step == 0
    for index, loss in together["ann"].judgements["zero_shot"].losses.items():
        assert abs(loss - each.judgements["zero_shot"].losses[index]) < 1e-4


def test_a_full_slot_goes_on_from_the_embedding(base, spaces, speech):
    values = dataclasses.replace(
        enrolments.QUICK, embedding_steps=8, full_learning_rate=1e-12
    )
    (each,) = enrol.enrol(
        spaces[True], base, {"ann": speech["ann"]}, mode="full", values=values
    )
    expected = spaces[True].materialise(np.array(each.embedding, "f4"))
    assert each.mode == "full"
    for name, tensor in expected.items():
        np.testing.assert_allclose(each.tensors[name], tensor, atol=1e-6)


def test_dev_utterances_judge_and_a_single_one_is_judged_by_itself(
    base, spaces, speech, tmp_path
):
    dev = enrolments.speech(base, tmp_path, ("ann",), 2, seed=3)
    data = speech["bob"]
    one = dataclasses.replace(data, utterances=data.utterances[:1])
    ann, bob = enrol.enrol(
        spaces[False],
        base,
        {"ann": speech["ann"], "bob": one},
        dev,
        values=enrolments.QUICK,
    )
    assert (ann.evidence, bob.evidence) == ("dev", "own")
    assert set(ann.judgements["base"].losses) == {3, 4}
    assert set(bob.best.losses) == {0}


def test_nothing_is_kept_that_is_worse_than_the_base(base, spaces, speech):
    # A start and steps so wide that every one of them does harm: the Submodel
    # falls silent, which is fewer errors than this base makes.
    values = dataclasses.replace(
        enrolments.QUICK, embedding_learning_rate=1e4, embedding_evaluations=1
    )
    far = np.full_like(spaces[False].mean_embedding, 50.0)
    space = enrolments.changed(spaces[False], mean_embedding=far)
    (each,) = enrol.enrol(space, base, {"ann": speech["ann"]}, values=values)
    assert each.judgements["embedding"].loss > each.judgements["base"].loss
    assert each.mode == "" and each.tensors is None
    assert each.best is each.judgements["base"]


@pytest.mark.parametrize(
    "mode, message",
    [
        ("zero_shot", "needs a space with a speaker encoder"),
        ("zeroshot", "the mode must be one of auto, zero_shot"),
    ],
)
def test_a_mode_that_cannot_be_is_refused(base, spaces, speech, mode, message):
    with pytest.raises(ValueError, match=message):
        enrol.enrol(spaces[False], base, speech, mode=mode)


def test_a_space_of_another_base_is_refused(spaces, speech):
    with pytest.raises(ValueError, match="of another base model"):
        enrol.enrol(spaces[False], tiny.base(seed=1), speech)


def test_nobody_and_a_speaker_without_speech_are_refused(base, spaces, speech):
    with pytest.raises(ValueError, match="nobody to enrol"):
        enrol.enrol(spaces[False], base, {})
    empty = dataclasses.replace(speech["ann"], utterances=())
    with pytest.raises(ValueError, match="'ann' has no usable utterance"):
        enrol.enrol(spaces[False], base, {"ann": empty})


def test_a_speaker_without_gain_stops(base, spaces, speech, calls):
    # Looks after 1, 2 and 4 steps.
    for min_gain, patience, expected in ((-1.0, 1, 4), (0.99, 2, 2)):
        calls.clear()
        values = dataclasses.replace(
            enrolments.QUICK,
            embedding_steps=4,
            embedding_evaluations=3,
            min_gain=min_gain,
            embedding_patience=patience,
        )
        (each,) = enrol.enrol(
            spaces[True], base, {"ann": speech["ann"]}, values=values
        )
        steps = [m.step for group in calls for own in group for m in own]
        assert 1 + max(steps) == expected
        assert each.step <= expected


def test_a_text_is_heard_no_further_than_its_transcript_asks(
    base, spaces, speech, monkeypatch
):
    seen, decode = set(), type(base).decode

    def limited(self, encoded, paddings, limits, **others):
        seen.update(np.asarray(limits).tolist())
        return decode(self, encoded, paddings, limits=limits, **others)

    monkeypatch.setattr(type(base), "decode", limited)
    ann = {"ann": speech["ann"]}
    tf.config.run_functions_eagerly(True)
    try:
        enrol.enrol(spaces[True], base, ann, values=enrolments.QUICK)
    finally:
        tf.config.run_functions_eagerly(False)
    # An empty place has a transcript of no tokens.
    assert seen - {8} == {4 * len(u.tokens) + 8 for u in ann["ann"].utterances}


def test_auto_tries_a_full_slot_only_with_data_enough():
    values = plan.Values(full_min_utterances=5)
    modes = plan.modes_to_try
    assert modes("auto", True, 4, values) == ("zero_shot", "embedding")
    assert modes("auto", False, 5, values) == ("embedding", "full")
    assert modes("full", True, 1, values) == ("full",)
