"""The current version: asked once, soon again, and old ones in need."""

import asyncio

import pytest

from tasks.serving import errors, threads
from tasks.serving.submodels import resolver
from tests import waiting
from tests.tasks.serving import fake_source


class Setting:
    """A resolver with a clock of its own."""

    def __init__(self, **changes):
        self.now = 1000.0
        self.source = fake_source.FakeSource()
        self.version = self.source.publish("ann", 1)
        self.answers = []
        self.workers = threads.ThreadPool("store", 2)
        self.resolver = resolver.VersionResolver(
            self.source,
            self.workers,
            fake_source.changed(**changes),
            lambda *answer: self.answers.append(answer),
            lambda: self.now,
        )

    async def resolve(self, speaker="ann"):
        return await self.resolver.resolve("acme", speaker)

    async def code(self, speaker="ann"):
        with pytest.raises(errors.ServingError) as caught:
            await self.resolve(speaker)
        return caught.value.code

    async def is_answered(self):
        try:
            return await self.resolve() == self.version
        except errors.ServingError:
            return False


def run(main):
    asyncio.run(asyncio.wait_for(main(), 60))


def test_an_answer_is_used_for_half_a_second_and_then_asked_for_again():
    async def main():
        setting = Setting(patience_seconds=60.0)
        assert await setting.resolve() == setting.version
        new = setting.source.publish("ann", 2)
        setting.now += 0.5
        assert await setting.resolve() == setting.version
        assert setting.source.resolves == 1
        setting.now += 0.01
        assert await setting.resolve() == new
        assert [version for _, version in setting.answers] == [
            setting.version,
            new,
        ]

    run(main)


def test_who_ask_at_the_same_time_ask_once():
    async def main():
        setting = Setting()
        await asyncio.gather(*(setting.resolve() for _ in range(20)))
        assert setting.source.resolves == 1

    run(main)


def test_that_there_is_none_is_remembered_as_long():
    async def main():
        setting = Setting()
        for _ in range(3):
            assert await setting.code("eve") is errors.Code.NOT_FOUND
        assert setting.source.resolves == 1
        setting.source.publish("eve", 3)
        setting.now += 0.51
        assert (await setting.resolve("eve")).speaker == "eve"

    run(main)


def test_what_was_erased_is_gone_and_told():
    async def main():
        setting = Setting(patience_seconds=60.0)
        await setting.resolve()
        setting.source.erase("ann")
        setting.now += 0.51
        assert await setting.code() is errors.Code.NOT_FOUND
        assert setting.answers[-1] == (("acme", "ann"), None)
        # Not even when the store then fails.
        setting.source.error = OSError("disk")
        setting.now += 0.51
        assert await setting.code() is errors.Code.UNAVAILABLE

    run(main)


@pytest.mark.parametrize("hangs", [True, False])
def test_an_old_answer_serves_while_the_store_does_not_up_to_a_limit(hangs):
    async def main():
        setting = Setting(stale_seconds=30, store_seconds=0.3)
        # A busy machine may look like a store that hangs.
        await waiting.until(setting.is_answered)
        if hangs:
            setting.source.is_open.clear()
        else:
            setting.source.error = OSError("disk")
        setting.now += 29
        for _ in range(5):
            assert await setting.resolve() == setting.version
        assert await setting.code("bob") is errors.Code.UNAVAILABLE
        setting.now += 2
        assert await setting.code() is errors.Code.UNAVAILABLE
        setting.source.is_open.set()
        setting.source.error = None
        await waiting.until(setting.is_answered)

    run(main)


def test_only_the_first_request_waits_for_a_store_that_hangs():
    async def main():
        setting = Setting(store_seconds=60.0)
        setting.source.publish("bob", 2)
        await asyncio.gather(setting.resolve(), setting.resolve("bob"))
        setting.source.is_open.clear()
        setting.now += 1
        loop = asyncio.get_running_loop()
        started = loop.time()
        await setting.resolve()
        assert 0.2 < loop.time() - started < 10
        # Which the others are seen not to do.
        setting.resolver._limits = fake_source.changed(
            store_seconds=60.0, patience_seconds=60.0
        )
        started = loop.time()
        await setting.resolve()
        await setting.resolve("bob")
        assert loop.time() - started < 10
        setting.source.is_open.set()

    run(main)


def test_a_damaged_entry_is_told_as_such():
    async def main():
        setting = Setting()
        setting.source.error = ValueError("pointer is not JSON")
        assert await setting.code() is errors.Code.FAILED_PRECONDITION
        assert setting.answers == []

    run(main)


def test_no_more_users_are_remembered_than_may_be():
    async def main():
        setting = Setting(remembered_users=2)
        for speaker in ("ann", "u1", "u2", "u3"):
            if speaker != "ann":
                await setting.code(speaker)
            else:
                await setting.resolve()
        await setting.resolve()
        assert setting.source.resolves == 5

    run(main)


def test_a_cancelled_request_does_not_cancel_what_others_wait_for():
    async def main():
        setting = Setting()
        setting.source.is_open.clear()
        first = asyncio.create_task(setting.resolve())
        second = asyncio.create_task(setting.resolve())
        await waiting.until(lambda: setting.source.resolves)
        first.cancel()
        await asyncio.wait({first})
        setting.source.is_open.set()
        assert await second == setting.version
        assert setting.source.resolves == 1

    run(main)


def test_an_answer_from_before_it_was_invalidated_is_told_to_nobody():
    async def main():
        setting = Setting()
        setting.source.is_open.clear()
        old = asyncio.create_task(setting.resolve())
        await waiting.until(lambda: setting.source.resolves)
        setting.resolver.invalidate("acme", "ann")
        new = asyncio.create_task(setting.resolve())
        await waiting.until(lambda: setting.source.resolves == 2)
        setting.source.is_open.set()
        assert await old == await new == setting.version
        assert setting.answers == [(("acme", "ann"), setting.version)]

    run(main)
