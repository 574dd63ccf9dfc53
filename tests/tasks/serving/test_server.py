"""The server without a transport: who gets which answer, and when not."""

import asyncio

import numpy as np
import pytest

from tasks.serving import errors, messages, server
from tests import waiting
from tests.tasks.serving import fake_engine, fake_source

CALLER = fake_source.CALLER
SPEC = fake_source.SPEC
utterance = fake_source.utterance
text = fake_source.text


async def ask(running, *utterances, caller=CALLER, spec=SPEC, deadline=None):
    """The answers alone."""
    _, answers = await running.predict(caller, spec, utterances, deadline)
    return answers


async def refusal(awaitable):
    """The `ServingError` that something ends with."""
    with pytest.raises(errors.ServingError) as caught:
        await awaitable
    return caught.value


def sizes(running):
    """Bytes in rows and in files, as the metrics tell."""
    value = running.registry.get_sample_value
    return value("submodels_row_bytes"), value("submodels_file_bytes")


def num_queued(running):
    return running.registry.get_sample_value("submodels_queue_requests")


def num_stuck(running):
    return running.registry.get_sample_value("submodels_store_stuck")


@pytest.fixture
def source():
    made = fake_source.FakeSource()
    made.publish("ann", 1)
    made.publish("bob", 2)
    return made


def test_each_utterance_is_answered_by_its_own_submodel(source):
    async def main():
        async with fake_source.serving(source) as running:
            answers = await ask(
                running,
                utterance(7, "ann"),
                utterance(8, "bob"),
                utterance(9),
                utterance(6, vector=fake_source.vector(5)),
                utterance(5, "ann", samples=300),
            )
        assert [each.text for each in answers] == [
            text(7, 1),
            text(8, 2),
            text(9, 0),
            text(6, 5),
            text(5, 1, samples=300),
        ]
        assert [each.served_by for each in answers] == [
            *("submodel", "submodel", "base", "request", "submodel")
        ]
        assert answers[0].submodel_version.startswith("1-")
        assert answers[2].submodel_version == ""
        assert {each.status for each in answers} == {"OK"}

    asyncio.run(main())


def test_one_value_that_fills_a_row_is_a_row(source):
    filled = np.broadcast_to(np.float32(5), fake_source.vector(5).shape)

    async def main():
        async with fake_source.serving(source) as running:
            answers = await ask(
                running, utterance(6, vector=filled), utterance(7, "ann")
            )
        assert [each.text for each in answers] == [text(6, 5), text(7, 1)]

    asyncio.run(main())


def test_an_export_with_a_submodel_folded_in_does_not_serve(source):
    folded = fake_engine.FakeEngine(submodel={"speaker": "ann"})

    async def main():
        with pytest.raises(errors.ServingError, match="folded in"):
            async with fake_source.serving(source, folded):
                pass

    asyncio.run(main())


def test_utterances_of_one_user_share_a_row_of_the_batch(source):
    async def main():
        engine = fake_engine.FakeEngine()
        async with fake_source.serving(source, engine) as running:
            await ask(
                running,
                *(utterance(mark, "ann") for mark in range(3)),
                utterance(4, "bob"),
            )
        audio, submodels, _ = engine.calls[0]
        assert audio == (4, 100)
        assert submodels == (2, 6)

    asyncio.run(main())


def test_a_missing_submodel_is_an_error_unless_the_base_may_answer(source):
    async def main():
        async with fake_source.serving(source) as running:
            error = await refusal(ask(running, utterance(1, "eve")))
            assert error.code is errors.Code.NOT_FOUND
            assert "eve" in error.message
        async with fake_source.serving(source, fallback="base") as running:
            [answer] = await ask(running, utterance(1, "eve"))
            assert answer.text == text(1, 0)
            assert (answer.served_by, answer.submodel_version) == ("base", "")
            count = running.registry.get_sample_value(
                "submodels_fallbacks_total"
            )
            assert count == 1

    asyncio.run(main())


@pytest.mark.usefixtures("patient")
def test_a_new_version_answers_within_a_second(source):
    async def main():
        async with fake_source.serving(source) as running:
            await ask(running, utterance(1, "ann"))
            version = source.publish("ann", 11)
            await asyncio.sleep(0.9)
            [answer] = await ask(running, utterance(1, "ann"))
        assert answer.text == text(1, 11)
        assert answer.submodel_version == version.name

    asyncio.run(main())


@pytest.mark.usefixtures("patient")
def test_what_is_erased_leaves_memory_within_a_second_of_the_next_look(source):
    async def main():
        async with fake_source.serving(source) as running:
            await ask(running, utterance(1, "ann"))
            assert sizes(running) == (24, 10)
            source.erase("ann")
            await asyncio.sleep(0.9)
            error = await refusal(ask(running, utterance(1, "ann")))
            assert error.code is errors.Code.NOT_FOUND
            assert sizes(running) == (0, 0)

    asyncio.run(main())


def test_what_is_erased_leaves_memory_though_nobody_asks(source):
    limits = fake_source.changed(stale_seconds=0.5)

    async def main():
        async with fake_source.serving(source, limits=limits) as running:
            await ask(running, utterance(1, "ann"), utterance(1, "bob"))
            source.erase("ann")
            await waiting.until(lambda: sizes(running) == (24, 10))

    asyncio.run(main())


@pytest.mark.usefixtures("patient")
def test_what_is_erased_while_it_is_read_is_not_kept(source):
    async def main():
        async with fake_source.serving(source) as running:
            source.holds_reads = True
            task = asyncio.create_task(ask(running, utterance(1, "ann")))
            await waiting.until(lambda: source.reads == 1)
            source.erase("ann")
            await asyncio.sleep(0.6)
            # Another request hears of it, by way of a second look.
            other = await refusal(ask(running, utterance(1, "ann")))
            source.holds_reads = False
            source.may_read.set()
            for error in (other, await refusal(task)):
                assert error.code is errors.Code.NOT_FOUND
            assert sizes(running) == (0, 0)

    asyncio.run(main())


def test_a_file_that_is_not_in_the_store_is_told_and_not_tried_often(source):
    limits = fake_source.changed(resolve_seconds=60.0)

    async def main():
        async with fake_source.serving(source, limits=limits) as running:
            source.lose("ann")
            for _ in range(5):
                error = await refusal(ask(running, utterance(1, "ann")))
                assert error.code is errors.Code.FAILED_PRECONDITION
            assert source.reads <= 3

    asyncio.run(main())


def test_a_submodel_that_is_replaced_whenever_it_is_read_is_followed():
    class Restless(fake_source.FakeSource):
        left = 10

        def read(self, version):
            if self.left:
                self.left -= 1
                self.erase("ann")
                self.publish("ann", 100 - self.left)
            return super().read(version)

    source = Restless()
    source.publish("ann", 1)

    async def main():
        async with fake_source.serving(source) as running:
            _, [answer] = await running.predict(
                fake_source.CALLER,
                fake_source.SPEC,
                [fake_source.utterance(5, "ann")],
            )
            assert answer.text == fake_source.text(5, 100)

    asyncio.run(main())


@pytest.mark.parametrize(
    "bad, message",
    [
        (utterance(float("nan"), "ann"), "finite"),
        (utterance(1, "ann", samples=0), "Received: 0"),
        (utterance(1, "ann", samples=401), "4 s at 100 Hz"),
        (utterance(1, "../ann"), "id is wrong"),
        (utterance(1, vector=np.ones(5, np.float32)), "Received: [5] float32"),
        (utterance(1, vector=fake_source.vector(float("inf"))), "finite"),
        (messages.Utterance(np.ones(10)), "Received: [10] float64"),
        (messages.Utterance(np.ones((2, 3), np.float32)), "[2, 3]"),
        (messages.Utterance([0.5]), "list"),
        (
            messages.Utterance(np.ones(10, np.float32), sample_rate=8000),
            "8000 samples per second, and the base model takes 100",
        ),
    ],
)
def test_bad_input_is_refused_with_its_reason_and_alone(source, bad, message):
    async def main():
        async with fake_source.serving(source) as running:
            good = asyncio.create_task(ask(running, utterance(1, "bob")))
            error = await refusal(ask(running, utterance(2, "ann"), bad))
            assert error.code is errors.Code.INVALID_ARGUMENT
            assert message in error.message
            [answer] = await good
            assert answer.text == text(1, 2)

    asyncio.run(main())


def test_access_is_refused_before_anything_is_looked_up(source):
    caller = messages.Caller("acme", frozenset({"ann"}))

    async def main():
        async with fake_source.serving(source) as running:
            for speaker in ("bob", "eve"):
                error = await refusal(
                    ask(running, utterance(1, speaker), caller=caller)
                )
                assert error.code is errors.Code.PERMISSION_DENIED
            for call in (running.load, running.pin, running.unload):
                error = await refusal(call(caller, "ann"))
                assert error.code is errors.Code.PERMISSION_DENIED
            with pytest.raises(errors.ServingError):
                running.loaded(caller)
        assert source.resolves == 0

    asyncio.run(main())


def test_another_tenants_speaker_of_the_same_name_is_another(source):
    source.publish("ann", 3, tenant="other")
    other = messages.Caller("other", is_admin=True)

    async def main():
        async with fake_source.serving(source) as running:
            [mine] = await ask(running, utterance(1, "ann"))
            [theirs] = await ask(running, utterance(1, "ann"), caller=other)
            assert (mine.text, theirs.text) == (text(1, 1), text(1, 3))
            assert len(running.loaded(other)) == 1
            error = await refusal(
                ask(running, utterance(1, "bob"), caller=other)
            )
            assert error.code is errors.Code.NOT_FOUND

    asyncio.run(main())


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


def test_there_is_no_room_where_every_model_keeps_one_waiting(source):
    engine = fake_engine.FakeEngine()
    limits = fake_source.changed(queue_seconds=0.01, batch_size=1)
    other = messages.Caller("other")

    async def main():
        async with fake_source.serving(source, engine, limits) as running:
            running.check_room(CALLER)
            engine.delay_seconds = 0.2
            await ask(running, utterance(1))
            engine.may_run.clear()
            engine.entered.clear()
            served = asyncio.create_task(ask(running, utterance(2)))
            await waiting.until(engine.entered.is_set)
            waits = asyncio.create_task(ask(running, utterance(3)))
            await waiting.until(lambda: num_queued(running) == 2)
            with pytest.raises(errors.ServingError) as caught:
                running.check_room(CALLER)
            assert caught.value.code is errors.Code.RESOURCE_EXHAUSTED
            assert caught.value.retry_after_seconds > 0
            # Fair to tenants: its first is before the other's second.
            running.check_room(other)
            engine.may_run.set()
            await asyncio.gather(served, waits)
            running.check_room(CALLER)

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
            await asyncio.sleep(0.05)
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
            await asyncio.sleep(0.02)
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
        async with fake_source.serving(source) as running:
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
        async with fake_source.serving(source) as running:
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


def test_the_queues_limit_is_exact(source):
    limits = fake_source.changed(queue_requests=6)

    async def main():
        engine = fake_engine.FakeEngine()
        async with fake_source.serving(source, engine, limits) as running:
            engine.may_run.clear()
            tasks = [
                asyncio.create_task(ask(running, utterance(mark, "ann")))
                for mark in range(6)
            ]
            await waiting.until(lambda: num_queued(running) == 6)
            started = asyncio.get_running_loop().time()
            error = await refusal(ask(running, utterance(9, "ann")))
            assert asyncio.get_running_loop().time() - started < 10
            assert error.code is errors.Code.RESOURCE_EXHAUSTED
            assert error.retry_after_seconds > 0
            tasks[5].cancel()
            await asyncio.wait({tasks[5]})
            # One went, so exactly one may come.
            tasks[5] = asyncio.create_task(ask(running, utterance(5, "bob")))
            await waiting.until(lambda: num_queued(running) == 6)
            await refusal(ask(running, utterance(9)))
            engine.may_run.set()
            answers = await asyncio.gather(*tasks)
            assert [each.text for [each] in answers] == [
                *(text(mark, 1) for mark in range(5)),
                text(5, 2),
            ]
            await ask(running, *(utterance(1) for _ in range(6)))
            error = await refusal(
                ask(running, *(utterance(1) for _ in range(7)))
            )
            assert error.retry_after_seconds is None

    asyncio.run(main())


def test_a_tenant_fills_no_more_than_its_share_of_the_queue(source):
    limits = fake_source.changed(queue_requests=8, tenant_share=0.5)
    other = messages.Caller("other")

    async def main():
        engine = fake_engine.FakeEngine()
        async with fake_source.serving(source, engine, limits) as running:
            engine.may_run.clear()
            tasks = [
                asyncio.create_task(ask(running, utterance(1)))
                for _ in range(4)
            ]
            await waiting.until(lambda: num_queued(running) == 4)
            error = await refusal(ask(running, utterance(1)))
            assert "share" in error.message
            tasks.append(
                asyncio.create_task(ask(running, utterance(2), caller=other))
            )
            await waiting.until(lambda: num_queued(running) == 5)
            engine.may_run.set()
            assert len(await asyncio.gather(*tasks)) == 5

    asyncio.run(main())


def test_a_request_too_late_is_dropped_and_never_reaches_the_engine(source):
    async def main():
        engine = fake_engine.FakeEngine()
        async with fake_source.serving(source, engine) as running:
            engine.may_run.clear()
            first = asyncio.create_task(ask(running, utterance(1, "ann")))
            await waiting.until(engine.entered.is_set)
            now = asyncio.get_running_loop().time()
            for deadline in (now - 1.0, now + 0.5):
                error = await refusal(
                    ask(running, utterance(2, "ann"), deadline=deadline)
                )
                assert error.code is errors.Code.DEADLINE_EXCEEDED
            cancelled = asyncio.create_task(ask(running, utterance(3, "ann")))
            await waiting.until(lambda: num_queued(running) == 2)
            cancelled.cancel()
            await asyncio.wait({cancelled})
            engine.may_run.set()
            await first
            await ask(running, utterance(4, "ann"))
            assert running.loaded(CALLER)[0].in_use == 0
        marks = [mark for _, _, marks in engine.calls for mark in marks]
        assert marks == [1, 4]

    asyncio.run(main())


def test_a_request_that_would_wait_beyond_its_deadline_is_refused(source):
    async def main():
        engine = fake_engine.FakeEngine(delay_seconds=0.2)
        limits = fake_source.changed(batch_size=1)
        async with fake_source.serving(source, engine, limits) as running:
            clock = asyncio.get_running_loop().time
            started = clock()
            await ask(running, utterance(1))
            seconds = clock() - started
            engine.may_run.clear()
            tasks = [
                asyncio.create_task(ask(running, utterance(1)))
                for _ in range(5)
            ]
            await waiting.until(lambda: len(engine.calls) == 2)
            error = await refusal(
                ask(running, utterance(2), deadline=clock() + 0.5)
            )
            assert error.code is errors.Code.RESOURCE_EXHAUSTED
            # Five go before it, each as long as the engine took for one.
            assert 0.9 < error.retry_after_seconds < 5 * seconds
            engine.may_run.set()
            await asyncio.gather(*tasks)

    asyncio.run(main())


def test_only_the_utterance_that_the_engine_fails_on_fails(source):
    async def main():
        engine = fake_engine.FakeEngine(failing={3.0})
        async with fake_source.serving(source, engine) as running:
            outcomes = await asyncio.gather(
                *(ask(running, utterance(mark, "ann")) for mark in range(8)),
                return_exceptions=True,
            )
        failed = outcomes.pop(3)
        assert failed.code is errors.Code.INTERNAL
        assert "secret" not in failed.message
        marks = [0, 1, 2, 4, 5, 6, 7]
        assert [each.text for [each] in outcomes] == [
            text(mark, 1) for mark in marks
        ]

    asyncio.run(main())


def test_draining_answers_all_that_was_let_in_and_nothing_else(source):
    async def main():
        engine = fake_engine.FakeEngine(delay_seconds=0.02)
        async with fake_source.serving(source, engine) as running:
            tasks = [
                asyncio.create_task(ask(running, utterance(mark, "ann")))
                for mark in range(20)
            ]
            await asyncio.sleep(0.01)
            draining = asyncio.create_task(running.drain())
            await asyncio.sleep(0)
            assert not running.ready
            assert running.live
            error = await refusal(ask(running, utterance(1)))
            assert error.code is errors.Code.UNAVAILABLE
            await draining
            assert all(task.done() for task in tasks)
            answers = [task.result() for task in tasks]
        assert [each.text for [each] in answers] == [
            text(mark, 1) for mark in range(20)
        ]

    asyncio.run(main())


def test_closing_fails_what_still_waits(source):
    async def main():
        engine = fake_engine.FakeEngine()
        limits = fake_source.changed(batch_size=1)
        async with fake_source.serving(source, engine, limits) as running:
            engine.may_run.clear()
            tasks = [
                asyncio.create_task(ask(running, utterance(1, "ann")))
                for _ in range(3)
            ]
            await waiting.until(engine.entered.is_set)
            closing = asyncio.create_task(running.close())
            for task in tasks[1:]:
                error = await refusal(task)
                assert error.code is errors.Code.UNAVAILABLE
            engine.may_run.set()
            assert (await tasks[0])[0].text == text(1, 1)
            await closing
        assert engine.is_closed

    asyncio.run(main())


def test_a_store_that_hangs_holds_up_nobody_whose_submodel_is_ready(source):
    async def main():
        async with fake_source.serving(source) as running:
            await ask(running, utterance(1, "ann"))
            await asyncio.sleep(0.6)
            source.is_open.clear()
            others = [
                asyncio.create_task(ask(running, utterance(1, name)))
                for name in ("bob", *(f"u{number}" for number in range(20)))
            ]
            # All of it before the store is given up.
            for _ in range(5):
                [answer] = await ask(running, utterance(1, "ann"))
                assert answer.text == text(1, 1)
            assert not any(task.done() for task in others)
            source.is_open.set()
            [answer] = await others[0]
            assert answer.text == text(1, 2)
            for task in others[1:]:
                assert (await refusal(task)).code is errors.Code.NOT_FOUND

    asyncio.run(main())


def test_a_store_that_hangs_is_given_up_until_it_answers_again(source):
    limits = fake_source.changed(store_seconds=0.3)

    async def main():
        async with fake_source.serving(source, limits=limits) as running:
            source.is_open.clear()
            names = "bob", *(f"u{number}" for number in range(20))

            async def hangs():
                asked = (ask(running, utterance(1, name)) for name in names)
                for error in await asyncio.gather(*map(refusal, asked)):
                    assert error.code is errors.Code.UNAVAILABLE
                # A thread that had not begun yet is none that hangs.
                return num_stuck(running)

            await waiting.until(hangs)
            assert num_stuck(running) <= limits.store_threads
            source.is_open.set()
            await waiting.until(lambda: num_stuck(running) == 0)

            async def answers():
                try:
                    [answer] = await ask(running, utterance(1, "bob"))
                except errors.ServingError:
                    # A busy machine may look like a store that hangs.
                    return False
                return answer.text == text(1, 2)

            await waiting.until(answers)

    asyncio.run(main())


@pytest.mark.parametrize(
    "publish, message",
    [
        (lambda source: source.publish("bad", "x"), "could not convert"),
        (
            lambda source: source.publish("bad", 1, fingerprint="e" * 64),
            "another base model",
        ),
        (
            lambda source: source.publish("bad", 1, num_bytes=1 << 40),
            "must have at most",
        ),
    ],
)
def test_a_wrong_file_is_told_and_not_tried_by_each_request(
    source, publish, message
):
    publish(source)
    limits = fake_source.changed(resolve_seconds=60.0)

    async def main():
        async with fake_source.serving(source, limits=limits) as running:
            for _ in range(3):
                refused = await asyncio.gather(
                    *(
                        refusal(ask(running, utterance(1, "bad")))
                        for _ in range(5)
                    )
                )
                for error in refused:
                    assert error.code is errors.Code.FAILED_PRECONDITION
                    assert message in error.message
            assert source.reads <= 1
            await ask(running, utterance(1, "ann"))

    asyncio.run(main())


def test_a_storm_on_one_missing_id_asks_the_store_once(source):
    async def main():
        async with fake_source.serving(source) as running:
            await asyncio.gather(
                *(
                    refusal(ask(running, utterance(1, "eve")))
                    for _ in range(100)
                )
            )
        assert source.resolves == 1
        assert source.reads == 0

    asyncio.run(main())


def test_many_first_requests_for_one_submodel_load_it_once(source):
    async def main():
        async with fake_source.serving(source) as running:
            source.holds_reads = True
            tasks = [
                asyncio.create_task(ask(running, utterance(1, "ann")))
                for _ in range(100)
            ]
            await waiting.until(lambda: source.reads)
            # Of what is ready, the server itself asks for a newer version.
            assert source.resolves == 1
            source.may_read.set()
            answers = await asyncio.gather(*tasks)
        assert {each.text for [each] in answers} == {text(1, 1)}
        assert source.reads == 1

    asyncio.run(main())


def test_a_store_that_fails_is_unavailable_and_tells_no_paths(source):
    async def main():
        async with fake_source.serving(source) as running:
            source.error = OSError(5, "disk", "/secret/path")
            error = await refusal(ask(running, utterance(1, "ann")))
            assert error.code is errors.Code.UNAVAILABLE
            assert "secret" not in error.message

    asyncio.run(main())


def test_without_a_store_the_base_alone_is_served():
    async def main():
        async with fake_source.serving() as running:
            [answer] = await ask(running, utterance(1))
            assert answer.text == text(1, 0)
            error = await refusal(ask(running, utterance(1, "ann")))
            assert error.code is errors.Code.FAILED_PRECONDITION
            assert (await refusal(running.load(CALLER, "ann"))).code is (
                errors.Code.FAILED_PRECONDITION
            )

    asyncio.run(main())


def test_a_request_of_another_model_or_version_is_not_found(source):
    async def main():
        async with fake_source.serving(source) as running:
            for spec in (
                messages.ModelSpec("asr", version=2),
                messages.ModelSpec("other"),
            ):
                error = await refusal(ask(running, utterance(1), spec=spec))
                assert error.code is errors.Code.NOT_FOUND
            assert running.model_ready("asr")
            assert not running.model_ready("other")
            version, signatures = running.signature_metadata(SPEC)
            assert (version, list(signatures)) == (1, ["serving_default"])

    asyncio.run(main())


def test_a_reload_under_load_fails_no_request_even_with_a_corrupt_base(source):
    async def main():
        engines = {}

        def factory(path):
            if path.endswith("/3"):
                raise ValueError(f"{path}: corrupt")
            engines[path] = fake_engine.FakeEngine(delay_seconds=0.002)
            return engines[path]

        folders = ["1"]
        async with fake_source.serving(
            source,
            engine_factory=factory,
            list_folder=lambda path: folders,
        ) as running:
            stop = asyncio.Event()
            versions = []

            async def client():
                while not stop.is_set():
                    version, [answer] = await running.predict(
                        CALLER, SPEC, [utterance(1, "ann")]
                    )
                    assert answer.text == text(1, 1)
                    versions.append(version)

            clients = [asyncio.create_task(client()) for _ in range(8)]
            for version in range(2, 7):
                # Each that loads has answered before the next one comes.
                await waiting.until(lambda: len(set(versions)) == len(engines))
                folders.append(str(version))
                reload = running.reload(
                    [messages.ModelConfig("asr", "/exports")]
                )
                if version == 3:
                    error = await refusal(reload)
                    assert error.code is errors.Code.FAILED_PRECONDITION
                    assert "corrupt" in error.message
                else:
                    await reload
            await waiting.until(lambda: 6 in versions)
            *old, new = engines.values()
            await waiting.until(lambda: all(each.is_closed for each in old))
            stop.set()
            await asyncio.gather(*clients)
            assert set(versions) == {1, 2, 4, 5, 6}
            assert versions[-1] == 6
            assert len(old) == 4 and not new.is_closed

    asyncio.run(main())


def test_a_server_without_a_base_that_loads_does_not_start():
    def factory(path):
        raise ValueError("no export")

    async def main():
        running = server.Server(
            None,
            factory,
            [messages.ModelConfig("asr", "/exports")],
            list_folder=lambda path: ["1"],
        )
        error = await refusal(running.start())
        assert "no export" in error.message
        assert not running.ready

    asyncio.run(main())


@pytest.mark.parametrize("seconds, is_live", [(60.0, True), (0.1, False)])
def test_an_engine_call_that_does_not_end_makes_the_server_not_live(
    source, seconds, is_live
):
    limits = fake_source.changed(engine_seconds=seconds)

    async def main():
        engine = fake_engine.FakeEngine()
        async with fake_source.serving(source, engine, limits) as running:
            engine.may_run.clear()
            task = asyncio.create_task(ask(running, utterance(1)))
            await waiting.until(engine.entered.is_set)
            await asyncio.sleep(0.15)
            assert running.live == is_live
            engine.may_run.set()
            await task
            assert running.live

    asyncio.run(main())
