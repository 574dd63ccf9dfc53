"""New, erased and lost versions, from the store to the answer."""

import asyncio

import pytest

from tasks.serving import errors
from tests import waiting
from tests.tasks.serving import fake_source

CALLER = fake_source.CALLER
SPEC = fake_source.SPEC
ask = fake_source.ask
refusal = fake_source.refusal
sizes = fake_source.sizes
text = fake_source.text
utterance = fake_source.utterance
# Each request asks the store, however slow a busy machine makes it.
LOOKING = fake_source.changed(resolve_seconds=0.0, patience_seconds=60.0)


def test_a_new_version_answers_after_the_next_look(source):
    async def main():
        async with fake_source.serving(source, limits=LOOKING) as running:
            await ask(running, utterance(1, "ann"))
            version = source.publish("ann", 11)
            [answer] = await ask(running, utterance(1, "ann"))
        assert answer.text == text(1, 11)
        assert answer.submodel_version == version.name

    asyncio.run(main())


def test_what_is_erased_leaves_memory_with_the_next_look(source):
    async def main():
        async with fake_source.serving(source, limits=LOOKING) as running:
            await ask(running, utterance(1, "ann"))
            assert sizes(running) == (24, 10)
            source.erase("ann")
            error = await refusal(ask(running, utterance(1, "ann")))
            assert error.code is errors.Code.NOT_FOUND
            assert sizes(running) == (0, 0)

    asyncio.run(main())


def test_what_is_erased_leaves_memory_though_nobody_asks(source):
    limits = fake_source.changed(stale_seconds=0.05, watch_seconds=0.01)

    async def main():
        async with fake_source.serving(source, limits=limits) as running:
            await ask(running, utterance(1, "ann"), utterance(1, "bob"))
            source.erase("ann")
            await waiting.until(lambda: sizes(running) == (24, 10))

    asyncio.run(main())


def test_what_is_erased_while_it_is_read_is_not_kept(source):
    async def main():
        async with fake_source.serving(source, limits=LOOKING) as running:
            source.holds_reads = True
            task = asyncio.create_task(ask(running, utterance(1, "ann")))
            await waiting.until(lambda: source.reads == 1)
            source.erase("ann")
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
