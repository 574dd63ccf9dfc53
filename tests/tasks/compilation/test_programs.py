"""The shapes that are compiled are those that run."""

import dataclasses

import pytest
import tensorflow as tf

from params import conformer
from tasks.asr.data import preparation
from tasks.asr.training import model_directory, task, trainer
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
    directory = model_directory.ModelDirectory(str(tmp_path / "run"))
    directory.prepare()
    recorder = _Recorder(job)
    run = trainer.Trainer(
        recorder, corpus.train, {}, directory, lambda *_: None
    )
    with pytest.raises(_EnoughError):
        run.run()
    batch = recorder.batch
    width = batch["tokens"].shape[-1]
    specs = programs.batch_specs(
        job, experiment.train.speakers_per_step, 32000, width
    )
    assert {name: spec.shape.as_list() for name, spec in specs.items()} == {
        name: list(value.shape) for name, value in batch.items()
    }
    assert {name: spec.dtype for name, spec in specs.items()} == {
        name: tf.as_dtype(value.dtype) for name, value in batch.items()
    }


class _EnoughError(Exception):
    """The batch is there."""


class _Recorder:
    """A task that keeps its first batch and trains no further."""

    def __init__(self, job):
        self._job = job

    def __getattr__(self, name):
        return getattr(self._job, name)

    def train_step(self, batch):
        self.batch = batch
        raise _EnoughError


def test_the_program_is_the_tasks_own_step():
    made = program_cases.program("conformer", "train")
    arrays = program_cases.arrays(made.specs)
    job = task.SubmodelTask(
        program_cases.base("conformer"),
        program_cases.experiment(),
        [f"s{i}" for i in range(program_cases.NUM_SLOTS)],
    )
    # Without a trained value every Submodel is the base: so are the losses.
    losses, _ = tf.function(made.function)(*arrays.values())
    expected, _ = job.train_step(arrays)
    tf.debugging.assert_near(losses, expected, rtol=1e-5)
    assert made.num_utterances == 4
    assert made.seconds == 1.0


def test_a_submodels_bytes_are_its_weights_moments_and_counters():
    made = program_cases.program("conformer", "train")
    layout = task.layout_of(
        program_cases.base("conformer"), program_cases.experiment().adapter
    )
    assert made.slot_bytes == 3 * 4 * layout.num_values + 3 * 4


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


def test_many_steps_of_a_call_are_the_steps_one_by_one():
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
    batches = [program_cases.arrays(one.specs, seed=seed) for seed in (0, 1)]
    job = programs.training_job(base, experiment, program_cases.NUM_SLOTS)
    expected = [job.train_step(batch)[0] for batch in batches]
    # The last one is not taken.
    stacked = [
        tf.stack([batches[0][name], batches[1][name], batches[1][name]])
        for name in one.specs
    ]
    assert list(made.specs) == [*one.specs, "count"]
    losses, _ = tf.function(made.function)(*stacked, tf.constant(2))
    tf.debugging.assert_near(losses[:2], tf.stack(expected), rtol=1e-5)
    assert not losses[2].numpy().any()
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
