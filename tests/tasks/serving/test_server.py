"""A server's life: start, reload, liveness, drain and close."""

import asyncio

import pytest

from tasks.serving import errors, messages, server
from tests import waiting
from tests.tasks.serving import fake_engine, fake_source

CALLER = fake_source.CALLER
SPEC = fake_source.SPEC
ask = fake_source.ask
refusal = fake_source.refusal
text = fake_source.text
utterance = fake_source.utterance


def test_an_export_with_a_submodel_folded_in_does_not_serve(source):
    folded = fake_engine.FakeEngine(submodel={"speaker": "ann"})

    async def main():
        with pytest.raises(errors.ServingError, match="folded in"):
            async with fake_source.serving(source, folded):
                pass

    asyncio.run(main())


def test_draining_answers_all_that_was_let_in_and_nothing_else(source):
    async def main():
        engine = fake_engine.FakeEngine()
        async with fake_source.serving(source, engine) as running:
            engine.may_run.clear()
            tasks = [
                asyncio.create_task(ask(running, utterance(mark, "ann")))
                for mark in range(20)
            ]
            await waiting.until(engine.entered.is_set)
            draining = asyncio.create_task(running.drain())
            await waiting.for_others()
            assert not draining.done()
            assert not running.ready
            assert running.live
            error = await refusal(ask(running, utterance(1)))
            assert error.code is errors.Code.UNAVAILABLE
            engine.may_run.set()
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


@pytest.mark.parametrize("seconds, is_live", [(60.0, True), (0.001, False)])
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
            await waiting.until(lambda: running.live == is_live)
            engine.may_run.set()
            await task
            assert running.live

    asyncio.run(main())
