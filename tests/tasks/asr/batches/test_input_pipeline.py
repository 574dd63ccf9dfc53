"""A batch draws from its own speaker and step, and from nothing else."""

import dataclasses

import numpy as np
import pytest

from params import jobs
from tasks.asr.batches import input_pipeline, minibatch_schedule
from tasks.asr.data import inspection, preparation
from tests import tiny

BUCKET = 48000
AUGMENT = jobs.Augment(num_freq_masks=2, num_time_masks=2)
DRAWN = ("seeds", "freq_masks", "time_masks")


@pytest.fixture(scope="module")
def speakers(tmp_path_factory):
    path = tiny.recordings(tmp_path_factory.mktemp("speech"), ("ann", "bob"), 2)
    utterances, _ = inspection.read(path)
    return {
        slot: preparation.TokenizedUtterances(
            tuple(
                dataclasses.replace(u, tokens=(1,), language="en")
                for u in utterances
                if u.speaker == name
            )
        )
        for slot, name in enumerate(("ann", "bob"))
    }


LANGUAGES = ("de", "en", "fr")


def batch(speakers, step=0, slot=0, factor=1.0, seed=0):
    loader = input_pipeline.Loader(
        speakers, 16000, 8, LANGUAGES, 1, 2, AUGMENT, seed
    )
    minibatch = minibatch_schedule.Minibatch(
        slot, ("ann", "bob")[slot], step, (0, 1), (factor,) * 2, BUCKET
    )
    return loader.batch(minibatch_schedule.Group(BUCKET, ((0, minibatch),)))


def test_the_same_step_draws_the_same(speakers):
    for name, value in batch(speakers, 3).items():
        np.testing.assert_array_equal(value, batch(speakers, 3)[name])


@pytest.mark.parametrize("other", [{"step": 1}, {"slot": 1}, {"seed": 1}])
def test_another_step_speaker_or_seed_draws_otherwise(speakers, other):
    first, second = batch(speakers), batch(speakers, **other)
    for name in DRAWN:
        assert (first[name] != second[name]).any(), name


def test_widths_stay_below_their_most_and_are_not_all_nothing(speakers):
    found = [batch(speakers, step) for step in range(50)]
    for name, most in (("freq_masks", 15), ("time_masks", 25)):
        masks = np.stack([each[name] for each in found])
        assert 0 <= masks[..., 0].min() and masks[..., 0].max() < 1
        assert masks[..., 1].min() == 0 and masks[..., 1].max() == most


def test_what_is_only_looked_at_draws_nothing(speakers):
    for name in DRAWN:
        assert not batch(speakers, step=-1)[name].any()


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speech_at_another_speed_has_another_length(speakers, factor):
    plain, changed = batch(speakers), batch(speakers, factor=factor)
    np.testing.assert_allclose(
        changed["lengths"], plain["lengths"] / factor, rtol=1e-3
    )
    for row, length in enumerate(changed["lengths"][0]):
        assert np.abs(changed["audio"][0, row, :length]).max() > 0.1
        assert not changed["audio"][0, row, length:].any()


def test_a_batch_has_the_language_of_each_utterance(speakers):
    spoken = preparation.TokenizedUtterances(
        tuple(
            dataclasses.replace(utterance, language=language)
            for utterance, language in zip(
                speakers[0].utterances, ("fr", "de"), strict=True
            )
        )
    )
    assert batch({0: spoken})["languages"].tolist() == [[2, 0]]


def test_an_empty_place_has_an_absent_slots_row(speakers):
    data = dict(enumerate([speakers[0], speakers[1], speakers[1]]))
    loader = input_pipeline.Loader(data, 16000, 64, LANGUAGES, 3, 2, AUGMENT, 0)
    minibatch = minibatch_schedule.Minibatch(
        1, "bob", 0, (0, 1), (1.0, 1.0), BUCKET
    )
    found = loader.batch(minibatch_schedule.Group(BUCKET, ((0, minibatch),)))
    assert found["row_indices"].tolist() == [1, 0, 2]
    assert found["active"].tolist() == [True, False, False]
    assert found["weights"][1:].sum() == 0.0


@pytest.mark.parametrize(
    ("longest", "expected"),
    [(0, 16), (1, 16), (16, 16), (17, 32), (33, 64), (65, 100)],
)
def test_transcripts_are_padded_to_few_lengths(longest, expected):
    transcripts = [[0] * longest, [0]]
    assert input_pipeline.token_bucket(transcripts, 100) == expected


def test_a_dataset_ends_without_waiting_for_an_autotuner():
    # With tuning on, deleting its iterator waits for the tuner's thread.
    dataset = input_pipeline.dataset(
        lambda group: {"lengths": np.full([2], group)}, [3, 4]
    )
    assert not dataset.options().autotune.enabled
    assert [batch["lengths"].numpy().tolist() for batch in dataset] == [
        [3, 3],
        [4, 4],
    ]
