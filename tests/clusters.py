"""The processes of one job on this machine."""

import json
import socket


def config(addresses=("localhost:9000", "localhost:9001"), **task):
    """A `TF_CONFIG` of workers, by default the first one's, not yet JSON."""
    return {
        "cluster": {"worker": list(addresses)},
        "task": {"type": "worker", "index": 0} | task,
    }


def free_addresses(count=2):
    """Addresses of this machine where nothing listens."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for each in sockets:
        each.close()
    return addresses


def configs():
    """`TF_CONFIG` of each of two workers, at free ports of this machine."""
    addresses = free_addresses()
    return [json.dumps(config(addresses, index=index)) for index in range(2)]
