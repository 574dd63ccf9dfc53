"""Processes that meet over TCP: what each brings, and who does not come."""

import concurrent.futures
import contextlib
import socket
import struct
import threading
import time

import pytest

from tests import clusters
from tpu.distribute import cluster, meeting


def processes(addresses):
    return [
        cluster.Cluster(tuple(addresses), index, f"worker {index}")
        for index in range(len(addresses))
    ]


def meet(found, **values):
    """The meetings of some processes, each in a thread of its own."""
    with concurrent.futures.ThreadPoolExecutor(len(found)) as pool:
        return list(pool.map(lambda c: meeting.Meeting(c, **values), found))


def exchange(meetings, brought):
    with concurrent.futures.ThreadPoolExecutor(len(meetings)) as pool:
        return list(
            pool.map(lambda m, data: m.exchange(data), meetings, brought)
        )


def test_everybody_gets_what_all_bring_in_their_order():
    # The last ones come first.
    meetings = meet(processes(clusters.free_addresses(3))[::-1])
    for brought in ([b"c", b"", b"a"], [b"x" * 3_000_000, b"y", b"z" * 70_000]):
        assert exchange(meetings, brought) == [brought[::-1]] * 3


def test_the_first_may_come_late():
    first, second = processes(clusters.free_addresses())
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(meeting.Meeting, second)
        time.sleep(0.5)
        meetings = [meeting.Meeting(first), waiting.result()]
    assert exchange(meetings, [b"1", b"2"]) == [[b"1", b"2"]] * 2


@pytest.mark.parametrize("index", [0, 1])
def test_who_does_not_come_is_one_line(index):
    addresses = clusters.free_addresses()
    with pytest.raises(OSError, match="cannot join the others") as raised:
        meeting.Meeting(processes(addresses)[index], join_seconds=0.3)
    assert "\n" not in str(raised.value)
    if not index:
        assert f"{addresses[1]} did not come" in str(raised.value)


def test_an_address_that_is_taken_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        first, _ = processes([address, "127.0.0.1:1"])
        with pytest.raises(OSError, match="cannot join the others.*in use"):
            meeting.Meeting(first)


def test_strangers_are_sent_away():
    addresses = clusters.free_addresses()
    host, port = addresses[0].split(":")
    others = processes([addresses[0], "another:1"])
    with concurrent.futures.ThreadPoolExecutor() as pool:
        first = pool.submit(meeting.Meeting, processes(addresses)[0], 60.0)
        number = struct.pack("<Q", 1) + b"5"
        for greeting in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 8, number):
            stranger = None
            while stranger is None:
                try:
                    stranger = socket.create_connection((host, int(port)))
                except ConnectionRefusedError:
                    time.sleep(0.05)
            stranger.settimeout(30.0)
            # A connection is reset where something of it was not read.
            with contextlib.suppress(ConnectionError):
                stranger.sendall(greeting)
                assert stranger.recv(1) == b""
            stranger.close()
        with pytest.raises(OSError, match="cannot join the others"):
            meeting.Meeting(others[1], join_seconds=0.3)
        second = meeting.Meeting(processes(addresses)[1])
        meetings = [first.result(), second]
    assert exchange(meetings, [b"1", b"2"]) == [[b"1", b"2"]] * 2


def test_who_comes_again_is_taken_for_the_first_time():
    first, second, third = processes(clusters.free_addresses(3))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(meeting.Meeting, first, 60.0)
        with pytest.raises(OSError):
            # It gives up before the third has come, as if it had died.
            meeting.Meeting(second, join_seconds=1.0)
        others = pool.map(lambda c: meeting.Meeting(c, 60.0), (second, third))
        meetings = [waiting.result(), *others]
    brought = [b"1", b"2", b"3"]
    assert exchange(meetings, brought) == [brought] * 3


def test_who_is_gone_is_an_error_to_all_others():
    meetings = meet(processes(clusters.free_addresses(3)))
    for peer in meetings[1]._peers:
        peer.close()
    errors = []

    def come(each):
        try:
            each.exchange(b"here")
        except OSError as error:
            errors.append(error)
            # As a process that ends lets go of its connections.
            for peer in each._peers:
                peer.close()

    threads = [
        threading.Thread(target=come, args=(each,))
        for each in (meetings[0], meetings[2])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(errors) == 2
