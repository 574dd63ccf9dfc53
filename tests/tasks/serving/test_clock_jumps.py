"""The machine's clock is set while a server runs: nobody notices."""

import subprocess
import sys

PROGRAM = """
import asyncio
import datetime
import sys
import time

jump, real, real_ns = 0.0, time.time, time.time_ns
# Before anything of ours may keep the functions themselves.
time.time = lambda: real() + jump
time.time_ns = lambda: real_ns() + int(jump * 1e9)

from lingvo_like.store import records, store as submodel_store
from tests.tasks.serving import fake_source, real_store

def now():
    shifted = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
    return shifted.isoformat(timespec="milliseconds")

records.now = now
ROOT = sys.argv[1]

async def ask(server, spec, caller):
    deadline = asyncio.get_running_loop().time() + 60.0
    _, (answer,) = await server.predict(
        caller, spec, [fake_source.utterance(5, "F01")], deadline
    )
    return answer.text

async def noticed(server, value, *who):
    expected = real_store.text(5, value)
    # A second is promised; the machine may be busy.
    end = time.monotonic() + 60.0
    while await ask(server, *who) != expected:
        if time.monotonic() > end:
            raise SystemExit(f"version {value} is not noticed, jump {jump}")
        await asyncio.sleep(0.05)

async def run():
    global jump
    who = fake_source.SPEC, fake_source.CALLER
    real_store.publish(ROOT, "acme", "F01", 1)
    server = real_store.make_server(ROOT)
    await server.start()
    await noticed(server, 1, *who)
    for value, jump in enumerate((-1e9, 1e9, 0.0, -3600.0, 3600.0), 2):
        # What is ready stays so.
        assert await ask(server, *who) == real_store.text(5, value - 1)
        (held,) = server.loaded(fake_source.CALLER)
        real_store.publish(ROOT, "acme", "F01", value)
        await noticed(server, value, *who)
    await server.close()
    store = submodel_store.SubmodelStore(ROOT)
    numbers = [each.number for each in store.versions("acme", "F01")]
    assert numbers == [1, 2, 3, 4, 5, 6], numbers
    assert store.rollback("acme", "F01").number == 5
    assert not list(store.verify())
    print("done")

asyncio.run(run())
"""


def test_a_clock_set_back_or_forward_changes_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "store")],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.stdout == "done\n", done.stderr
