"""A whole job on a tiny base: the laws that hold of training."""

import collections
import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
import tqdm

from lingvo_like.base_models import conformer_ctc
from lingvo_like.stack import rows as slot_rows
from lingvo_like.submodel import file as submodel_file
from tasks.asr.batches import minibatch_schedule, speaker_places
from tasks.asr.data import preparation
from tasks.asr.training import (
    checkpoint,
    job_state,
    model_directory,
    preemption,
    sharding,
    submodel_files,
    trainer,
)
from tests import layouts, tiny
from tests.lingvo_like.base_models.whisper import whisper_bases
from tpu.distribute import replicas

SPEAKERS = ("ann", "bob", "cy")
AUGMENT = {
    "speed_factors": (0.9, 1.0, 1.1),
    "num_freq_masks": 1,
    "num_time_masks": 1,
    "freq_mask_max_bins": 5,
    "time_mask_max_frames": 5,
}
# So fast that some are done before others.
TURNS = {
    "learning_rate": 0.2,
    "num_steps": 8,
    "eval_every_steps": 2,
    "patience": 1,
    "speakers_per_step": 2,
}
# Tasks that were made before, with the values of their variables then.
_TASKS = {}


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


@pytest.fixture(scope="module")
def seven(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seven")
    names = [f"s{i}" for i in range(7)]
    return (
        tiny.recordings(folder, names, 3),
        tiny.recordings(folder, names, 2, seed=1, name="dev"),
    )


@pytest.fixture(scope="module", autouse=True)
def _forget_tasks():
    yield
    _TASKS.clear()


def make(
    base,
    manifests,
    folder,
    only="",
    augment=True,
    dev=True,
    learning_rate=None,
    **train,
):
    experiment = tiny.experiment(**train)
    if learning_rate:
        experiment = dataclasses.replace(
            experiment,
            optimizer=dataclasses.replace(
                experiment.optimizer, learning_rate=learning_rate
            ),
        )
    if augment:
        experiment = dataclasses.replace(
            experiment,
            augment=dataclasses.replace(experiment.augment, **AUGMENT),
        )
    corpus = preparation.prepare(
        base, experiment, manifests[0], manifests[1] if dev else ""
    )
    if only:
        corpus = keep(corpus, only)
    directory = model_directory.ModelDirectory(str(folder))
    directory.prepare()
    return trainer.Trainer(
        new_state(base, experiment, corpus.train),
        corpus.train,
        corpus.dev,
        directory,
        submodel_files.Origin("conformer.Tiny", "0" * 64),
    )


def new_state(base, experiment, data):
    """A new job, whose steps are compiled once for all tests."""
    in_graph = dataclasses.replace(
        experiment,
        train=dataclasses.replace(
            experiment.train,
            checkpoint_every_seconds=0,
            eval_every_steps=1,
            patience=0,
            steps_per_call=1,
            submodel_dtype="float32",
        ),
    )
    key = (id(base), len(data), in_graph)
    if key not in _TASKS:
        state = job_state.create(base, experiment, data)
        start = {k: np.array(v) for k, v in state.task.state_by_name.items()}
        _TASKS[key] = base, state.task, state.sharding.slot_rows, start
        return state
    _, task, rows, start = _TASKS[key]
    task.experiment = experiment
    shards = sharding.shard(replicas.Replicas(), base, experiment, data)
    for name, variable in task.state_by_name.items():
        variable.assign(start[name])
    if isinstance(rows, slot_rows.PooledRows):
        slots = range(len(data))
        rows.leave(slots)
        taken = rows.take(speaker_places.in_turn(slots, (), shards.places_of))
        task.stack.start(
            taken, experiment.train.seed, experiment.submodel.shared_start
        )
        task.optimizer.reset(rows, taken)
    return job_state.JobState(task, dataclasses.replace(shards, slot_rows=rows))


def restore(run):
    return run.state.restore(run._directory.checkpoints)


def first_batch(run):
    calls = minibatch_schedule.training_calls(
        run._train.schedules,
        dict.fromkeys(range(3), 0),
        dict.fromkeys(range(3), 1),
        2,
    )
    (batch,) = next(run._train.load(next(calls)))
    return batch


def keep(corpus, speaker):
    slot = corpus.speakers.index(speaker)
    return dataclasses.replace(
        corpus,
        speakers=(speaker,),
        train={0: dataclasses.replace(corpus.train[slot], slot=0)},
        dev={0: dataclasses.replace(corpus.dev[slot], slot=0)},
    )


def files(folder):
    return {
        path.name: path.read_bytes()
        for path in (pathlib.Path(folder) / "submodels").iterdir()
    }


def tensors(folder, speaker):
    data = files(folder)[submodel_file.file_name(speaker)]
    return safetensors.numpy.load(data)


@pytest.fixture(scope="module")
def whole(base, manifests, tmp_path_factory):
    """The folder of a job that ran to its end."""
    folder = tmp_path_factory.mktemp("whole")
    before = base.fingerprint()
    assert not base.trainable_variables
    make(base, manifests, folder).run()
    # Training never touches the base.
    assert base.fingerprint() == before
    return folder


def test_a_submodel_comes_out_the_same_alone_and_with_others(
    base, manifests, whole, tmp_path
):
    """With dropout, SpecAugment and speed perturbation on."""
    make(base, manifests, tmp_path, only="bob").run()
    together = tensors(whole, "bob")
    alone = tensors(tmp_path, "bob")
    moved = 0.0
    for name, value in alone.items():
        scale = np.abs(value).max() + 1e-6
        assert np.abs(value - together[name]).max() / scale < 1e-3, name
        moved += np.abs(value).sum() if "up_kernel" in name else 0.0
    assert moved > 0.0


def test_on_a_short_whisper_too_a_submodel_is_its_own_speakers(
    manifests, tmp_path
):
    """Whisper hears the padding, whose length is then the speaker's own."""
    base = whisper_bases.small(audio_context="short")
    before = base.fingerprint()
    together = make(base, manifests, tmp_path / "all")
    together.run()
    alone = make(base, manifests, tmp_path / "one")
    alone.selected = [1]
    alone.run()
    name = submodel_file.file_name("bob")
    assert files(tmp_path / "one") == {name: files(tmp_path / "all")[name]}
    assert len(files(tmp_path / "all")) == 3
    # What each learned helps on its own dev speech, untouched though it was.
    for state in together.state.speakers:
        assert state.best_loss < state.base_loss
    assert base.fingerprint() == before


def test_files_are_of_the_dtype_asked_for(base, manifests, tmp_path):
    make(base, manifests, tmp_path, submodel_dtype="float16").run()
    assert len(files(tmp_path)) == len(SPEAKERS)
    for name in files(tmp_path):
        loaded = submodel_file.load(tmp_path / "submodels" / name)
        assert loaded.metadata.dtype == "float16"


def test_the_same_program_gives_the_same_bits_alone_and_with_others(
    base, manifests, whole, tmp_path
):
    for slot, speaker in enumerate(SPEAKERS):
        alone = make(base, manifests, tmp_path / speaker)
        alone.selected = [slot]
        alone.run()
        name = submodel_file.file_name(speaker)
        assert files(tmp_path / speaker) == {name: files(whole)[name]}


def rewritten(path, name, lines):
    """A manifest beside another one, of some of its lines."""
    result = pathlib.Path(path).with_name(f"{name}.jsonl")
    result.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(result)


def test_no_byte_depends_on_neighbours_dev_sets_or_on_the_order_of_lines(
    base, manifests, tmp_path
):
    train, dev = (
        [json.loads(line) for line in pathlib.Path(path).open()]
        for path in manifests
    )
    own = [line for line in dev if line["speaker"] == "bob"]
    others = [line for line in dev if line["speaker"] != "bob"]
    # Longer than any transcript of the job, which `whole` knows nothing of.
    long = [line | {"text": "no stop go no stop"} for line in others[:1]]
    more = [
        line | {"utt_id": f"{line['utt_id']}-{copy}"}
        for line in others
        for copy in range(5)
    ]
    found = []
    for name, lines in (
        ("all", dev[::-1]),
        ("none", own),
        ("one", own + others[:1]),
        ("many", more + long + own),
    ):
        changed = (
            rewritten(
                manifests[0],
                f"train_{name}",
                train if name == "all" else train[::-1],
            ),
            rewritten(manifests[1], f"dev_{name}", lines[::-1]),
        )
        run = make(base, changed, tmp_path / name)
        tiny.let_places_round(run)
        run.run()
        found.append(files(tmp_path / name)[submodel_file.file_name("bob")])
    assert len(set(found)) == 1
    widths = {
        minibatch.num_tokens
        for schedule in run._dev.schedules.values()
        for minibatch in schedule.evaluation_minibatches()
    }
    assert widths == {16, 32}


def test_an_interrupted_run_ends_in_the_same_bytes(
    base, manifests, whole, tmp_path
):
    for stop_after in (1, 7):
        folder = tmp_path / f"cut{stop_after}"
        run = make(base, manifests, folder, checkpoint_every_seconds=0)
        interrupt(run, stop_after)
        with pytest.raises(KeyboardInterrupt):
            run.run()
        again = make(base, manifests, folder)
        assert restore(again)
        again.run()
        assert files(folder) == files(whole), stop_after


def test_the_bar_goes_on_where_the_run_does_and_shows_the_dev_loss(
    base, manifests, tmp_path, monkeypatch
):
    bars = []

    class Bar(tqdm.tqdm):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            bars.append(self)

    run = make(base, manifests, tmp_path, checkpoint_every_seconds=0)
    interrupt(run, 7)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    again = make(base, manifests, tmp_path)
    restore(again)
    done = sum(state.steps for state in again.state.speakers)
    monkeypatch.setattr(tqdm, "tqdm", Bar)
    again.run()
    (bar,) = (bar for bar in bars if bar.desc == "training")
    assert bar.initial == done > 0
    assert bar.n == bar.total == sum(s.steps for s in again.state.speakers)
    assert re.search(r"loss=\d.*dev=\d", bar.postfix)


def interrupt(run, after):
    original = run.train_step
    calls = []

    def step(batches):
        calls.append(0)
        if len(calls) > after:
            raise KeyboardInterrupt
        return original(batches)

    run.train_step = step


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_first_and_the_rest_ends_in_the_same_bytes(
    base, manifests, whole, tmp_path, number
):
    run = make(base, manifests, tmp_path)
    original = run.train_step

    def step(batches):
        if run.state.job_step == 3:
            os.kill(os.getpid(), number)
        return original(batches)

    run.train_step = step
    with pytest.raises(preemption.Stopped) as raised:
        run.run()
    assert raised.value.exit_status == 128 + number
    again = make(base, manifests, tmp_path)
    assert restore(again)
    # Nothing that was done is done again.
    assert again.state.job_step == run.state.job_step == 4
    again.run()
    assert files(tmp_path) == files(whole)


def copied(manifests, folder):
    """The manifests with recordings of their own, which may be lost."""
    shutil.copytree(pathlib.Path(manifests[0]).parent, folder)
    return tuple(str(folder / pathlib.Path(path).name) for path in manifests)


@pytest.mark.parametrize(
    "values, gone",
    [
        ({}, "train"),
        ({}, "dev"),
        ({"steps_per_call": 3}, "train"),
        ({"cache_activations": True}, "train"),
    ],
)
def test_who_loses_a_recording_is_set_aside_and_nobody_else_notices(
    base, manifests, tmp_path, capsys, values, gone
):
    is_cached = "cache_activations" in values
    values = {"augment": not is_cached, **values}
    speech = copied(manifests, tmp_path / "speech")
    make(base, speech, tmp_path / "whole", **values).run()
    run = make(base, speech, tmp_path / "run", **values)
    lost = [tmp_path / "speech" / f"{gone}_1_{n}.wav" for n in range(3)]
    kept = [path.read_bytes() for path in lost]
    original, legs = minibatch_schedule.training_calls, []

    def training_calls(*arguments):
        legs.append(0)
        # What is cached is not missed.
        if len(legs) == (1 if is_cached else 2):
            for path in lost:
                path.unlink()
        yield from original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minibatch_schedule, "training_calls", training_calls)
        run.run()
    (reason,) = run.set_aside.reasons.values()
    assert list(run.set_aside.reasons) == [1]
    assert f"{gone}_1_" in reason
    assert "warning: bob is set aside" in capsys.readouterr().err
    whole = files(tmp_path / "whole")
    bob = submodel_file.file_name("bob")
    others = {name: data for name, data in whole.items() if name != bob}
    found = files(tmp_path / "run")
    assert {name: found[name] for name in others} == others
    assert found.get(bob) != whole[bob]
    # The rest once they are back.
    for path, content in zip(lost, kept, strict=True):
        path.write_bytes(content)
    again = make(base, speech, tmp_path / "run", **values)
    assert restore(again)
    again.run()
    assert again.set_aside.reasons == {}
    assert files(tmp_path / "run") == whole


def damage(path, how):
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    else:
        # A whole file, of the wrong speaker.
        other = next(p for p in path.parent.iterdir() if p != path)
        path.write_bytes(other.read_bytes())


@pytest.mark.parametrize("how", ["gone", "cut", "another"])
@pytest.mark.parametrize("best", [8, 4])
def test_a_file_that_a_finished_run_lost_is_made_again(
    base, manifests, tmp_path, capsys, how, best
):
    """From the checkpoint if it was the last, else by training again."""

    def run_again():
        run = make(base, manifests, tmp_path)
        run._dev_losses = lambda slots: {
            slot: abs(run.state.speakers[slot].steps - best) + 1.0
            for slot in slots
        }
        restore(run)
        run.run()
        return run

    steps = run_again().state.job_step
    before = files(tmp_path)
    assert (
        submodel_file.load(
            tmp_path / "submodels" / "bob.safetensors"
        ).metadata.training["step"]
        == best
    )
    damage(tmp_path / "submodels" / "bob.safetensors", how)
    capsys.readouterr()
    job_step = run_again().state.job_step
    assert files(tmp_path) == before
    assert "not of this run: bob" in capsys.readouterr().err
    assert job_step == (steps if best == 8 else steps + 8)
    assert run_again().state.job_step == job_step


def test_a_kill_between_an_evaluation_and_its_checkpoint_costs_no_update(
    base, manifests, whole, tmp_path
):
    run = make(base, manifests, tmp_path, checkpoint_every_seconds=0)
    original = run._conclude

    def conclude(slot, *losses):
        original(slot, *losses)
        if slot == 2 and run.state.speakers[slot].steps == 4:
            raise KeyboardInterrupt

    run._conclude = conclude
    with pytest.raises(KeyboardInterrupt):
        run.run()
    again = make(base, manifests, tmp_path)
    restore(again)
    # The checkpoint is of the last update, the files are of the evaluation.
    assert {s.evaluated_at for s in again.state.speakers} == {0}
    assert len(files(tmp_path)) == 3
    again.run()
    assert files(tmp_path) == files(whole)
    state, _ = checkpoint.read(str(whole / "checkpoints"))
    assert again.state.job_step == state["job_step"]


@pytest.mark.parametrize("whose", ["ann", "another base"])
def test_a_later_step_does_not_make_a_file_the_speakers_own(
    base, manifests, whole, tmp_path, whose
):
    """A kill leaves files of a later step, which stay; others' do not."""
    run = make(base, manifests, tmp_path, checkpoint_every_seconds=0)
    interrupt(run, 10)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    again = make(base, manifests, tmp_path)
    restore(again)
    state, bob = again.state.speakers[1], submodel_file.file_name("bob")
    assert 0 < state.best_step <= state.steps < 8 and state.sha256
    made = submodel_file.load(
        whole / "submodels" / submodel_file.file_name("ann")
    )
    metadata = made.metadata
    if whose != "ann":
        metadata = dataclasses.replace(
            metadata, speaker="bob", base_fingerprint="1" * 64
        )
    odd = dataclasses.replace(made, metadata=metadata)
    submodel_file.save(tmp_path / "submodels" / bob, odd)
    # Nobody becomes better, who would have another file.
    again._dev_losses = lambda slots: dict.fromkeys(slots, 1e9)
    again.run()
    found = submodel_file.load(tmp_path / "submodels" / bob).metadata
    assert found.speaker == "bob"
    assert found.base_fingerprint == "0" * 64
    assert found.sha256 == again.state.speakers[1].sha256


def test_no_file_is_written_before_something_was_learned(
    base, manifests, tmp_path
):
    run = make(base, manifests, tmp_path, checkpoint_every_seconds=0)
    interrupt(run, 1)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert {state.best_step for state in run.state.speakers} == {0}
    assert files(tmp_path) == {}
    again = make(base, manifests, tmp_path)
    restore(again)
    # The first losses stay the best: nobody learns anything.
    again._dev_losses = lambda slots: dict.fromkeys(slots, 1e9)
    again.run()
    for name in map(submodel_file.file_name, SPEAKERS):
        made = submodel_file.load(tmp_path / "submodels" / name)
        assert made.layout.is_identity(made.tensors)
        assert made.metadata.training["step"] == 0
    before = files(tmp_path)
    (tmp_path / "submodels" / name).unlink()
    last = make(base, manifests, tmp_path)
    restore(last)
    last.run()
    assert files(tmp_path) == before


def test_a_value_beyond_float16_makes_a_file_of_float32(
    base, manifests, tmp_path, capsys
):
    run = make(base, manifests, tmp_path, submodel_dtype="float16", dev=False)
    original = run.state.task.stack.read
    run.state.task.stack.read = lambda slot: {
        name: tensor + (7e4 if slot == 1 else 0.0)
        for name, tensor in original(slot).items()
    }
    run.run()
    del run.state.task.stack.read
    dtypes = {
        name: submodel_file.load(tmp_path / "submodels" / name).metadata.dtype
        for name in files(tmp_path)
    }
    assert dtypes == {
        "ann.safetensors": "float16",
        "bob.safetensors": "float32",
        "cy.safetensors": "float16",
    }
    assert "too large for float16" in capsys.readouterr().err


def test_each_bucket_compiles_once_and_calls_of_many_steps_give_the_same_bits(
    manifests, tmp_path
):
    base = tiny.base(buckets_seconds=(1.0, 1.6))
    single = make(base, manifests, tmp_path / "single")
    single.run()
    for step in (single.state.task.train_step, single.state.task.losses):
        assert step.experimental_get_tracing_count() == 2
    many = make(base, manifests, tmp_path / "many", steps_per_call=3)
    many.run()
    assert files(tmp_path / "many") == files(tmp_path / "single")
    # One program for each bucket, however many steps a call has left.
    assert many.train_steps.tracing_count == 2


def test_with_the_base_in_bfloat16_what_learns_stays_in_float32(
    base, manifests, tmp_path
):
    base.save(str(tmp_path / "base"))
    half = conformer_ctc.load(str(tmp_path / "base"), dtype="mixed_bfloat16")
    assert half.fingerprint() == base.fingerprint()
    run = make(half, manifests, tmp_path / "half", num_steps=8)
    batch = first_batch(run)
    activations, _ = run.state.task._activations(batch, augment=False)
    assert activations.dtype == tf.bfloat16
    losses, norms = run.state.task.train_step(batch)
    assert losses.dtype == norms.dtype == tf.float32
    for name, variable in run.state.task.state_by_name.items():
        assert variable.dtype in (tf.float32, tf.int32), name
    exact = make(base, manifests, tmp_path / "exact")
    expected, _ = exact.state.task.train_step(batch)
    np.testing.assert_allclose(losses, expected, rtol=0.05)
    assert not np.array_equal(losses, expected)


def test_cached_activations_give_the_same_submodels(base, manifests, tmp_path):
    for name, cached in (("plain", False), ("cached", True)):
        make(
            base,
            manifests,
            tmp_path / name,
            augment=False,
            cache_activations=cached,
        ).run()
    assert not os.path.exists(tmp_path / "plain" / "activations")
    # Those of another base model or block would lie in another folder.
    (kept,) = (tmp_path / "cached" / "activations").iterdir()
    assert kept.name == f"{base.fingerprint()[:12]}-1-float32"
    assert len(list(kept.iterdir())) == len(SPEAKERS) * (5 + 3)
    for speaker in SPEAKERS:
        plain = tensors(tmp_path / "plain", speaker)
        cached = tensors(tmp_path / "cached", speaker)
        for name, value in plain.items():
            np.testing.assert_allclose(cached[name], value, atol=1e-5)


def test_the_file_holds_the_best_weights_and_not_the_last(
    base, manifests, tmp_path
):
    run = make(base, manifests, tmp_path, patience=2, eval_every_steps=2)
    scripted = iter([5.0, 3.0, 4.0, 4.5])

    def dev_losses(slots):
        value = next(scripted)
        return dict.fromkeys(slots, value)

    run._dev_losses = dev_losses
    run.run()
    for state in run.state.speakers:
        assert state.best_step == 2
        assert state.steps == 6
        assert state.finished
    for speaker in SPEAKERS:
        loaded = submodel_file.load(
            str(tmp_path / "submodels" / submodel_file.file_name(speaker))
        )
        assert loaded.metadata.training["step"] == 2
        assert loaded.metadata.training["dev_loss"] == 3.0
        assert loaded.metadata.training["base_dev_loss"] == 5.0


def test_speaker_without_dev_keeps_its_last_weights(base, manifests, tmp_path):
    run = make(base, manifests, tmp_path, dev=False)
    run.run()
    name = layouts.tensor_name(0, "up_kernel")
    np.testing.assert_array_equal(
        tensors(tmp_path, "cy")[name], run.state.task.stack.read(2)[name]
    )


def test_only_selected_speakers_train(base, manifests, whole, tmp_path):
    run = make(base, manifests, tmp_path)
    run.selected = [1]
    before = run.state.task.stack.read(0)
    run.run()
    assert list(files(tmp_path)) == [submodel_file.file_name("bob")]
    for name, value in run.state.task.stack.read(0).items():
        np.testing.assert_array_equal(value, before[name])
    rest = make(base, manifests, tmp_path)
    assert restore(rest)
    rest.run()
    assert len(files(tmp_path)) == 3
    name = layouts.tensor_name(1, "up_kernel")
    np.testing.assert_allclose(
        tensors(tmp_path, "ann")[name],
        tensors(whole, "ann")[name],
        atol=1e-5,
    )


def test_padding_of_a_batch_never_changes_the_losses(base, manifests, tmp_path):
    run = make(base, manifests, tmp_path)
    batch = first_batch(run)
    losses, _ = run.state.task.losses(batch)
    audio = batch["audio"].numpy()
    for place in range(2):
        for row in range(2):
            length = int(batch["lengths"][place, row])
            audio[place, row, length:] = np.nan
    tokens = batch["tokens"].numpy()
    for place in range(2):
        for row in range(2):
            tokens[place, row, int(batch["token_lengths"][place, row]) :] = 7
    spoiled = {
        **batch,
        "audio": tf.constant(audio),
        "tokens": tf.constant(tokens),
    }
    again, _ = run.state.task.losses(spoiled)
    np.testing.assert_array_equal(losses.numpy(), again.numpy())


def test_history_and_checkpoint_are_there_at_the_end(base, manifests, whole):
    lines = (whole / "history.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["step"] for row in rows} == {0, 4, 8}
    assert all("dev_loss" in row for row in rows)
    task = make(base, manifests, whole).state.task
    assert checkpoint.restore(str(whole / "checkpoints"), task.state_by_name)
    (events,) = (whole / "tensorboard").iterdir()
    curves = collections.Counter(
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(events))
        for value in event.summary.value
    )
    for speaker in SPEAKERS:
        # At 0, 4 and 8 updates; nobody has trained before the first.
        assert curves[f"dev_loss/{speaker}"] == 3
        assert curves[f"train_loss/{speaker}"] == 2
    for name in ("all/mean_dev_loss", "all/finished", "all/steps_not_finite"):
        assert curves[name] >= 3


@pytest.fixture(scope="module")
def row_each(base, seven, tmp_path_factory):
    """The files of more speakers than places, who have a row each."""
    folder = tmp_path_factory.mktemp("row_each")
    run = make(base, seven, folder, **TURNS)
    run.run()
    assert len({state.steps for state in run.state.speakers}) > 1
    assert len(files(folder)) == 7
    return files(folder)


def test_speakers_who_take_turns_come_out_as_with_a_row_each(
    base, seven, row_each, tmp_path
):
    run = make(base, seven, tmp_path, resident_speakers=3, **TURNS)
    for variable in run.state.task.state_by_name.values():
        assert variable.shape[0] == 3
    run.run()
    assert files(tmp_path) == row_each


def test_turns_that_were_cut_off_go_on_to_the_same_bytes(
    base, seven, row_each, tmp_path
):
    turns = TURNS | {"resident_speakers": 3}
    for stop_after in (1, 16):
        run = make(base, seven, tmp_path, checkpoint_every_seconds=0, **turns)
        restore(run)
        interrupt(run, stop_after)
        with pytest.raises(KeyboardInterrupt):
            run.run()
    last = make(base, seven, tmp_path, **turns)
    assert restore(last)
    assert 0 < sum(state.finished for state in last.state.speakers) < 7
    last.run()
    assert files(tmp_path) == row_each


def test_who_finds_no_row_after_a_pause_begins_again(
    base, seven, row_each, tmp_path
):
    run = make(
        base,
        seven,
        tmp_path,
        resident_speakers=3,
        checkpoint_every_seconds=0,
        **TURNS,
    )
    interrupt(run, 4)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    fewer = make(base, seven, tmp_path, resident_speakers=2, **TURNS)
    assert restore(fewer)
    begun = {row["speaker"] for row in fewer.state.history}
    assert len(begun) == 2
    fewer.run()
    assert files(tmp_path) == row_each
