"""Which devices a program runs on: the one place that creates a strategy."""

import socket
import urllib.parse

import tensorflow as tf

LOCAL = "local"
_CONNECT_SECONDS = 10


def create(tpu="", num_gpus=None):
    """The distribution strategy for the devices asked for.

    Args:
        tpu: `""` for none; `"local"` for the TPU of this machine (a TPU VM);
            else a TPU's name or its `grpc://` address.
        num_gpus: int, how many GPUs to use; 0 for none; `None` for all that
            TensorFlow sees. Says nothing about TPUs.

    Returns:
        a `tf.distribute.Strategy`: TensorFlow's default one, which changes
        nothing, on the CPU or on one GPU; `MirroredStrategy` over several
        GPUs; `TPUStrategy` on a TPU.

    Raises:
        ValueError: both a TPU and GPUs are asked for, or more GPUs than there
            are, or a negative number, or none after TensorFlow took one.
        OSError: the TPU does not answer.
    """
    if tpu:
        if num_gpus is not None:
            raise ValueError(
                "`tpu` and `num_gpus` exclude each other. Received: "
                f"tpu={tpu!r}, num_gpus={num_gpus}."
            )
        return _tpu_strategy(tpu)
    if num_gpus == 0:
        _hide_gpus()
        return tf.distribute.get_strategy()
    return _gpu_strategy(num_gpus)


def _hide_gpus():
    try:
        tf.config.set_visible_devices([], "GPU")
    except RuntimeError as error:
        raise ValueError(
            "`num_gpus=0` comes too late: TensorFlow has taken the GPUs. "
            "Create the strategy before the first tensor."
        ) from error


def _gpu_strategy(num_gpus):
    devices = tf.config.list_logical_devices("GPU")
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


def _tpu_strategy(tpu):
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
        if tpu != LOCAL:
            _knock(resolver.master())
            tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (tf.errors.OpError, ValueError, RuntimeError, OSError) as error:
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
