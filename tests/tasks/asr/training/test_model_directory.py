"""A model directory: checked before training, and never another run's."""

import concurrent.futures
import dataclasses
import errno
import json
import os
import shutil
import threading

import pytest
import tensorflow as tf

from lingvo_like import files
from params import conformer
from tasks.asr.training import checkpoint, model_directory, run_description
from tests import tiny

FINGERPRINT = "0123456789abcdef" * 4


@pytest.fixture
def directory(tmp_path):
    made = model_directory.ModelDirectory(str(tmp_path / "run"))
    made.prepare()
    return made


def describe(experiment=None, **changes):
    arguments = {
        "name": "conformer.Tiny",
        "experiment": experiment or conformer.Tiny(),
        "base_path": "/bases/tiny",
        "base_fingerprint": FINGERPRINT,
        "data_digests": {"ann": "1", "bob": "2"},
    } | changes
    return run_description.describe(**arguments)


def agree(directory, now, experiment=None):
    run_description.check_agreement(
        directory.path,
        directory.read_experiment(),
        now,
        experiment or conformer.Tiny(),
    )


def refusal(directory, now, experiment=None):
    with pytest.raises(ValueError) as error:
        agree(directory, now, experiment)
    message = str(error.value)
    assert message.startswith(directory.path)
    assert "another --model_dir" in message
    assert "\n" not in message
    return message


class Processes:
    """One of two processes, each in a thread."""

    count = 2

    def __init__(self, index, said, barrier):
        self.index, self.is_chief = index, not index
        self._said, self._barrier = said, barrier

    def gather(self, value=None):
        self._said[self.index] = value
        self._barrier.wait(timeout=60)
        found = list(self._said)
        self._barrier.wait(timeout=60)
        return found


def check_shared(*paths):
    """The errors of two processes with a path each; None without one."""
    said, barrier = [None, None], threading.Barrier(2)

    def check(index):
        try:
            model_directory.ModelDirectory(str(paths[index])).check_shared(
                Processes(index, said, barrier)
            )
        except OSError as error:
            return str(error)

    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(check, range(2)))


def test_processes_that_do_not_share_the_folder_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(model_directory, "_CACHED_SECONDS", 0.0)
    for name in ("shared", "other"):
        (tmp_path / name).mkdir()
    assert check_shared(tmp_path / "shared", tmp_path / "shared") == [None] * 2
    for message in check_shared(tmp_path / "shared", tmp_path / "other"):
        assert "process 1 of TF_CONFIG's 2 does not see" in message
    assert not any(each for _, _, each in os.walk(tmp_path))


def test_the_same_run_goes_on(directory):
    assert directory.read_experiment() is None
    directory.write_experiment(describe())
    agree(directory, describe(base_path="/moved/tiny"))


def test_another_experiment_is_refused_with_both_names(directory):
    directory.write_experiment(describe())
    message = refusal(directory, describe(name="whisper.Stacked"))
    assert "saved conformer.Tiny, now whisper.Stacked" in message


def test_other_values_are_refused_with_the_difference(directory):
    directory.write_experiment(describe())
    other = tiny.experiment(num_steps=9)
    message = refusal(directory, describe(other), other)
    assert "train.num_steps: saved 8, now 9" in message


def test_another_base_is_refused(directory):
    directory.write_experiment(describe())
    message = refusal(directory, describe(base_fingerprint="f" * 64))
    assert "saved 0123456789ab (/bases/tiny), now ffffffffffff" in message


def test_other_speakers_and_recordings_are_refused(directory):
    directory.write_experiment(describe())
    digests = {"ann": "9", "cy": "3"}
    message = refusal(directory, describe(data_digests=digests))
    assert "no longer there: bob" in message
    assert "new speakers: cy" in message
    assert "recordings changed: ann" in message


def test_the_run_of_another_binary_is_refused(directory):
    directory.write_experiment(describe(program=run_description.TRAIN_BASE))
    message = refusal(directory, describe())
    assert "a run of tasks.train_base, not of tasks.train" in message


def test_what_evaluation_asks_for_must_be_the_runs(directory):
    saved = describe()
    directory.write_experiment(saved)
    experiment = directory.saved_values(saved, conformer.Tiny())

    def check(name="", **settings):
        run_description.check_request(
            directory.path, saved, experiment, name, settings
        )

    check(**{"train.num_steps": 8})
    with pytest.raises(ValueError, match="train.num_steps: saved 8, now 9"):
        check(**{"train.num_steps": 9})
    with pytest.raises(ValueError, match="now whisper.Stacked"):
        check("whisper.Stacked")


@pytest.mark.parametrize(
    "data", [b"", b'{"experiment": ', b"\xff\xfe", b"[]", b'{"values": {}}']
)
def test_a_damaged_description_is_named(directory, data):
    with open(directory.experiment, "wb") as file:
        file.write(data)
    with pytest.raises(ValueError) as error:
        directory.read_experiment()
    assert str(error.value).startswith(directory.experiment)


def test_an_altered_value_is_named_with_its_file(directory):
    saved = describe()
    saved["values"]["train"]["num_stepz"] = 3
    with pytest.raises(ValueError) as error:
        directory.saved_values(saved, conformer.Tiny())
    assert str(error.value).startswith(directory.experiment)
    assert "train.num_stepz" in str(error.value)


def test_checkpoints_of_nobody_knows_what_are_refused(directory):
    os.makedirs(os.path.join(directory.checkpoints, "00000004"))
    with pytest.raises(ValueError, match="experiment.json is missing"):
        directory.read_experiment()


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(OSError, match="run: the model directory cannot be"):
        model_directory.ModelDirectory(str(tmp_path / "run")).prepare()
    with pytest.raises(OSError, match="be written: Not a directory"):
        model_directory.check_could_be_written(
            str(tmp_path / "run" / "folder"), "the model directory"
        )
    with pytest.raises(ValueError, match="--model_dir"):
        model_directory.ModelDirectory("")


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(tmp_path):
    (tmp_path / "run").mkdir(mode=0o500)
    with pytest.raises(OSError, match="run: the model directory cannot be"):
        model_directory.ModelDirectory(str(tmp_path / "run")).prepare()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EROFS, "Read-only file system"),
        OSError(errno.ENOSPC, "No space left on device"),
        tf.errors.PermissionDeniedError(None, None, "no access to the bucket"),
    ],
)
def test_a_disk_that_takes_nothing_is_told_at_once(
    tmp_path, monkeypatch, error
):
    def write(path, data):
        raise error

    monkeypatch.setattr(files, "write_atomically", write)
    with pytest.raises(OSError) as raised:
        model_directory.ModelDirectory(str(tmp_path / "run")).prepare()
    assert str(tmp_path / "run") in str(raised.value)
    assert (getattr(error, "strerror", None) or error.message) in str(
        raised.value
    )
    assert "\n" not in str(raised.value)


def test_a_disk_without_room_for_checkpoints_is_told_at_once(
    directory, monkeypatch
):
    variables = [tf.Variable(tf.zeros([256, 1024]))]
    free = 18 * 2**20
    usage = shutil.disk_usage(directory.path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="need 19 MiB, 18 MiB are free"):
        directory.check_disk_space(variables)
    # Those that are there count, and what a kill left half done does not.
    for number in (3, 4):
        os.makedirs(os.path.join(directory.checkpoints, f"{number:08d}"))
    with pytest.raises(OSError, match="need 19 MiB"):
        directory.check_disk_space(variables)
    checkpoint.save(directory.checkpoints, {}, {})
    directory.check_disk_space(variables)


def test_a_disk_without_room_for_submodels_is_told_at_once(
    directory, monkeypatch
):
    usage = shutil.disk_usage(directory.path)._replace(free=18 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(OSError, match="need 20 MiB, 18 MiB are free"):
        directory.check_disk_space([], 4, 2**20)
    for name in ("a", "b"):
        with open(directory.submodel(name), "wb") as file:
            file.write(b"there")
    directory.check_disk_space([], 3, 2**20)


def test_one_process_trains_in_a_directory_at_a_time(tmp_path):
    path = str(tmp_path)
    with model_directory.ModelDirectory(path).lock():
        with pytest.raises(OSError, match="another process is training in it"):
            with model_directory.ModelDirectory(path).lock():
                pass
    with model_directory.ModelDirectory(path).lock():
        pass


def test_what_a_killed_process_was_writing_is_removed(directory):
    for folder in (directory.path, directory.submodels):
        with open(f"{folder}/{files.TEMPORARY_PREFIX}0", "wb") as file:
            file.write(b"half")
    kept = os.path.join(directory.submodels, "ann.safetensors")
    with open(kept, "wb") as file:
        file.write(b"whole")
    directory.prepare()
    assert os.listdir(directory.submodels) == ["ann.safetensors"]
    assert sorted(os.listdir(directory.path)) == ["checkpoints", "submodels"]


def test_damaged_curves_and_texts_are_named(directory):
    assert directory.read_history() == []
    row = {"speaker": "ann", "step": 0, "dev_loss": 1.0}
    for bad in ('{"speaker": "a', "[1]", '{"step": 3}'):
        with open(directory.history, "w") as file:
            file.write(f"{json.dumps(row)}\n{bad}\n")
        with pytest.raises(ValueError, match="history.jsonl:2: "):
            directory.read_history()
    with pytest.raises(OSError, match="train_texts.json"):
        directory.read_texts()
    directory.write_texts({"ann": ["on", "Schalt’ es an"]})
    assert directory.read_texts() == {"ann": ["on", "Schalt’ es an"]}
    with open(directory.texts, "w") as file:
        file.write('{"ann": ')
    with pytest.raises(ValueError, match="train_texts.json: "):
        directory.read_texts()


def test_a_description_reads_back_as_its_values(directory):
    experiment = dataclasses.replace(
        conformer.Tiny(),
        adapter=dataclasses.replace(
            conformer.Tiny().adapter, sites=("encoder/block_01/output",)
        ),
    )
    directory.write_experiment(describe(experiment))
    saved = directory.read_experiment()
    assert directory.saved_values(saved, conformer.Tiny()) == experiment


def test_a_disk_that_fills_up_leaves_the_last_checkpoint(
    directory, monkeypatch
):
    variables = {"a": tf.Variable([1.0]), "b": tf.Variable([2.0])}
    checkpoint.save(directory.checkpoints, variables, {"step": 1})
    write, written = files.write_atomically, []

    def write_one(path, data):
        if written:
            raise OSError(errno.ENOSPC, "cannot write: No space left", path)
        written.append(path)
        write(path, data)

    monkeypatch.setattr(files, "write_atomically", write_one)
    variables["a"].assign([9.0])
    with pytest.raises(OSError, match="No space left.*00000002"):
        checkpoint.save(directory.checkpoints, variables, {"step": 2})
    assert written
    saved = checkpoint.restore(directory.checkpoints, variables)
    assert saved == {"step": 1}
    assert variables["a"].numpy() == [1.0]
