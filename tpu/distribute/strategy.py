"""Creates the distribution strategy of a program, the only place that does."""

import socket
import urllib.parse

import tensorflow as tf

from tpu.distribute import cluster

_CONNECT_SECONDS = 10


def create(
    tpu: str = "",
    num_gpus: int | None = None,
    virtual_cpus: int | None = None,
    num_replicas: int | None = None,
) -> tf.distribute.Strategy:
    """The distribution strategy for the devices asked for.

    Where `TF_CONFIG` names several processes, this program is one of them, and
    one strategy spans the CPUs, or all the GPUs, of them all.

    Args:
        tpu: empty for none; `"local"` for the TPU of this machine (a TPU VM);
            else a TPU's name or its `grpc://` address.
        num_gpus: 0 for none; `None` for all that TensorFlow sees.
        virtual_cpus: devices to make of this machine's CPU, to try out what
            several accelerators would do; `None` for the CPU as it is.
        num_replicas: that there must be in all; `None` for any number.

    Returns:
        TensorFlow's default strategy, which changes nothing, on the CPU or on
        one GPU; `MirroredStrategy` over several GPUs or virtual CPUs;
        `MultiWorkerMirroredStrategy` over the processes of `TF_CONFIG`;
        `TPUStrategy` on a TPU.

    Raises:
        ValueError: the devices asked for exclude each other or are not there;
            a number is negative; TensorFlow has taken the devices already; or
            `TF_CONFIG` is incomplete.
        OSError: the TPU or another process does not answer.
    """
    processes = cluster.from_environment()
    _check_exclusive(tpu, num_gpus, virtual_cpus, processes)
    if tpu:
        result = _tpu_strategy(tpu)
    elif virtual_cpus is not None:
        result = _virtual_cpu_strategy(virtual_cpus)
    else:
        if num_gpus == 0:
            _hide_gpus()
        if processes:
            result = _multi_worker_strategy(processes.task)
        else:
            result = _gpu_strategy(num_gpus)
    if num_replicas is None:
        return result
    found = result.num_replicas_in_sync
    if num_replicas != found:
        raise ValueError(
            f"`num_replicas` must be {found}, the replicas that the devices "
            f"here make. Received: {num_replicas}."
        )
    return result


def _check_exclusive(tpu, num_gpus, virtual_cpus, processes):
    asked = {
        "tpu": tpu or None,
        "virtual_cpus": virtual_cpus,
        "num_gpus": num_gpus or None,
    }
    given = [name for name, value in asked.items() if value is not None]
    if given and processes:
        raise ValueError(
            f"`{given[0]}` and TF_CONFIG exclude each other: the processes of "
            "TF_CONFIG train together on their CPUs, or on all their GPUs. "
            f"Leave out `{given[0]}`, or unset TF_CONFIG to train in one "
            f"process. Received: {asked[given[0]]!r} in {processes.task}."
        )
    if len(given) > 1:
        received = ", ".join(f"{name}={asked[name]!r}" for name in given)
        raise ValueError(
            f"`{given[0]}` and `{given[1]}` exclude each other. Received: "
            f"{received}."
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
        if tpu != "local":
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
