"""The flags for the devices that a binary runs on."""

from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from tpu.distribute import replicas as replicas_lib

_TPU = flags.DEFINE_string(
    "tpu", "", "A TPU's name or address; local for the TPU of this machine."
)
_NUM_GPUS = flags.DEFINE_integer(
    "num_gpus", None, "GPUs to use; 0 for none. All GPUs if not given."
)
_VIRTUAL_CPUS = flags.DEFINE_integer(
    "virtual_cpus", None, "Devices to make of the CPU, to try out several."
)
_NUM_REPLICAS = flags.DEFINE_integer(
    "num_replicas", None, "Refuse to run unless there are this many in all."
)


def replicas() -> "replicas_lib.Replicas":
    """The replicas that the flags and `TF_CONFIG` ask for.

    Raises:
        ValueError, OSError: as `tpu.distribute.strategy.create`.
    """
    # Late, so that --help answers at once.
    from tpu.distribute import replicas as replicas_lib, strategy

    return replicas_lib.Replicas(
        strategy.create(
            _TPU.value,
            _NUM_GPUS.value,
            _VIRTUAL_CPUS.value,
            _NUM_REPLICAS.value,
        )
    )
