"""A whole job in a space on a tiny base: the laws, and what it leaves."""

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.space import embedding_space, file as space_file
from lingvo_like.submodel import file as submodel_file
from params import kinds, spaces
from tasks.asr.data import preparation
from tasks.asr.training import (
    job_state,
    model_directory,
    run_description,
    sharding,
    space_initialization,
    space_training,
    submodel_files,
    task,
    trainer,
)
from tests import layouts, tiny

SPEAKERS = ("ann", "bob", "cy")
FINGERPRINT = "0" * 64
SPACE = spaces.Space(
    embedding_dim=4,
    element_dropout_rate=0.1,
    speaker_dropout_rate=0.2,
    speaker_encoder=True,
    prediction_rate=0.2,
    encoder_dim=8,
)


@pytest.fixture(scope="module")
def base():
    return tiny.base()


@pytest.fixture(scope="module")
def manifests(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    return (
        tiny.recordings(folder, SPEAKERS, 5),
        tiny.recordings(folder, SPEAKERS, 3, seed=1, name="dev"),
    )


class Run:
    """A job of a space in a folder, put together as the binary does."""

    def __init__(
        self,
        base,
        manifests,
        folder,
        values=SPACE,
        space=None,
        dev=True,
        **train,
    ):
        experiment = dataclasses.replace(tiny.experiment(**train), space=values)
        self.corpus = preparation.prepare(
            base, experiment, manifests[0], manifests[1] if dev else ""
        )
        self.job = task.SubmodelTask(
            base, experiment, self.corpus.speakers, space
        )
        shards = sharding.single(
            len(self.corpus.speakers), experiment.train.speakers_per_step
        )
        self.directory = model_directory.ModelDirectory(str(folder))
        self.directory.prepare()
        self.trainer = trainer.Trainer(
            job_state.JobState(self.job, shards),
            self.corpus.train,
            self.corpus.dev,
            self.directory,
            submodel_files.Origin("conformer.TinyEmbedding", FINGERPRINT),
        )
        self.restored = self.trainer.state.restore(self.directory.checkpoints)
        if values.embedding_dim and space is None and not self.restored:
            self.said = space_initialization.initialize(
                self.job, self.corpus.train, FINGERPRINT
            )

    def finish(self):
        self.trainer.run()
        if self.job.experiment.space.embedding_dim:
            space_training.write(
                self.directory,
                self.job,
                self.corpus.train,
                submodel_files.Origin("conformer.TinyEmbedding", FINGERPRINT),
            )
        return self

    def tensors(self, speaker):
        return submodel_file.load(self.directory.submodel(speaker)).tensors


def files(folder):
    folder = pathlib.Path(folder)
    paths = [*(folder / "submodels").iterdir(), folder / "space.safetensors"]
    return {path.name: path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def trained(base, manifests, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    return Run(base, manifests, folder, dev=False).finish()


@pytest.fixture(scope="module")
def space(trained):
    return space_file.load(trained.directory.space, FINGERPRINT)


def test_a_submodel_is_what_its_speakers_embedding_mixes(trained, space):
    for speaker in SPEAKERS:
        expected = space.materialise(space.embedding(speaker))
        for name, tensor in trained.tensors(speaker).items():
            np.testing.assert_array_equal(tensor, expected[name])
    up_kernel = layouts.tensor_name(1, "up_kernel")
    assert np.any(trained.tensors("ann")[up_kernel] != 0.0)


def test_every_part_of_a_space_learns(trained, untrained):
    fresh = untrained.job.stack.variables_by_name
    for name, variable in trained.job.stack.variables_by_name.items():
        assert np.any(variable.numpy() != fresh[name].numpy()), name


def test_a_new_space_is_the_base_bit_for_bit(
    base, manifests, untrained, tmp_path
):
    run = untrained
    spaced = run.trainer._dev_losses(range(3))
    zeros = {
        name: np.zeros_like(tensor)
        for name, tensor in run.job.stack.read(0).items()
    }
    slots = Run(base, manifests, tmp_path / "slots", spaces.Space())
    for slot in range(3):
        slots.job.stack.write(slot, zeros)
    assert spaced == slots.trainer._dev_losses(range(3))


def test_an_interrupted_run_ends_in_the_same_bytes(
    base, manifests, trained, tmp_path
):
    values = {"dev": False, "checkpoint_every_seconds": 0}
    run = Run(base, manifests, tmp_path, **values)
    interrupt(run.trainer, 7)
    with pytest.raises(KeyboardInterrupt):
        run.finish()
    assert not (tmp_path / "space.safetensors").exists()
    again = Run(base, manifests, tmp_path, dev=False)
    assert again.restored
    again.finish()
    assert files(tmp_path) == files(trained.directory.path)


def interrupt(trained, after):
    original = trained.train_step
    calls = []

    def step(batches):
        calls.append(0)
        if len(calls) > after:
            raise KeyboardInterrupt
        return original(batches)

    trained.train_step = step


def test_with_the_space_kept_a_speaker_learns_the_same_in_any_company(
    base, manifests, space, tmp_path
):
    """Newcomers: the manifest's speakers under names that it does not know."""
    renamed = renamed_speakers(manifests, tmp_path)
    together = Run(base, renamed, tmp_path / "all", space=space)
    together.trainer.run()
    alone = Run(base, renamed, tmp_path / "one", space=space)
    alone.trainer.selected = [1]
    alone.trainer.run()
    np.testing.assert_array_equal(
        alone.job.stack.embeddings[1], together.job.stack.embeddings[1]
    )
    moved = alone.job.stack.embeddings.numpy() - space.mean_embedding
    assert np.all(moved[1] != 0.0)
    assert np.all(moved[[0, 2]] == 0.0)
    for name, tensor in space.basis.items():
        variable = together.job.stack.basis.variables_by_name[name]
        np.testing.assert_array_equal(tensor, variable)


def renamed_speakers(manifests, folder):
    result = []
    for path in map(pathlib.Path, manifests):
        text = path.read_text().replace('"speaker": "', '"speaker": "new-')
        text = text.replace(
            '"audio_filepath": "', f'"audio_filepath": "{path.parent}/'
        )
        result.append(str(folder / path.name))
        pathlib.Path(result[-1]).write_text(text)
    return result


def batch_of(run, speakers=2):
    calls = trainer.minibatch_schedule.training_calls(
        run.trainer._train.schedules,
        dict.fromkeys(range(3), 0),
        dict.fromkeys(range(speakers), 1)
        | dict.fromkeys(range(speakers, 3), 0),
        2,
    )
    (batch,) = next(iter(run.trainer._train.load(next(calls))))
    return batch


def state_of(job):
    return {name: v.numpy() for name, v in job.state_by_name.items()}


@pytest.fixture(scope="module")
def untrained(base, manifests, tmp_path_factory):
    """A run that tests train a step of, and leave as it was."""
    return Run(base, manifests, tmp_path_factory.mktemp("untrained"))


def after_a_step(run, batch):
    """The state of the job after one step, which is undone."""
    before = state_of(run.job)
    run.job.train_step(batch)
    after = state_of(run.job)
    for name, variable in run.job.state_by_name.items():
        variable.assign(before[name])
    return after


def test_garbage_in_padding_never_changes_a_step(untrained):
    """Of the embeddings, the basis and the speaker encoder."""
    batch = batch_of(untrained)
    samples = batch["audio"].numpy()
    for place, row in np.ndindex(*batch["lengths"].shape):
        samples[place, row, int(batch["lengths"][place, row]) :] = 9e9
    spoiled = {**batch, "audio": tf.constant(samples)}
    clean = after_a_step(untrained, batch)
    for name, value in after_a_step(untrained, spoiled).items():
        np.testing.assert_array_equal(value, clean[name], err_msg=name)


def test_a_speaker_who_is_absent_stays_bit_for_bit(untrained):
    before = state_of(untrained.job)
    after = after_a_step(untrained, batch_of(untrained, speakers=1))
    per_speaker = before.keys() - untrained.job.shared_names
    assert len(per_speaker) == 5
    for name in per_speaker:
        np.testing.assert_array_equal(before[name][1:], after[name][1:])
    assert after["optimizer/embedding/steps"].tolist() == [1, 0, 0]
    assert all(np.all(np.isfinite(value)) for value in after.values())


def test_nothing_compiles_again_after_each_bucket_was_seen(manifests, tmp_path):
    base = tiny.base(buckets_seconds=(1.0, 1.6))
    run = Run(base, manifests, tmp_path, num_steps=8, dev=False)
    run.trainer.run()
    assert run.job.train_step.experimental_get_tracing_count() == 2


def test_unknown_speakers_and_other_layouts_are_refused(base, space, untrained):
    with pytest.raises(ValueError, match="'zoe' has no slot"):
        untrained.job.stack.slot("zoe")
    wide = tiny.experiment()
    wide = dataclasses.replace(wide, adapter=kinds.Adapter(bottleneck_dim=9))
    with pytest.raises(
        ValueError, match="space is for other Submodels: .*dim=9 "
    ):
        task.SubmodelTask(base, wide, SPEAKERS, space)


def test_the_projector_finds_a_row_for_each_speaker(trained, space):
    from google.protobuf import text_format
    from tensorboard.plugins import projector

    folder = pathlib.Path(trained.directory.tensorboard)
    config = text_format.Parse(
        (folder / "projector_config.pbtxt").read_text(),
        projector.ProjectorConfig(),
    ).embeddings[0]
    points = np.loadtxt(folder / config.tensor_path, delimiter="\t")
    np.testing.assert_allclose(points, space.embeddings, rtol=1e-6)
    metadata = (folder / config.metadata_path).read_text().splitlines()
    assert metadata[0] == "speaker\tseverity"
    assert [line.split("\t")[0] for line in metadata[1:]] == list(SPEAKERS)


def test_flags_that_do_not_go_together_are_refused():
    stacked = dataclasses.replace(SPACE, initializer="stack")
    for values, space_from, speakers, message in (
        (stacked, "", [], "--space_from names the run"),
        (SPACE, "runs/first", [], "--space_from names the run"),
        (spaces.Space(), "runs/first", [], "--space_from names the run"),
        (SPACE, "", ["ann"], "--speakers would move the basis"),
    ):
        with pytest.raises(ValueError, match=message):
            space_training.check_request(values, space_from, speakers)
    space_training.check_request(stacked, "runs/first", [])
    space_training.check_request(spaces.Space(), "", ["ann"])


def test_embeddings_that_start_from_the_encoder_are_what_it_predicts(
    base, manifests, tmp_path
):
    values = dataclasses.replace(SPACE, initializer="encoder")
    run = Run(base, manifests, tmp_path, values)
    stack = run.job.stack
    assert "speaker encoder" in run.said
    np.testing.assert_allclose(
        stack.embeddings.numpy().std(axis=0), 0.5, rtol=1e-4
    )
    predicted = space_initialization.predict(
        stack.encoder,
        space_initialization.listen(run.job, stack.encoder, run.corpus.train),
    )
    np.testing.assert_allclose(stack.embeddings.numpy(), predicted, atol=1e-5)
    np.testing.assert_allclose(predicted.mean(axis=0), 0.0, atol=1e-4)


def describe(run, shared_start):
    """Writes the experiment.json of a run that started so."""
    experiment = run.job.experiment
    submodel = dataclasses.replace(
        experiment.submodel, shared_start=shared_start
    )
    run.directory.write_experiment(
        run_description.describe(
            "conformer.Tiny",
            dataclasses.replace(experiment, submodel=submodel),
            "base",
            FINGERPRINT,
            {},
        )
    )


def test_a_space_as_large_as_a_run_of_slots_holds_all_of_it(
    base, manifests, tmp_path
):
    slots = Run(base, manifests, tmp_path, spaces.Space(), dev=False).finish()
    describe(slots, shared_start=True)
    made = space_of(slots, 5)
    vectors = space_initialization.load_submodels(
        slots.directory.path, FINGERPRINT, made
    )
    assert set(vectors) == set(SPEAKERS)
    share = space_initialization.from_submodels(made, vectors)
    assert share == pytest.approx(1.0)
    for slot, speaker in enumerate(SPEAKERS):
        for name, tensor in slots.tensors(speaker).items():
            np.testing.assert_allclose(made.read(slot)[name], tensor, atol=1e-5)
    points = made.embeddings.numpy()
    np.testing.assert_allclose(points[3], points[:3].mean(axis=0), atol=1e-6)
    # Embeddings have the scale of drawn ones, in the three directions used.
    np.testing.assert_allclose(
        np.sqrt(np.mean(points[:3, :3] ** 2)), 1 / np.sqrt(5), rtol=1e-4
    )
    small = space_of(slots, 2)
    share = space_initialization.from_submodels(small, vectors)
    assert 0.5 < share < 1.0
    describe(slots, shared_start=False)
    with pytest.raises(ValueError, match="submodel.shared_start=true"):
        space_initialization.load_submodels(
            slots.directory.path, FINGERPRINT, made
        )
    describe(slots, shared_start=True)
    with pytest.raises(ValueError, match="another base model"):
        space_initialization.load_submodels(
            slots.directory.path, "1" * 64, made
        )
    with pytest.raises(ValueError, match="no Submodels to start"):
        space_initialization.load_submodels(
            str(tmp_path / "none"), FINGERPRINT, made
        )


def test_a_space_is_fitted_again_from_where_it_was(base, tmp_path):
    folder = tmp_path / "speech"
    first = (tiny.recordings(folder, SPEAKERS, 3), "")
    more = (tiny.recordings(folder, (*SPEAKERS, "zoe"), 3, name="more"), "")
    before = Run(base, first, tmp_path / "first", SPACE, dev=False).finish()
    published = files(before.directory.path)
    stored = space_file.load(before.directory.space)
    again = Run(base, more, tmp_path / "again", SPACE, dev=False)
    known = space_initialization.from_space(again.job.stack, stored)
    assert known == 3
    made = again.job.stack
    zoe = made.slot("zoe")
    for slot, speaker in enumerate(made.speakers):
        expected = stored.mean_embedding
        if slot != zoe:
            expected = stored.embedding(speaker)
        np.testing.assert_array_equal(made.embeddings[slot], expected)
        for name, tensor in stored.materialise(expected).items():
            np.testing.assert_array_equal(made.read(slot)[name], tensor)
    heard = space_initialization.listen(
        again.job, made.encoder, again.corpus.train
    )
    np.testing.assert_allclose(
        space_initialization.predict(made.encoder, heard),
        stored.speaker_encoder().predict(heard),
        rtol=1e-5,
        atol=1e-6,
    )
    grown = task.SubmodelTask(
        base,
        dataclasses.replace(
            again.job.experiment,
            space=dataclasses.replace(SPACE, initializer="space"),
        ),
        again.corpus.speakers,
    )
    said = space_initialization.initialize(
        grown, again.corpus.train, FINGERPRINT, before.directory.path
    )
    assert "3 of 4 embeddings" in said and "where its encoder puts" in said
    predicted = space_initialization.predict(made.encoder, heard)[zoe]
    assert np.max(np.abs(predicted - stored.mean_embedding)) > 1e-3
    for slot, speaker in enumerate(made.speakers):
        if slot != zoe:
            np.testing.assert_array_equal(
                grown.stack.embeddings[slot], stored.embedding(speaker)
            )
    np.testing.assert_allclose(
        grown.stack.embeddings[zoe], predicted, rtol=1e-5, atol=1e-6
    )
    again.finish()
    fitted = space_file.load(again.directory.space)
    assert any(
        not np.array_equal(fitted.basis[name], tensor)
        for name, tensor in stored.basis.items()
    )
    # Whoever was enrolled or published before has what they had.
    assert files(before.directory.path) == published
    other = space_of(again, stored.embedding_dim + 1)
    with pytest.raises(ValueError, match="`space.embedding_dim` must be as"):
        space_initialization.from_space(other, stored)


def space_of(slots, embedding_dim):
    space = embedding_space.EmbeddingSpace(
        (*SPEAKERS, "zoe"), slots.job.stack.layout, embedding_dim
    )
    space.initialize(0)
    return space
