"""The flags for the devices that a binary runs on."""

from absl import flags

from tasks import machines

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


def given() -> machines.Devices:
    """The devices that the flags ask for."""
    return machines.Devices(
        _TPU.value, _NUM_GPUS.value, _VIRTUAL_CPUS.value, _NUM_REPLICAS.value
    )
