"""The processes of one job, as `TF_CONFIG` names them."""

import dataclasses
import json
import os

# The tasks that a training program is for, in TensorFlow's order.
_TASK_TYPES = ("chief", "worker")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Several processes, of which this is one.

    Attributes:
        addresses: `host:port` of each process; a chief first.
        index: this process's place among them.
        task: this process in words, such as "worker 1 of 2".
    """

    addresses: tuple[str, ...]
    index: int
    task: str


def from_environment() -> Cluster | None:
    """Reads `TF_CONFIG`; None where it is empty or names this process alone.

    Raises:
        ValueError: it is not JSON, or a part of it is missing or wrong.
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
                'TF_CONFIG: "cluster" must list addresses (host:port) of '
                f"{' and '.join(_TASK_TYPES)}. Received: {kind}: {addresses!r}"
            )
    kind, index = task.get("type"), task.get("index")
    count = len(cluster.get(kind, ()))
    if not str(index).isdigit() or int(index) >= count:
        raise ValueError(
            f'TF_CONFIG: "task" must name a type and an index of the cluster, '
            f"{', '.join(f'{k} 0 to {len(a) - 1}' for k, a in cluster.items())}"
            f". Received: type {kind!r}, index {index!r}"
        )
    chiefs = cluster.get("chief", [])
    found = (*chiefs, *cluster.get("worker", []))
    if len(found) == 1:
        return None
    place = int(index) + (len(chiefs) if kind == "worker" else 0)
    return Cluster(found, place, f"{kind} {index} of {len(found)}")


def _are_addresses(addresses):
    if not isinstance(addresses, list) or not addresses:
        return False
    return all(
        isinstance(each, str) and each.rpartition(":")[2].isdigit()
        for each in addresses
    )
