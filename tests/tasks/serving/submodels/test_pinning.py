"""Submodels that are loaded ahead, pinned, listed and unloaded."""

import asyncio

from tasks.serving import errors, messages
from tests import waiting
from tests.tasks.serving import fake_source

CALLER = fake_source.CALLER
ask = fake_source.ask
refusal = fake_source.refusal
sizes = fake_source.sizes
utterance = fake_source.utterance
# New versions of pinned Submodels are looked for all the time.
WATCHING = fake_source.changed(watch_seconds=0.01)


def test_submodels_are_loaded_ahead_pinned_listed_and_unloaded(source):
    async def main():
        async with fake_source.serving(source) as running:
            loaded = await running.load(CALLER, "ann")
            assert (loaded.submodel_id, loaded.pinned) == ("ann", False)
            assert (await running.pin(CALLER, "bob")).pinned
            for number in range(4):
                source.publish(f"u{number}", 10 + number)
                await ask(running, utterance(1, f"u{number}"))
            names = {each.submodel_id for each in running.loaded(CALLER)}
            assert names == {"bob", "u1", "u2", "u3"}
            await running.pin(CALLER, "u1")
            error = await refusal(running.pin(CALLER, "u2"))
            assert error.code is errors.Code.RESOURCE_EXHAUSTED
            await running.unload(CALLER, "bob")
            names = {each.submodel_id for each in running.loaded(CALLER)}
            assert "bob" not in names

    asyncio.run(main())


def test_many_are_loaded_and_each_that_is_not_says_why(source):
    async def main():
        async with fake_source.serving(source) as running:
            loaded, failed = await running.load_many(
                CALLER, ["bob", "nobody", "ann", "../x"]
            )
            assert [each.submodel_id for each in loaded] == ["bob", "ann"]
            assert failed["nobody"].code is errors.Code.NOT_FOUND
            assert failed["../x"].code is errors.Code.INVALID_ARGUMENT
            names = {each.submodel_id for each in running.loaded(CALLER)}
            assert names == {"ann", "bob"}
            plain = messages.Caller(CALLER.tenant)
            error = await refusal(running.load_many(plain, ["bob"]))
            assert error.code is errors.Code.PERMISSION_DENIED

    asyncio.run(main())


def test_calls_of_a_tenant_load_one_at_a_time_and_of_others_beside(source):
    source.publish("ann", 3, tenant="other")
    other = messages.Caller("other", is_admin=True)

    async def main():
        async with fake_source.serving(source) as running:
            source.holds_reads = True
            calls = [
                asyncio.create_task(running.load_many(CALLER, [speaker]))
                for speaker in ("ann", "bob")
            ]
            await waiting.until(lambda: source.reads)
            await waiting.for_others()
            assert source.reads == 1
            calls.append(asyncio.create_task(running.load_many(other, ["ann"])))
            await waiting.until(lambda: source.reads == 2)
            # Who comes to be served waits for no list.
            asked = asyncio.create_task(ask(running, utterance(1, "bob")))
            await waiting.until(lambda: source.reads == 3)
            source.may_read.set()
            await asyncio.gather(asked, *calls)
            assert source.reads == 3
            assert len(running.loaded(CALLER)) == 2

    asyncio.run(main())


def test_a_drain_waits_for_the_load_of_a_list_that_is_under_way(source):
    async def main():
        async with fake_source.serving(source) as running:
            source.holds_reads = True
            call = asyncio.create_task(
                running.load_many(CALLER, ["ann", "bob"])
            )
            await waiting.until(lambda: source.reads == 1)
            drained = asyncio.create_task(running.drain())
            await waiting.for_others()
            assert not drained.done()
            source.may_read.set()
            await drained
            loaded, failed = await call
            assert [each.submodel_id for each in loaded] == ["ann"]
            assert failed["bob"].code is errors.Code.UNAVAILABLE

    asyncio.run(main())


def test_a_tenant_pins_no_more_than_its_share(source):
    source.publish("ann", 3, tenant="other")
    other = messages.Caller("other", is_admin=True)

    async def main():
        # Four rows, of which two may be pinned.
        limits = fake_source.changed(tenant_share=0.5)
        async with fake_source.serving(source, limits=limits) as running:
            await running.pin(CALLER, "bob")
            await running.pin(CALLER, "bob")
            error = await refusal(running.pin(CALLER, "ann"))
            assert error.code is errors.Code.RESOURCE_EXHAUSTED
            assert "of this tenant" in error.message
            assert (await running.pin(other, "ann")).pinned
            await running.unload(CALLER, "bob")
            assert (await running.pin(CALLER, "ann")).pinned

    asyncio.run(main())


def test_a_pin_that_is_given_up_takes_no_other_with_it(source):
    async def main():
        async with fake_source.serving(source) as running:
            source.holds_reads = True
            first = asyncio.create_task(running.pin(CALLER, "ann"))
            await waiting.until(lambda: source.reads == 1)
            second = asyncio.create_task(running.pin(CALLER, "ann"))
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait([first])
            assert first.cancelled()
            source.may_read.set()
            assert (await second).pinned
            [loaded] = running.loaded(CALLER)
            assert loaded.pinned

    asyncio.run(main())


def test_a_pin_that_all_have_given_up_is_gone(source):
    async def main():
        async with fake_source.serving(source) as running:
            source.holds_reads = True
            calls = [
                asyncio.create_task(running.pin(CALLER, "ann"))
                for _ in range(2)
            ]
            await waiting.until(lambda: source.reads == 1)
            for each in calls:
                each.cancel()
            await asyncio.wait(calls)
            source.may_read.set()
            assert not (await running.load(CALLER, "ann")).pinned

    asyncio.run(main())


def test_what_is_unloaded_as_its_new_version_loads_stays_unloaded(source):
    async def main():
        async with fake_source.serving(source, limits=WATCHING) as running:
            await running.pin(CALLER, "ann")
            source.holds_reads = True
            source.publish("ann", 5)
            await waiting.until(lambda: source.reads == 2)
            await running.unload(CALLER, "ann")
            source.may_read.set()
            count = "submodels_load_seconds_count"
            value = running.registry.get_sample_value
            await waiting.until(lambda: value(count) == 2)
            await waiting.until(lambda: not running.loaded(CALLER))
            assert sizes(running) == (0, 0)

    asyncio.run(main())


def test_a_pinned_submodel_is_ready_in_its_new_version_unasked(source):
    async def main():
        async with fake_source.serving(source, limits=WATCHING) as running:
            await running.pin(CALLER, "ann")
            version = source.publish("ann", 11)
            await waiting.until(
                lambda: (
                    [each.submodel_version for each in running.loaded(CALLER)]
                    == [version.name]
                )
            )
            [loaded] = running.loaded(CALLER)
            assert loaded.pinned

    asyncio.run(main())
