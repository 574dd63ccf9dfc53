"""Loads for many who wait, some of whom go."""

import asyncio

import pytest

from tasks.serving import errors, metrics
from tasks.serving.submodels import provider
from tests import waiting
from tests.tasks.serving import fake_engine, fake_source


class Setting:
    """Submodels for one export, with Ann's in the store."""

    def __init__(self, **changes):
        self.source = fake_source.FakeSource()
        self.version = self.source.publish("ann", 1)
        self.provider = provider.SubmodelProvider(
            self.source, fake_source.changed(**changes), metrics.Metrics()
        )
        self.ready = self.provider.attach(fake_engine.description())

    @property
    def holders(self):
        return self.ready.rows.holders(self.version)

    async def acquire(self, speaker="ann"):
        return await self.provider.acquire(self.ready, "acme", speaker)


def test_one_load_gives_each_who_waits_a_hold_of_its_own():
    async def main():
        setting = Setting()
        handles = await asyncio.gather(*(setting.acquire() for _ in range(5)))
        assert setting.source.reads == 1
        assert setting.holders == 5
        for handle in handles:
            handle.release()
        assert setting.holders == 0

    asyncio.run(main())


def test_who_goes_while_the_load_runs_leaves_no_hold():
    async def main():
        setting = Setting()
        setting.source.holds_reads = True
        stays, goes = (asyncio.create_task(setting.acquire()) for _ in range(2))
        await waiting.until(lambda: setting.source.reads)
        goes.cancel()
        await asyncio.wait({goes})
        setting.source.may_read.set()
        await stays
        assert setting.holders == 1

    asyncio.run(main())


def test_who_goes_as_the_row_is_handed_over_leaves_no_hold(monkeypatch):
    async def main():
        setting = Setting()
        setting.source.holds_reads = True
        task = asyncio.create_task(setting.acquire())
        await waiting.until(lambda: setting.source.reads)
        hand_over = setting.ready.rows.acquire

        def acquire(version):
            # Runs after the hand-over and before the task that waits.
            asyncio.get_running_loop().call_soon(task.cancel)
            return hand_over(version)

        monkeypatch.setattr(setting.ready.rows, "acquire", acquire)
        setting.source.may_read.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert setting.holders == 0

    asyncio.run(main())


def test_what_is_forgotten_as_the_row_is_handed_over_is_let_go(monkeypatch):
    async def main():
        setting = Setting()
        setting.source.holds_reads = True
        task = asyncio.create_task(setting.provider.load("acme", "ann"))
        await waiting.until(lambda: setting.source.reads)
        hand_over = setting.ready.rows.acquire

        def acquire(version):
            # Runs after the hand-over and before the task that waits.
            loop = asyncio.get_running_loop()
            loop.call_soon(setting.provider.unload, "acme", "ann")
            return hand_over(version)

        monkeypatch.setattr(setting.ready.rows, "acquire", acquire)
        setting.source.may_read.set()
        loaded = await task
        assert (loaded.submodel_id, loaded.in_use) == ("ann", 0)
        assert setting.ready.rows.num_bytes == 0

    asyncio.run(main())


def test_files_come_from_memory_when_the_row_had_to_go():
    async def main():
        setting = Setting(row_cache_bytes=24)
        setting.source.publish("bob", 2)
        for speaker in ("ann", "bob", "ann"):
            (await setting.acquire(speaker)).release()
        assert setting.source.reads == 2

    asyncio.run(main())


def test_where_every_row_is_in_use_a_request_is_to_come_again():
    async def main():
        setting = Setting(row_cache_bytes=24)
        setting.source.publish("bob", 2)
        handle = await setting.acquire()
        with pytest.raises(errors.ServingError) as caught:
            await setting.acquire("bob")
        assert caught.value.code is errors.Code.RESOURCE_EXHAUSTED
        assert caught.value.retry_after_seconds
        handle.release()
        (await setting.acquire("bob")).release()

    asyncio.run(main())


def test_exports_share_rows_if_the_same_submodels_fit_them():
    setting = Setting()
    opened = setting.provider.attach
    assert opened(fake_engine.description(max_tokens=9)) is setting.ready
    other = opened(
        fake_engine.description(parts=fake_engine.parts(residual_weight=0.5))
    )
    assert other is not setting.ready
    setting.provider.detach(setting.ready)
    assert opened(fake_engine.description()) is setting.ready


def test_rows_go_with_the_last_export_that_they_fit():
    async def main():
        setting = Setting()
        (await setting.acquire()).release()
        assert setting.provider.row_bytes == 24
        setting.provider.detach(setting.ready)
        assert setting.provider.row_bytes == 0

    asyncio.run(main())
