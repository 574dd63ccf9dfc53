"""Item 7: SIGKILL during publishes; measured by `tests.benchmarks.store`."""

import json
import subprocess
import sys

from tests.benchmarks.serving import results


def run(bench):
    """Kills publishes; the store must be whole after each."""
    kills = bench.arguments.kills
    result = results.Result("publishes", f"{kills} publishes under SIGKILL")
    process = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.benchmarks.store",
            "--parts=kills",
            f"--kills={kills}",
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    lines = process.stdout.strip().splitlines()
    for line in lines[:-1]:
        result.note(line)
    found = json.loads(lines[-1]) if lines else {}
    result.add("store_kills", found.get("kills"), at_least=kills)
    result.add("store_whole", found.get("whole"), at_least=kills)
    return result
