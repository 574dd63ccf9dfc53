"""Devices are found for a program, or refused with a reason."""

import json
import socket
import types

import pytest
import tensorflow as tf

from tests import clusters
from tpu.distribute import strategy


@pytest.fixture
def gpus(monkeypatch):
    """Makes TensorFlow see this many GPUs; returns what a mirror was given."""
    mirrored = []

    def see(count):
        devices = [
            types.SimpleNamespace(name=f"/device:GPU:{i}") for i in range(count)
        ]
        monkeypatch.setattr(
            tf.config, "list_logical_devices", lambda kind: devices
        )
        monkeypatch.setattr(tf.distribute, "MirroredStrategy", mirrored.append)
        return mirrored

    return see


def test_the_default_changes_nothing_on_a_cpu(gpus):
    gpus(0)
    assert strategy.create() is tf.distribute.get_strategy()


def test_one_gpu_needs_no_mirror(gpus):
    mirrored = gpus(1)
    assert strategy.create() is tf.distribute.get_strategy()
    assert mirrored == []


def test_all_gpus_are_mirrored_unless_fewer_are_asked_for(gpus):
    mirrored = gpus(4)
    strategy.create()
    strategy.create(num_gpus=2)
    assert [len(devices) for devices in mirrored] == [4, 2]


def test_no_gpus_are_used_where_none_are_asked_for(monkeypatch, gpus):
    mirrored = gpus(4)
    hidden = []
    monkeypatch.setattr(
        tf.config, "set_visible_devices", lambda *args: hidden.append(args)
    )
    assert strategy.create(num_gpus=0) is tf.distribute.get_strategy()
    assert hidden == [([], "GPU")]
    assert mirrored == []


def test_hiding_gpus_too_late_is_an_error(monkeypatch):
    def refuse(*args):
        raise RuntimeError("Visible devices cannot be modified")

    monkeypatch.setattr(tf.config, "set_visible_devices", refuse)
    with pytest.raises(ValueError, match="before the first tensor"):
        strategy.create(num_gpus=0)


@pytest.mark.parametrize("num_gpus", [-1, 3])
def test_gpus_that_are_not_there_are_an_error(gpus, num_gpus):
    gpus(2)
    with pytest.raises(ValueError, match=f"0 and 2.*Received: {num_gpus}"):
        strategy.create(num_gpus=num_gpus)


def test_a_tpu_and_gpus_exclude_each_other():
    with pytest.raises(ValueError, match="exclude each other"):
        strategy.create(tpu="local", num_gpus=1)


def test_a_machine_without_a_tpu_says_so(monkeypatch):
    def refuse(resolver):
        raise tf.errors.NotFoundError(None, None, "TPUs not found\nat all")

    monkeypatch.setattr(tf.tpu.experimental, "initialize_tpu_system", refuse)
    with pytest.raises(OSError) as raised:
        strategy.create(tpu="local")
    assert "no TPU answers at 'local': TPUs not found." in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_address_where_nothing_listens_fails_at_once():
    with socket.socket() as taken:
        # Bound and not listening: connections are refused.
        taken.bind(("127.0.0.1", 0))
        address = f"grpc://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"no TPU answers at '{address}'"):
            strategy.create(tpu=address)


def test_a_tpu_is_initialised_before_its_strategy(monkeypatch):
    calls = []
    monkeypatch.setattr(
        tf.tpu.experimental,
        "initialize_tpu_system",
        lambda resolver: calls.append("initialise"),
    )
    monkeypatch.setattr(
        tf.distribute, "TPUStrategy", lambda resolver: calls.append("strategy")
    )
    strategy.create(tpu="local")
    assert calls == ["initialise", "strategy"]


def test_a_tpu_that_does_not_exist_is_one_line(monkeypatch):
    def refuse(**kwargs):
        raise ImportError("googleapiclient must be installed\nfirst")

    monkeypatch.setattr(
        tf.distribute.cluster_resolver, "TPUClusterResolver", refuse
    )
    with pytest.raises(OSError, match="no TPU answers at 'nobody'") as raised:
        strategy.create(tpu="nobody")
    assert "\n" not in str(raised.value)


def test_fewer_replicas_than_asked_for_are_an_error(gpus):
    gpus(1)
    strategy.create(num_replicas=1)
    with pytest.raises(ValueError, match="must be 1, .* Received: 8"):
        strategy.create(num_replicas=8)


@pytest.mark.parametrize("virtual_cpus", [0, -2])
def test_no_virtual_cpus_are_an_error(virtual_cpus):
    with pytest.raises(ValueError, match="must be positive. Received"):
        strategy.create(virtual_cpus=virtual_cpus)


def test_splitting_the_cpu_too_late_is_an_error():
    tf.constant(0.0)
    with pytest.raises(ValueError, match="before the first tensor"):
        strategy.create(virtual_cpus=2)


@pytest.mark.parametrize("config", [{}, clusters.config(["a:1"])])
def test_a_cluster_of_one_is_this_process_alone(monkeypatch, gpus, config):
    gpus(0)
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert strategy.create() is tf.distribute.get_strategy()


def test_the_processes_of_a_cluster_are_one_job(monkeypatch):
    made = types.SimpleNamespace(num_replicas_in_sync=2)
    monkeypatch.setenv("TF_CONFIG", json.dumps(clusters.config(index="1")))
    monkeypatch.setattr(
        tf.distribute, "MultiWorkerMirroredStrategy", lambda: made
    )
    assert strategy.create(num_replicas=2) is made
    with pytest.raises(ValueError, match="must be 2"):
        strategy.create(num_replicas=3)


@pytest.mark.parametrize(
    "other", [{"tpu": "local"}, {"virtual_cpus": 1}, {"num_gpus": 1}]
)
def test_several_processes_have_no_devices_of_their_own(monkeypatch, other):
    monkeypatch.setenv("TF_CONFIG", json.dumps(clusters.config()))
    (name,) = other
    message = f"Leave out `{name}`, or unset TF_CONFIG.* in worker 0 of 2"
    with pytest.raises(ValueError, match=message) as raised:
        strategy.create(**other)
    assert "\n" not in str(raised.value)


def test_a_cluster_that_does_not_come_together_is_one_line(monkeypatch):
    def refuse():
        raise RuntimeError("Could not start gRPC server\nand more")

    monkeypatch.setenv("TF_CONFIG", json.dumps(clusters.config()))
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", refuse)
    with pytest.raises(OSError, match="worker 0 of 2 cannot join") as raised:
        strategy.create()
    assert "\n" not in str(raised.value)
