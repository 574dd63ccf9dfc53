"""All the weights of a base model learn, and an interruption is no matter."""

import os
import signal

import numpy as np
import pytest

from params import bases, jobs
from tasks.asr.bases import training as base_training
from tasks.asr.data import preparation, rejections
from tasks.asr.training import checkpoint, preemption
from tests import tiny


class Cut(Exception):
    """As if the process had been killed."""


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    path = tiny.recordings(tmp_path_factory.mktemp("speech"), ("ann",), 6)
    return preparation.read_speakers(
        tiny.base(), path, rejections.Rejections(), max_tokens=64
    )


def make():
    return base_training.BaseTrainer(
        tiny.base(),
        bases.BaseTraining(
            num_steps=24,
            utterances_per_step=3,
            learning_rate=3e-3,
            warmup_steps=2,
            eval_every_steps=8,
        ),
        jobs.Augment(num_freq_masks=1),
    )


def weights(trainer):
    return {k: np.array(v) for k, v in trainer.state.items()}


def forget(trainer):
    for variable in trainer.state.values():
        variable.assign(np.ones(variable.shape))


def interrupted_at(call, step):
    calls = []

    def interrupted(batch):
        calls.append(0)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGINT)
        return step(batch)

    return interrupted


def test_the_loss_falls_and_a_run_that_was_cut_off_ends_the_same(
    speech, tmp_path, monkeypatch
):
    trainer = make()
    first = weights(trainer)
    history = trainer.run(speech, speech)
    assert [row["step"] for row in history] == [8, 16, 24]
    for name in ("train_loss", "dev_loss"):
        assert history[-1][name] < 0.9 * history[0][name]
    last = weights(trainer)
    kernels = [n for n in first if n.endswith("kernel") and "weight/" in n]
    assert kernels
    for name in kernels:
        assert (first[name] != last[name]).any(), name

    def evaluation(step, losses, dev_data):
        if step == 16:
            raise Cut
        return kept(step, losses, dev_data)

    kept = trainer._evaluation
    for name, variable in trainer.state.items():
        variable.assign(first[name])
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_evaluation", evaluation)
        with pytest.raises(Cut):
            trainer.run(speech, speech, str(tmp_path))
    # As in a process that begins: the checkpoint alone knows the weights.
    forget(trainer)
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "_step", interrupted_at(13 - 8, trainer._step))
        with pytest.raises(preemption.Stopped, match="continues from it"):
            trainer.run(speech, speech, str(tmp_path))
    forget(trainer)
    saved = checkpoint.restore(str(tmp_path), trainer.state)
    assert saved["step"] == 13
    forget(trainer)
    found = trainer.run(speech, speech, str(tmp_path))
    # The mean loss is of the steps since the interruption.
    found[1]["train_loss"] = history[1]["train_loss"]
    assert found == history
    for name, value in weights(trainer).items():
        np.testing.assert_array_equal(value, last[name], err_msg=name)
