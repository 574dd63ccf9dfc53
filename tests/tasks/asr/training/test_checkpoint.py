"""Checkpoints: complete, verified, or absent."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tasks.asr.training import checkpoint


def variables(value=0.0):
    return {
        "a": tf.Variable(np.full((3, 2), value, "float32")),
        "b": tf.Variable(np.full((3,), int(value), "int32")),
    }


def save(folder, value, state=None):
    checkpoint.save(str(folder), variables(value), state or {"s": value})


def test_what_was_saved_comes_back(tmp_path):
    save(tmp_path, 3.0, {"text": "ü"})
    found = variables()
    assert checkpoint.restore(str(tmp_path), found) == {"text": "ü"}
    assert np.all(found["a"].numpy() == 3.0)
    assert np.all(found["b"].numpy() == 3)


def test_no_checkpoint_is_none_and_leaves_the_variables(tmp_path):
    found = variables(7.0)
    assert checkpoint.restore(str(tmp_path / "none"), found) is None
    assert np.all(found["a"].numpy() == 7.0)


def test_the_newest_complete_one_counts(tmp_path):
    for value in (1.0, 2.0, 3.0):
        save(tmp_path, value)
    # As after a kill: the files are there, state.json is not.
    (tmp_path / "00000003" / "state.json").unlink()
    found = variables()
    assert checkpoint.restore(str(tmp_path), found) == {"s": 2.0}
    assert np.all(found["a"].numpy() == 2.0)


def test_old_ones_and_leftovers_are_removed(tmp_path):
    for step in range(1, 5):
        save(tmp_path, float(step))
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "00000003",
        "00000004",
    ]


@pytest.mark.parametrize("how", ["cut", "flip", "gone"])
def test_damaged_tensor_is_named_and_not_trained_on(tmp_path, how):
    save(tmp_path, 1.0)
    path = tmp_path / "00000001" / "0000.safetensors"
    data = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        cut = data[:-3]
        flip = data[:-1] + bytes([data[-1] ^ 1])
        path.write_bytes(cut if how == "cut" else flip)
    with pytest.raises(checkpoint.CheckpointError, match="0000.safetensors"):
        checkpoint.restore(str(tmp_path), variables())


def test_altered_state_is_noticed(tmp_path):
    save(tmp_path, 1.0, {"steps": 10})
    path = tmp_path / "00000001" / "state.json"
    path.write_text(path.read_text().replace("10", "90"))
    with pytest.raises(checkpoint.CheckpointError, match="state.json"):
        checkpoint.restore(str(tmp_path), variables())


def test_checkpoint_of_another_job_is_refused(tmp_path):
    save(tmp_path, 1.0)
    more = {**variables(), "c": tf.Variable(0.0)}
    with pytest.raises(checkpoint.CheckpointError, match="other variables"):
        checkpoint.restore(str(tmp_path), more)
    wide = {**variables(), "a": tf.Variable(np.zeros((4, 2), "float32"))}
    with pytest.raises(checkpoint.CheckpointError, match="has shape"):
        checkpoint.restore(str(tmp_path), wide)


def test_state_is_plain_json(tmp_path):
    save(tmp_path, 1.0, {"steps": 10})
    text = (tmp_path / "00000001" / "state.json").read_text()
    assert json.loads(text.partition("\n")[2])["state"] == {"steps": 10}
