"""Kills writers, and times resolves among 100,000 Submodels.

    python -m tests.benchmarks.store
    python -m tests.benchmarks.store --parts=resolve --submodels=10000

kills: a process publishes for a few speakers, rolls back and erases, and is
killed by SIGKILL at a random moment of it, again and again. After every kill
each speaker must be served what was served before or what was being done,
whole; nothing that was acknowledged may be lost; `verify` may find leftovers
and nothing else.

resolve: times resolves in a store of 100 Submodels and in one of
`--submodels`, in turns and on the same disk. Resolving the same 99 speakers in
both shows what the size of a store costs. Resolving any speaker includes those
who are in no cache of the processor.

The program prints tables, and a JSON object as its last line. The exit status
is 1 if a store was not whole or the larger one is slower.
"""

import collections
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time

from absl import app, flags

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402

from lingvo_like.store import layout, records, store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tests import layouts

_PARTS = flags.DEFINE_list("parts", ["kills", "resolve"], "Which to run.")
_KILLS = flags.DEFINE_integer("kills", 200, "How often to kill.", lower_bound=1)
_SUBMODELS = flags.DEFINE_integer(
    "submodels", 100_000, "Submodels in the larger store.", lower_bound=100
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the moments and the speakers.")
_WORK_DIR = flags.DEFINE_string(
    "work_dir",
    "",
    "Folder for the stores, which are removed; else a temporary one.",
)

TENANT = "clinic"
SPEAKERS = tuple(f"S{number}" for number in range(5))
FINGERPRINT = "ab" * 32
# About 100 KB, so that a write takes some time.
LARGE = layouts.adapters(model_dim=384, bottleneck_dim=16, blocks=(0, 1))
SMALL = layouts.adapters(model_dim=4, bottleneck_dim=2, blocks=(0,))
SMALLER_STORE = 100
ROUNDS, RESOLVES = 60, 200
# Not slower, apart from the noise of the clock.
RATIO_AT_MOST = 1.1


def content(submodel_layout, value):
    """The bytes of a Submodel with all values equal to `value`."""
    vector = np.full(submodel_layout.num_values, value, np.float32)
    return submodel_file.to_bytes(
        submodel_file.create(
            submodel_layout,
            submodel_layout.unpack(vector),
            base_fingerprint=FINGERPRINT,
            speaker="S",
        )
    )


class Writer:
    """A forked process that changes a store and says when.

    Args:
        act: callable without arguments.
    """

    def __init__(self, act):
        self._read_end, write_end = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.write(write_end, b"b")
                act()
                os.write(write_end, b"d")
            finally:
                os._exit(0)
        os.close(write_end)
        if os.read(self._read_end, 1) != b"b":
            raise RuntimeError("the writing process did not begin")

    def end(self):
        """Waits for the end; returns whether the change was acknowledged."""
        done = os.read(self._read_end, 1) == b"d"
        os.close(self._read_end)
        os.waitpid(self._pid, 0)
        return done

    def kill(self):
        """Kills it; returns whether the change was acknowledged before."""
        os.kill(self._pid, signal.SIGKILL)
        return self.end()


class Expected:
    """The versions that speakers of a store were served, the current one last.

    Args:
        store: `SubmodelStore`.
    """

    def __init__(self, store):
        self._store = store
        self.served = {speaker: [] for speaker in SPEAKERS}

    def now(self):
        """The bytes that each speaker is served, or None."""
        return {s: (each or [None])[-1] for s, each in self.served.items()}

    def found(self):
        """The bytes in the store that each speaker is served, or None."""
        return {speaker: self._found(speaker) for speaker in SPEAKERS}

    def _found(self, speaker):
        try:
            return self._store.read(self._store.resolve(TENANT, speaker))
        except submodel_store.UnknownSubmodelError:
            return None

    def change(self, kind, speaker, data):
        """The act of a change, and what the speaker is served after it."""
        served = self.served[speaker]
        if kind == "erase" and served:
            return (
                lambda: self._store.erase(TENANT, speaker, "benchmark"),
                [],
            )
        if kind == "rollback" and len(served) > 1:
            return lambda: self._store.rollback(TENANT, speaker), served[:-1]
        return (
            lambda: self._store.publish(data, TENANT, speaker, again=True),
            [*served, data],
        )


def kill_writers(store, kills, seed):
    """Kills writers, and checks the store after each kill.

    Returns:
        dict of the figures, and a `Counter` of outcomes.
    """
    draw = random.Random(seed)
    expected, whole, tries = Expected(store), 0, 0
    outcomes = collections.Counter()
    times = []
    for index, speaker in enumerate(SPEAKERS):
        begun = time.perf_counter()
        act, served = expected.change("publish", speaker, content(LARGE, index))
        if not Writer(act).end():
            raise RuntimeError("a publish that nobody killed did not end")
        times.append(time.perf_counter() - begun)
        expected.served[speaker] = served
    seconds = statistics.median(times)
    while sum(outcomes.values()) < kills:
        tries += 1
        speaker = draw.choice(SPEAKERS)
        kind = draw.choices(("publish", "rollback", "erase"), (3, 1, 1))[0]
        act, served = expected.change(
            kind, speaker, content(LARGE, 100 + tries)
        )
        writer = Writer(act)
        time.sleep(draw.uniform(0.0, seconds))
        if writer.kill():
            expected.served[speaker] = served
            continue
        problems, found = list(store.verify()), expected.found()
        before = expected.now()
        if found[speaker] != before[speaker]:
            expected.served[speaker] = served
        whole += found == expected.now() and all(
            p.is_leftover for p in problems
        )
        serves = "old" if found == before else "new"
        outcomes[serves, describe(problems)] += 1
    left = list(store.verify(remove_leftovers=True))
    return {
        "kills": kills,
        "whole": whole,
        "changes_before_a_kill": tries - kills,
        "publish_ms": round(1e3 * seconds, 1),
        "leftovers_not_removed": sum(not p.is_removed for p in left),
        "speakers": len(list(store.current())),
    }, outcomes


def describe(problems):
    """The kinds of files that a killed writer left, for the table."""
    kinds = set()
    for problem in problems:
        name = problem.path.rpartition("/")[2]
        if not problem.is_leftover:
            kinds.add("BROKEN")
        elif layout.is_blob(name):
            kinds.add("file")
        elif layout.parse_record(name):
            kinds.add("record")
        elif name == layout.AUDIT:
            kinds.add("half a line")
        elif layout.is_digest(name):
            kinds.add("empty folder")
        else:
            kinds.add("temporary file")
    return ", ".join(sorted(kinds)) or "nothing"


def fill(root, count):
    """Writes a store of `count` speakers, as that many publishes would.

    It leaves out their syncs and renames, which would take hours on a disk.
    """
    store = submodel_store.SubmodelStore(root)
    first = store.publish(content(SMALL, 1), TENANT, "first")
    data = store.read(first)
    for number in range(1, count):
        version = submodel_store.Version(
            **{**vars(first), "speaker": f"speaker{number}"}
        )
        os.makedirs(os.path.join(root, version.folder))
        pointer = records.Pointer(version, version.seal)
        for path, written in (
            (version.blob_path, data),
            (version.record_path, records.to_json(version)),
            (
                layout.pointer_path(version.folder),
                records.to_json(pointer),
            ),
        ):
            with open(os.path.join(root, path), "wb") as file:
                file.write(written)
    return store


def time_resolves(folder, count, seed):
    """Measures microseconds of resolves in a small and in a large store.

    Returns:
        dict of (which speakers, Submodels in the store) to an array, and the
        seconds that it took to fill the stores.
    """
    draw = random.Random(seed)
    begun = time.perf_counter()
    stores = {
        size: fill(os.path.join(folder, f"store{size}"), size)
        for size in (SMALLER_STORE, count)
    }
    filled = time.perf_counter() - begun
    rows = {
        ("the same 99", SMALLER_STORE): SMALLER_STORE,
        ("the same 99", count): SMALLER_STORE,
        ("any of all", count): count,
    }
    times = {row: [] for row in rows}
    for _ in range(ROUNDS):
        # In turns, so that other work on the machine slows all of them.
        for row, size in rows.items():
            store = stores[row[1]]
            for _ in range(RESOLVES):
                name = f"speaker{draw.randrange(1, size)}"
                begun = time.perf_counter()
                version = store.resolve(TENANT, name)
                times[row].append(1e6 * (time.perf_counter() - begun))
                if version.speaker != name:
                    raise RuntimeError(f"{name} resolved to {version}")
    return {row: np.array(each) for row, each in times.items()}, filled


def run_kills(folder):
    store = submodel_store.SubmodelStore(os.path.join(folder, "killed"))
    figures, outcomes = kill_writers(store, _KILLS.value, _SEED.value)
    print(f"{'serves':<8}{'left behind':<32}{'kills':>6}")
    for (serves, left), times in sorted(outcomes.items()):
        print(f"{serves:<8}{left:<32}{times:>6}")
    print(f"whole after {figures['whole']} of {figures['kills']} kills\n")
    return figures


def run_resolve(folder):
    count = _SUBMODELS.value
    times, filled = time_resolves(folder, count, _SEED.value)
    print(f"{'speakers':<12}{'Submodels':>10}", end="")
    print(f"{'p50 us':>10}{'p90 us':>10}{'p99 us':>10}")
    for (speakers, size), each in times.items():
        figures = np.percentile(each, (50, 90, 99))
        print(f"{speakers:<12}{size:>10,}", end="")
        print("".join(f"{figure:>10.1f}" for figure in figures))
    print(f"filled in {filled:.0f} s\n")
    figures = ratios(*times.values(), count)
    passed = "pass" if figures["resolve_passes"] else "FAIL"
    print(f"ratio at most {RATIO_AT_MOST}: {passed}\n")
    return figures


def ratios(small, large, any_speaker, count):
    """The figures of `resolve`, from the medians of its times.

    The bound is on the time for the same speakers in a larger store. Resolving
    any speaker is reported separately: in a large store most of them are in no
    cache of the processor.

    Args:
        small, large: microseconds for the same speakers in the store of 100
            and in that of `count`.
        any_speaker: microseconds for any speaker in the larger store.
        count: Submodels in the larger store.
    """
    small, large, anybody = map(np.median, (small, large, any_speaker))
    return {
        f"resolve_ratio_{count}": round(float(large / small), 3),
        f"resolve_ratio_{count}_any": round(float(anybody / small), 3),
        "resolve_ratio_at_most": RATIO_AT_MOST,
        "resolve_passes": bool(large / small <= RATIO_AT_MOST),
        "resolve_us_p50": round(float(anybody), 1),
    }


PARTS = {"kills": run_kills, "resolve": run_resolve}


def main(_):
    unknown = set(_PARTS.value) - set(PARTS)
    if unknown:
        raise app.UsageError(f"--parts: {unknown} is none of {list(PARTS)}")
    result = {}
    with tempfile.TemporaryDirectory(dir=_WORK_DIR.value or None) as folder:
        for part in _PARTS.value:
            result |= PARTS[part](folder)
    print(json.dumps(result))
    is_whole = result.get("whole") == result.get("kills")
    if not (is_whole and result.get("resolve_passes", True)):
        sys.exit(1)


if __name__ == "__main__":
    app.run(main)
