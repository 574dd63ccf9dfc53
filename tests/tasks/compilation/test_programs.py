"""The shapes that are compiled are those that run."""

import dataclasses

import pytest
import tensorflow as tf

from params import conformer
from tasks.asr import layouts
from tasks.asr.batches import minibatch_schedule
from tasks.asr.data import preparation
from tasks.asr.training import replica_batches, sharding, task
from tasks.compilation import programs
from tests import tiny
from tests.tasks.compilation import program_cases


@pytest.mark.parametrize("cached", [False, True])
def test_the_batch_is_that_of_the_input_pipeline(tmp_path, cached):
    manifest = tiny.recordings(tmp_path, ("ann", "bob"), 4)
    base = tiny.base()
    experiment = tiny.experiment(cache_activations=cached)
    corpus = preparation.prepare(base, experiment, manifest, "", False)
    job = task.SubmodelTask(base, experiment, corpus.speakers)
    places = experiment.train.speakers_per_step
    batches = replica_batches.Feed(
        job,
        corpus.train,
        sharding.single(len(corpus.speakers), places),
        (1.0,),
        str(tmp_path / "activations"),
    )
    first = next(
        minibatch_schedule.training_calls(
            batches.schedules, {0: 0, 1: 0}, {0: 1, 1: 1}, places
        )
    )
    ((batch,),) = batches.load(first)
    specs = programs.batch_specs(job, places, 32000, batch["tokens"].shape[-1])
    assert {name: spec.shape.as_list() for name, spec in specs.items()} == {
        name: list(value.shape) for name, value in batch.items()
    }
    assert {name: spec.dtype for name, spec in specs.items()} == {
        name: tf.as_dtype(value.dtype) for name, value in batch.items()
    }


@pytest.fixture(scope="module")
def batches():
    """Two batches of the training step."""
    specs = program_cases.program("conformer", "train").specs
    return [program_cases.arrays(specs, seed=seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def losses(batches):
    """The losses of the task's own step, on one batch after the other."""
    job = programs.training_job(
        program_cases.base("conformer"),
        program_cases.experiment(),
        program_cases.NUM_SLOTS,
    )
    return tf.stack([job.train_step(batch)[0] for batch in batches])


def test_the_program_is_the_tasks_own_step(batches, losses):
    made = program_cases.program("conformer", "train")
    found, _ = made.function(*batches[0].values())
    tf.debugging.assert_near(found, losses[0], rtol=1e-5)
    assert made.num_utterances == 4
    assert made.seconds == 1.0


def test_a_submodels_bytes_are_its_weights_moments_and_counters():
    made = program_cases.program("conformer", "train")
    layout = layouts.of(
        program_cases.base("conformer").sites, program_cases.experiment()
    )
    assert made.slot_bytes == 3 * 4 * layout.num_values + 2 * 4


def test_a_stack_that_is_not_read_takes_no_memory():
    job = programs.training_job(
        program_cases.base("conformer"), program_cases.experiment(), 3
    )
    for name, variable in job.state_by_name.items():
        if name.startswith("weight/") or "moment/" in name:
            assert not variable.numpy().any()
    with programs.unread_variables():
        variable = tf.Variable(tf.zeros([4, 3]))
    variable.scatter_update(tf.IndexedSlices(tf.ones([1, 3]), [2]))
    assert variable.numpy().sum(axis=1).tolist() == [0, 0, 3, 0]


def test_more_places_than_submodels_are_refused():
    base = program_cases.base("conformer")
    with pytest.raises(ValueError, match="needs as many Submodels"):
        programs.train_program(
            base, program_cases.experiment(), 1, 2, 16000, None
        )


def test_many_steps_of_a_call_are_the_steps_one_by_one(batches, losses):
    experiment = program_cases.experiment()
    experiment = dataclasses.replace(
        experiment,
        train=dataclasses.replace(experiment.train, steps_per_call=3),
    )
    base = program_cases.base("conformer")
    made = programs.train_program(
        base,
        experiment,
        *(program_cases.NUM_SLOTS, program_cases.PLACES),
        *(base.max_samples, program_cases.TOKENS),
    )
    one = program_cases.program("conformer", "train")
    # The last one is not taken.
    stacked = [
        tf.stack([batches[0][name], batches[1][name], batches[1][name]])
        for name in one.specs
    ]
    assert list(made.specs) == [*one.specs, "count"]
    found, _ = tf.function(made.function)(*stacked, tf.constant(2))
    tf.debugging.assert_near(found[:2], losses, rtol=1e-5)
    assert not found[2].numpy().any()
    assert made.num_utterances == one.num_utterances
    assert (made.num_steps, one.num_steps) == (3, 1)


def test_a_speaker_of_a_space_is_an_embedding():
    model = program_cases.base("conformer")
    experiment = dataclasses.replace(
        program_cases.experiment(), space=conformer.TinyEmbedding().space
    )
    # As many speakers as elements: a basis is not taken for a stack.
    made = programs.train_program(model, experiment, 4, 2, 16000, 8)
    # Four numbers with two moments each, and counters.
    assert 3 * 4 * 4 <= made.slot_bytes < 3 * 4 * 4 + 64
