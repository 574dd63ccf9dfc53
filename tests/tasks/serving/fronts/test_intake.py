"""Bytes of requests in flight are bounded."""

import asyncio
import collections
import dataclasses
import threading

import pytest

from tasks.serving import errors
from tasks.serving.fronts import intake
from tasks.serving.queueing import limits
from tests import waiting

LIMITS = limits.Limits(max_request_bytes=100, queue_bytes=200, tenant_share=0.5)


def _reserve(running, tenant, *sizes):
    with running.reservation(tenant) as reserve:
        for size in sizes:
            reserve(size)


def test_a_tenant_has_a_share_and_all_have_a_limit():
    running = intake.Intake(LIMITS)
    with running.reservation("a") as a, running.reservation("b") as b:
        a(150)
        a(50)
        with pytest.raises(errors.ServingError) as caught:
            a(1)
        assert caught.value.code is errors.Code.RESOURCE_EXHAUSTED
        assert caught.value.retry_after_seconds
        b(200)
        with pytest.raises(errors.ServingError):
            _reserve(running, "c", 1)
    # All of it came back.
    _reserve(running, "c", 200)
    running.close()


def test_no_more_messages_are_on_their_way_than_have_room():
    async def run():
        running = intake.Intake(LIMITS)
        now, most = collections.Counter(), collections.Counter()

        async def read(tenant, has_come):
            async with running.reading(tenant):
                now[tenant] += 1
                most[tenant] = max(most[tenant], now[tenant])
                most["all"] = max(most["all"], now.total())
                await has_come.wait()
                now[tenant] -= 1

        # 400 bytes in all and 200 of a tenant: four messages of 100, and two.
        has_come = {tenant: asyncio.Event() for tenant in "abc"}
        tasks = [
            asyncio.create_task(read(tenant, has_come[tenant]))
            for tenant in "aaaaabcc"
        ]
        await waiting.until(lambda: now == {"a": 2, "b": 1, "c": 1})
        # Of another tenant, what is slow keeps nobody waiting.
        has_come["b"].set()
        has_come["c"].set()
        await asyncio.gather(*tasks[5:])
        assert now["a"] == 2
        has_come["a"].set()
        await asyncio.gather(*tasks)
        assert most == {"a": 2, "b": 1, "c": 1, "all": 4}
        running.close()

    asyncio.run(run())


def test_a_stalled_sender_is_cut_off_once_others_wait():
    async def run():
        limits = dataclasses.replace(LIMITS, crowded_seconds=0.05)
        running = intake.Intake(limits)
        never = asyncio.Event()

        async def stall(tenant):
            async with running.reading(tenant):
                await never.wait()

        def stalled(tenants):
            return [asyncio.create_task(stall(each)) for each in tenants]

        async def read(tenant):
            async with asyncio.timeout(60.0), running.reading(tenant):
                pass

        # All of a tenant's places; another tenant's sender is not hurried.
        own, other = stalled("aa"), stalled("b")
        await asyncio.sleep(0.01)
        await asyncio.gather(*(read("a") for _ in range(8)))
        await waiting.until(lambda: all(task.done() for task in own))
        assert all(isinstance(t.exception(), TimeoutError) for t in own)
        assert not other[0].done()
        # All places there are: now it is, and one who comes while others
        # wait has no longer.
        own = stalled("aac") + stalled("aacc")
        await asyncio.sleep(0.01)
        await asyncio.gather(*(read(tenant) for tenant in "abcd"))
        await waiting.until(other[0].done)
        assert isinstance(other[0].exception(), TimeoutError)
        for task in own:
            task.cancel()
        running.close()

    asyncio.run(run())


def test_waiting_senders_are_bounded():
    async def run():
        limits = dataclasses.replace(LIMITS, waiting_messages=3)
        running = intake.Intake(limits)

        async def hold():
            async with running.reading("a"):
                await asyncio.Event().wait()

        tasks = [asyncio.create_task(hold()) for _ in range(5)]
        await asyncio.sleep(0.01)
        with pytest.raises(errors.ServingError, match="too many") as caught:
            async with running.reading("a"):
                pass
        assert caught.value.code is errors.Code.RESOURCE_EXHAUSTED
        async with running.reading("b"):
            pass
        for task in tasks:
            task.cancel()
        running.close()

    asyncio.run(run())


def test_long_parsing_leaves_the_loop_alone():
    async def run():
        running = intake.Intake(LIMITS)
        here = threading.get_ident()
        assert await running.parse(10, threading.get_ident) == here
        assert await running.parse(1 << 20, threading.get_ident) != here
        running.close()

    asyncio.run(run())
