"""Which devices a program runs on: the one place that creates a strategy."""

import json
import os
import socket
import urllib.parse

import tensorflow as tf

LOCAL = "local"
_CONNECT_SECONDS = 10
# The tasks of a cluster that a training program is for.
_TASK_TYPES = ("chief", "worker")


def create(tpu="", num_gpus=None, virtual_cpus=None, num_replicas=None):
    """The distribution strategy for the devices asked for.

    Where `TF_CONFIG` names several processes, the program is one of them.

    Args:
        tpu: `""` for none; `"local"` for the TPU of this machine (a TPU VM);
            else a TPU's name or its `grpc://` address.
        num_gpus: int, how many GPUs to use; 0 for none; `None` for all that
            TensorFlow sees. Says nothing about TPUs.
        virtual_cpus: int, devices to make of this machine's CPU, to try out
            what several accelerators would do; `None` for the CPU as it is.
        num_replicas: int, how many replicas there have to be in all, or
            `None` for any number.

    Returns:
        a `tf.distribute.Strategy`: TensorFlow's default one, which changes
        nothing, on the CPU or on one GPU; `MirroredStrategy` over several
        GPUs or virtual CPUs; `MultiWorkerMirroredStrategy` over the processes
        of `TF_CONFIG`; `TPUStrategy` on a TPU.

    Raises:
        ValueError: what is asked for excludes each other or is not there; a
            negative number; devices that TensorFlow took already; or a
            `TF_CONFIG` that is not whole.
        OSError: the TPU does not answer, or the other processes do not.
    """
    task = _task_of_cluster()
    asked = {
        "tpu": tpu or None,
        "virtual_cpus": virtual_cpus,
        "TF_CONFIG": task,
    }
    # Every process of a cluster takes all its GPUs, or with 0 none.
    if num_gpus:
        asked["num_gpus"] = num_gpus
    given = [name for name, value in asked.items() if value is not None]
    if len(given) > 1:
        received = ", ".join(f"{name}={asked[name]!r}" for name in given)
        raise ValueError(
            f"`{given[0]}` and `{given[1]}` exclude each other. Received: "
            f"{received}."
        )
    if tpu:
        result = _tpu_strategy(tpu)
    elif virtual_cpus is not None:
        result = _virtual_cpu_strategy(virtual_cpus)
    else:
        if num_gpus == 0:
            _hide_gpus()
        result = (
            _multi_worker_strategy(task) if task else _gpu_strategy(num_gpus)
        )
    _check_replicas(result, num_replicas)
    return result


def _check_replicas(strategy, num_replicas):
    if num_replicas is None or num_replicas == strategy.num_replicas_in_sync:
        return
    raise ValueError(
        f"`num_replicas` must be {strategy.num_replicas_in_sync}, the replicas "
        f"that the devices here make. Received: {num_replicas}."
    )


def _hide_gpus():
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError as error:
        raise ValueError(
            "`num_gpus=0` comes too late: TensorFlow has taken the GPUs. "
            "Create the strategy before the first tensor."
        ) from error


def _gpu_strategy(num_gpus):
    devices = [] if num_gpus == 0 else tf.config.list_logical_devices("GPU")
    if num_gpus is None:
        num_gpus = len(devices)
    if not 0 <= num_gpus <= len(devices):
        raise ValueError(
            f"`num_gpus` must be between 0 and {len(devices)}, the GPUs that "
            f"TensorFlow sees. Received: {num_gpus}."
        )
    if num_gpus <= 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy(
        [device.name for device in devices[:num_gpus]]
    )


def _virtual_cpu_strategy(virtual_cpus):
    if virtual_cpus < 1:
        raise ValueError(
            f"`virtual_cpus` must be positive. Received: {virtual_cpus}."
        )
    if virtual_cpus == 1:
        return tf.distribute.get_strategy()
    (cpu,) = tf.config.list_physical_devices("CPU")
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * virtual_cpus
        )
    except RuntimeError as error:
        raise ValueError(
            f"`virtual_cpus={virtual_cpus}` comes too late: TensorFlow has "
            "taken the CPU. Create the strategy before the first tensor."
        ) from error
    return tf.distribute.MirroredStrategy(
        [device.name for device in tf.config.list_logical_devices("CPU")]
    )


def _task_of_cluster():
    """This process among those of `TF_CONFIG`, such as "worker 1 of 2".

    None where there is no `TF_CONFIG`, or it names this process alone.
    """
    text = os.environ.get("TF_CONFIG", "").strip()
    if not text:
        return None
    try:
        config = json.loads(text)
    except ValueError as error:
        raise ValueError(f"TF_CONFIG is not JSON: {error}") from None
    if config == {}:
        return None
    if not isinstance(config, dict):
        raise ValueError(
            'TF_CONFIG must have a "cluster" and a "task"; unset it to run '
            f"in one process. Received: {text}"
        )
    cluster, task = config.get("cluster"), config.get("task")
    for name, value in (("cluster", cluster), ("task", task)):
        if not isinstance(value, dict) or not value:
            raise ValueError(
                f'TF_CONFIG is half set: "{name}" is missing. Give it, or '
                f"unset TF_CONFIG to run in one process. Received: {text}"
            )
    for kind, addresses in cluster.items():
        if kind not in _TASK_TYPES or not _are_addresses(addresses):
            raise ValueError(
                f'TF_CONFIG: "cluster" must list addresses (host:port) of '
                f"{' and '.join(_TASK_TYPES)}. Received: {kind}: {addresses!r}"
            )
    kind, index = task.get("type"), task.get("index")
    if kind not in cluster or not _is_index(index, len(cluster[kind])):
        raise ValueError(
            f'TF_CONFIG: "task" must name a type and an index of the cluster, '
            f"{', '.join(f'{k} 0 to {len(a) - 1}' for k, a in cluster.items())}"
            f". Received: type {kind!r}, index {index!r}"
        )
    count = sum(map(len, cluster.values()))
    return f"{kind} {index} of {count}" if count > 1 else None


def _are_addresses(addresses):
    return (
        isinstance(addresses, list)
        and bool(addresses)
        and all(
            isinstance(each, str) and each.rpartition(":")[2].isdigit()
            for each in addresses
        )
    )


def _is_index(index, count):
    if isinstance(index, str) and index.isdigit():
        index = int(index)
    return (
        isinstance(index, int)
        and not isinstance(index, bool)
        and 0 <= index < count
    )


def _multi_worker_strategy(task):
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, ValueError, RuntimeError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise OSError(
            f"TF_CONFIG: {task} cannot join the others: {reason}. Every "
            "address must be free and reachable, and every process started."
        ) from error


def _tpu_strategy(tpu):
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
        if tpu != LOCAL:
            _knock(resolver.master())
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    # The libraries that look a name up raise errors of their own kinds.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise OSError(
            f"no TPU answers at {tpu!r}: {reason}. A TPU VM needs the package "
            "tensorflow-tpu, and no other program may hold its TPU."
        ) from error
    return tf.distribute.TPUStrategy(resolver)


def _knock(address):
    """Raises OSError where nothing listens; TensorFlow would wait forever."""
    parts = urllib.parse.urlsplit(address)
    socket.create_connection(
        (parts.hostname, parts.port), timeout=_CONNECT_SECONDS
    ).close()
