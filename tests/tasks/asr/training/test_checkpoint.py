"""Checkpoints: complete, verified, or absent."""

import errno
import json

import numpy as np
import pytest
import tensorflow as tf

from lingvo_like import files
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


def test_what_a_full_disk_cut_off_makes_room_for_the_next(
    tmp_path, monkeypatch
):
    save(tmp_path, 1.0)
    write, seen = files.write_atomically, []

    def full(path, data):
        seen.append(len(list(tmp_path.iterdir())))
        if path.endswith("0001.safetensors"):
            raise OSError(errno.ENOSPC, "no space left", path)
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_atomically", full)
        for _ in range(3):
            with pytest.raises(OSError, match="no space left"):
                save(tmp_path, 2.0)
    # The last good one, and what is being written.
    assert max(seen) == 2
    found = variables()
    assert checkpoint.restore(str(tmp_path), found) == {"s": 1.0}
    save(tmp_path, 3.0)
    assert checkpoint.restore(str(tmp_path), found) == {"s": 3.0}


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


class Rows:
    """Some slots' rows of a tensor, as one of several processes has them."""

    def __init__(self, slots, values, num_slots=3):
        self.slots = np.array(slots)
        self.values = np.array(values, np.float32)
        self.shape = (num_slots, *self.values.shape[1:])

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.values, dtype)


class Process:
    """One of two processes, which knows what the other would say."""

    count = 2

    def __init__(self, index, said):
        self.index, self.is_chief = index, index == 0
        self._said = said

    def gather(self, value=None):
        self._said.setdefault(self.index, []).append(value)
        number = len(self._said[self.index]) - 1
        others = self._said.get(1 - self.index, [])
        other = others[number] if number < len(others) else value
        if number == 0:
            # Both looked at the folder before either made one.
            return [other, other]
        return [value, other] if self.is_chief else [other, value]


def test_what_processes_wrote_is_one_tensor_in_the_order_of_slots(tmp_path):
    said = {}
    shared = tf.Variable([7.0])
    for index, rows in (
        (1, Rows([2, 0], [[2.0], [0.0]])),
        (0, Rows([1], [[1.0]])),
    ):
        checkpoint.save(
            str(tmp_path),
            {"rows": rows, "shared": shared},
            {"s": 1},
            processes=Process(index, said),
        )
        # Without the chief's word there is no checkpoint.
        assert (tmp_path / "00000001" / "state.json").exists() == (index == 0)
    found = {"rows": tf.Variable(np.zeros((3, 1), "f4")), "shared": shared}
    shared.assign([0.0])
    assert checkpoint.restore(str(tmp_path), found) == {"s": 1}
    assert found["rows"].numpy()[:, 0].tolist() == [0.0, 1.0, 2.0]
    assert shared.numpy().tolist() == [7.0]
    assert len(list((tmp_path / "00000001").iterdir())) == 4
