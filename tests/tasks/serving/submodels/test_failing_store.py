"""A store that hangs, fails, or is asked for the same thing by everyone."""

import asyncio

from tasks.serving import errors
from tests import waiting
from tests.tasks.serving import fake_source

ask = fake_source.ask
refusal = fake_source.refusal
num_stuck = fake_source.num_stuck
text = fake_source.text
utterance = fake_source.utterance


def test_a_store_that_hangs_holds_up_nobody_whose_submodel_is_ready(source):
    # Each request asks the store.
    limits = fake_source.changed(resolve_seconds=0.0)

    async def main():
        async with fake_source.serving(source, limits=limits) as running:
            await ask(running, utterance(1, "ann"))
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
