"""Which devices a program runs on: the one place that creates a strategy."""

import os
import socket
import urllib.parse

import tensorflow as tf

from tpu.distribute import cluster

LOCAL = "local"
_CONNECT_SECONDS = 10
# By which a host of a larger TPU takes its own chips and waits for nobody.
_BOUNDS, _ONE_HOST = "TPU_PROCESS_BOUNDS", "1,1,1"


def create(tpu="", num_gpus=None, virtual_cpus=None, num_replicas=None):
    """The distribution strategy for the devices asked for.

    Where `TF_CONFIG` names several processes, the program is one of them. With
    `tpu="local"` or `virtual_cpus` each has devices and a strategy of its own,
    which nothing spans; else one strategy spans them all.

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
    processes = cluster.from_environment()
    asked = {
        "tpu": tpu or None,
        "virtual_cpus": virtual_cpus,
        "num_gpus": num_gpus or None,
    }
    # Every process of one strategy takes all its GPUs, or with 0 none.
    if processes and (num_gpus or tpu not in ("", LOCAL)):
        asked["TF_CONFIG"] = processes.task
    given = [name for name, value in asked.items() if value is not None]
    if len(given) > 1:
        received = ", ".join(f"{name}={asked[name]!r}" for name in given)
        raise ValueError(
            f"`{given[0]}` and `{given[1]}` exclude each other. Received: "
            f"{received}."
        )
    num_strategies = len(processes.addresses) if processes else 1
    if tpu:
        if processes:
            _check_bounds(processes)
        result = _tpu_strategy(tpu)
    elif virtual_cpus is not None:
        result = _virtual_cpu_strategy(virtual_cpus, num_strategies)
    else:
        if num_gpus == 0:
            _hide_gpus()
        if processes:
            result, num_strategies = _multi_worker_strategy(processes.task), 1
        else:
            result = _gpu_strategy(num_gpus)
    _check_replicas(result, num_strategies, num_replicas)
    return result


def _check_replicas(strategy, num_strategies, num_replicas):
    if num_replicas is None:
        return
    found = strategy.num_replicas_in_sync * num_strategies
    if num_replicas == found:
        return
    raise ValueError(
        f"`num_replicas` must be {found}, the replicas that the devices here "
        f"make. Received: {num_replicas}."
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


def _virtual_cpu_strategy(virtual_cpus, num_strategies):
    if virtual_cpus < 1:
        raise ValueError(
            f"`virtual_cpus` must be positive. Received: {virtual_cpus}."
        )
    if virtual_cpus == num_strategies == 1:
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


def _check_bounds(processes):
    if os.environ.get(_BOUNDS) != _ONE_HOST:
        raise ValueError(
            f"TF_CONFIG: {processes.task} must take the TPU chips of its own "
            f"host alone, or waits for those of others: start it with "
            f"{_BOUNDS}={_ONE_HOST} and with the host's own chips, such as "
            "TPU_CHIPS_PER_PROCESS_BOUNDS=2,2,1 (tpu/launch/launch.sh run does)"
        )


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
