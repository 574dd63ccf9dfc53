"""Item 8: bytes from anywhere end in intended errors and nothing else."""

import asyncio
import importlib.util
import json
import subprocess
import sys
import time

from tests.benchmarks.serving import (
    fuzz_live,
    load,
    requests,
    results,
    speech,
    users,
)
from tests.fuzz import cases, targets

SCALE = 1e-3
# Of all cases: what Hypothesis makes up for functions, what Atheris does, and
# what goes to a server over its ports.
SHARES = {"hypothesis": 0.6, "atheris": 0.2, "live": 0.2}
# Hypothesis keeps a tree of what it has tried.
CHUNK = 2000
SHOWN = 5
# A server that answers thousands of kinds of nonsense may fill its pools.
GROWTH_BYTES = 64 << 20


def run(bench):
    """Fuzzes the functions first, then a running server."""
    total = bench.arguments.cases
    has_atheris = importlib.util.find_spec("atheris") is not None
    shares = dict(SHARES)
    if not has_atheris:
        shares["hypothesis"] += shares.pop("atheris")
    result = results.Result(
        "fuzz",
        f"{total} cases: "
        + ", ".join(f"{share:.0%} {name}" for name, share in shares.items())
        + ("" if has_atheris else " (Atheris is not installed)"),
    )
    done, crashes = 0, 0
    each = -(-int(total * shares["hypothesis"]) // len(targets.TARGETS))
    for name in targets.TARGETS:
        count, taken, findings = _functions(name, each)
        done += count
        crashes += len(findings)
        result.add(f"{name}_cases", count, f"{taken} were valid")
        for finding in findings[:SHOWN]:
            result.note(str(finding))
    if has_atheris:
        each = -(-int(total * shares["atheris"]) // len(targets.TARGETS))
        for name in targets.TARGETS:
            count, found = _coverage_guided(name, each)
            result.add(f"{name}_atheris_cases", count)
            done += count
            crashes += found
    count, bad = _live(bench, result, int(total * shares["live"]))
    result.add("fuzz_cases", done + count, at_least=total)
    result.add("crashes", crashes + bad, at_most=0)
    return result


def _functions(name, count):
    """Cases, how many of them were valid, and `Finding`s of a target."""
    done, taken, findings, seed = 0, 0, [], 0
    while done < count:
        for data in cases.draw(name, min(CHUNK, count - done), seed):
            is_taken, finding = targets.check(name, data)
            done += 1
            taken += is_taken
            if finding is not None:
                findings.append(finding)
        seed += 1
    return done, taken, findings


def _coverage_guided(name, count):
    """Cases and crashes of a target under Atheris, in a process of its own."""
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.fuzz.coverage_guided",
            name,
            str(count),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = process.stdout.strip().splitlines()
    if process.returncode or not lines:
        # The interpreter itself went down, or Atheris did.
        print(process.stderr[-2000:], file=sys.stderr)
        return 0, 1
    found = json.loads(lines[-1])
    if found["crashes"]:
        print(process.stderr[-5000:], file=sys.stderr)
    return found["cases"], found["crashes"]


def _live(bench, result, count):
    """Cases sent to a server, and how many it did not take as it should."""
    store = users.publish(
        bench.folder("fuzz_store"), bench.description, 4, SCALE
    )
    clip = speech.cut(bench.speakers, 1.0, 1)[0]
    with bench.serve(store.root) as server:
        before = asyncio.run(_good(server, clip))
        begun = server.usage()
        started = time.monotonic()
        sent, findings, answered = asyncio.run(fuzz_live.send(server, count))
        seconds = time.monotonic() - started
        is_alive = server.is_running()
        after = asyncio.run(_good(server, clip)) if is_alive else None
        grown = server.usage().resident_bytes - begun.resident_bytes
    for name, number in sent.items():
        result.add(f"live_{name}_cases", number)
    # Some are cut short, and wait for more; most are not.
    result.add(
        "live_raw_http_answered", answered, at_least=sent["raw_http"] // 2
    )
    for finding in findings[:SHOWN]:
        result.note(str(finding))
    result.add("live_cases_per_second", sum(sent.values()) / seconds)
    result.add("server_answers_as_before", int(after == before), at_least=1)
    result.add("live_rss_growth_bytes", grown, "bytes", at_most=GROWTH_BYTES)
    return sum(sent.values()), len(findings)


async def _good(server, clip):
    """A good request's answer."""
    async with server.client() as client:
        outcome = await client.predict(requests.predict(clip, users.name(0)))
    load.check([outcome])
    return outcome.answers
