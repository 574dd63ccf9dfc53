"""The effects of a training step besides learning."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from lingvo_like import device_random_streams
from tasks.asr.batches import minibatch_schedule
from tasks.asr.data import preparation, rejections
from tasks.asr.training import replica_batches, sharding, task
from tests import tiny

BINS, FRAMES, VALID = 30, 60, 45


def augmented(freq_masks, time_masks):
    paddings = np.zeros((1, FRAMES), "float32")
    paddings[:, VALID:] = 1.0
    features = task.augment_features(
        tf.ones([1, FRAMES, BINS]),
        tf.constant(paddings),
        tf.constant([freq_masks], tf.float32),
        tf.constant([time_masks], tf.float32),
    )
    return features.numpy()[0]


def test_a_mask_covers_its_band_and_no_more():
    found = augmented([(0.5, 4.0)], [(0.0, 6.0)])
    expected = np.ones((FRAMES, BINS))
    expected[:6] = 0.0
    # Half of the room that 4 of 30 bins have: 27 places.
    expected[:, 13:17] = 0.0
    np.testing.assert_array_equal(found, expected)


def test_a_mask_is_at_most_a_third_and_lies_on_what_was_said():
    found = augmented([(0.999, 100.0)], [(0.999, 100.0)])
    bins = np.flatnonzero(~found.any(axis=0))
    frames = np.flatnonzero(~found.any(axis=1))
    np.testing.assert_array_equal(bins, np.arange(BINS * 2 // 3, BINS))
    np.testing.assert_array_equal(frames, np.arange(VALID * 2 // 3, VALID))


def test_no_masks_change_nothing():
    found = augmented(np.zeros((0, 2)), np.zeros((0, 2)))
    np.testing.assert_array_equal(found, np.ones((FRAMES, BINS)))


@pytest.fixture(scope="module")
def base():
    return tiny.base()


@pytest.fixture(scope="module")
def utterances(base, tmp_path_factory):
    path = tiny.recordings(tmp_path_factory.mktemp("speech"), ("ann",), 4)
    left_out = rejections.Rejections()
    return preparation.read_speakers(base, path, left_out, 64)["ann"]


def losses(base, utterances, steps, dropout_rate=0.0, masks=0):
    """The loss of a Submodel that is not the identity in each of some steps."""
    experiment = tiny.experiment(speakers_per_step=1)
    experiment = dataclasses.replace(
        experiment,
        submodel=dataclasses.replace(
            experiment.submodel, dropout_rate=dropout_rate
        ),
        augment=dataclasses.replace(
            experiment.augment, num_freq_masks=masks, num_time_masks=masks
        ),
    )
    job = task.SubmodelTask(base, experiment, ("ann",))
    data = preparation.by_slot(("ann",), {"ann": utterances})
    loader = replica_batches.Feed(job, data, sharding.single(1, 1), (1.0,), "")
    minibatch = loader.schedules[0].minibatch(0)
    found = []
    for step in steps:
        draw = np.random.default_rng(0)
        for name, variable in job.stack.variables_by_name.items():
            if name.endswith("kernel"):
                values = draw.standard_normal(variable.shape, np.float32)
                variable.assign(0.1 * values)
            else:
                variable.assign(tf.zeros_like(variable))
        group = minibatch_schedule.Group(
            minibatch.bucket, ((0, dataclasses.replace(minibatch, step=step)),)
        )
        ((batch,),) = loader.load([group])
        found.append(float(job.train_step(batch)[0][0]))
    return found


@pytest.fixture(scope="module")
def plain(base, utterances):
    return losses(base, utterances, [0])[0]


@pytest.mark.parametrize("change", [{"dropout_rate": 0.5}, {"masks": 2}])
def test_a_step_trains_on_what_was_drawn_for_it(
    base, utterances, plain, change
):
    first, second, again = losses(base, utterances, [0, 1, 0], **change)
    # Beyond rounding: each is another minibatch to the Submodel.
    assert abs(first - plain) > 1e-4 * plain
    assert abs(second - first) > 1e-4 * plain
    assert again == first


def test_all_sites_share_one_draw_of_dropout(base, utterances, monkeypatch):
    """Else a step would have an operation for each speaker at each site."""
    drawn = []
    uniform = device_random_streams.uniform

    def watched(shape, seeds):
        drawn.append(tuple(shape))
        return uniform(shape, seeds)

    monkeypatch.setattr(device_random_streams, "uniform", watched)
    losses(base, utterances, [0], dropout_rate=0.5)
    ((_, _, width),) = drawn
    assert base.num_blocks > 1
    assert width == base.num_blocks * tiny.experiment().adapter.bottleneck_dim
