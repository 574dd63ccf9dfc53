"""The machine's clock is set while a server runs: nobody notices."""

import asyncio
import datetime
import time

from lingvo_like.store import records, store as submodel_store
from tests.tasks.serving import fake_source, real_store

JUMPS = (-1e9, 1e9, 0.0, -3600.0, 3600.0)


def test_a_clock_set_back_or_forward_changes_nothing(tmp_path, monkeypatch):
    root = str(tmp_path / "store")
    jump = 0.0
    real, real_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: real() + jump)
    monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(jump * 1e9))

    def now():
        shifted = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
        return shifted.isoformat(timespec="milliseconds")

    monkeypatch.setattr(records, "now", now)

    async def answer(running):
        deadline = asyncio.get_running_loop().time() + 60.0
        [answer] = await fake_source.ask(
            running, fake_source.utterance(5, "F01"), deadline=deadline
        )
        return answer.text

    async def main():
        nonlocal jump
        real_store.publish(root, "acme", "F01", 1)
        running = real_store.make_server(root)
        await running.start()
        assert await answer(running) == real_store.text(5, 1)
        for value, seconds in enumerate(JUMPS, 2):
            jump = seconds
            # What is ready stays so.
            assert await answer(running) == real_store.text(5, value - 1)
            assert len(running.loaded(fake_source.CALLER)) == 1
            real_store.publish(root, "acme", "F01", value)

            while await answer(running) != real_store.text(5, value):
                await asyncio.sleep(0.01)
        await running.close()

    asyncio.run(main())
    store = submodel_store.SubmodelStore(root)
    numbers = [each.number for each in store.versions("acme", "F01")]
    assert numbers == [1, 2, 3, 4, 5, 6]
    assert store.rollback("acme", "F01").number == 5
    assert not list(store.verify())
