"""Measures what serving promises: `python -m tests.benchmarks.serving`.

    python -m tests.benchmarks.serving --base=BASE --work_dir=DIR

BASE is a short-context Whisper from tasks.shorten_context. Exports it once,
then runs each part: a server on loopback in a process of its own, this process
as the load. Each part prints a table; the last line is one JSON object. The
exit status is 1 if a requirement is not met.

  throughput    mixed batches against the base, the server against none
  cold          the first request for a Submodel against a warm one
  interference  warm requests while 50 Submodels a second are loaded
  working_set   Zipf traffic of twice as many users as there are ready rows
  isolation     every answer is that of its own user's Submodel alone
  overload      three times the peak
  churn         load and unload, again and again
  lifecycle     SIGTERM under load
  publishes     SIGKILL during publishes (tests.benchmarks.store)
  reload        new versions of the base under load, one of them corrupt
  fuzz          bytes from anywhere
"""

import argparse
import importlib
import json
import os
import sys
import time
import traceback

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

PARTS = (
    "throughput",
    "cold",
    "interference",
    "working_set",
    "isolation",
    "overload",
    "churn",
    "lifecycle",
    "publishes",
    "reload",
    "fuzz",
)


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--base", required=True, help="folder of a short-context base")
    add("--work_dir", required=True, help="for exports, stores and logs; kept")
    add("--parts", default=",".join(PARTS), help="which to run, in this order")
    add("--recordings", default="", help="manifest; simulated if empty")
    add("--seconds", type=float, default=20.0, help="of a window of load")
    add("--rounds", type=int, default=7, help="of variants that take turns")
    add("--requests", type=int, default=0, help="of a part; 0: its own number")
    add("--users", type=int, default=10_000, help="of working_set")
    add("--overload_seconds", type=float, default=60.0)
    add("--cycles", type=int, default=50_000, help="of churn")
    add("--drains", type=int, default=5, help="of lifecycle")
    add("--kills", type=int, default=200, help="of publishes")
    add("--reloads", type=int, default=20)
    add("--cases", type=int, default=100_000, help="of fuzz")
    add(
        "--without_reference_count",
        action="store_true",
        help="isolation alone, in process, broken on purpose: it must fail",
    )
    return parser


def main():
    arguments = _parser().parse_args()
    parts = arguments.parts.split(",")
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        sys.exit(f"error: unknown parts {unknown}; there are {list(PARTS)}")
    if arguments.without_reference_count:
        parts = ["isolation"]
    from tests.benchmarks.serving import bench as bench_lib

    bench = bench_lib.Bench(arguments)
    values, failed = {}, []
    for part in parts:
        started = time.monotonic()
        module = importlib.import_module(f"tests.benchmarks.serving.{part}")
        try:
            result = module.run(bench)
        except Exception as error:
            if arguments.parts == part:
                raise
            # The others are worth their hour all the same.
            traceback.print_exc()
            print(f"{part}: FAILED: {type(error).__name__}: {error}")
            failed.append(part)
            continue
        result.add(f"{part}_seconds", round(time.monotonic() - started), "s")
        print(result.table() + "\n", flush=True)
        for name, value in result.values.items():
            is_float = isinstance(value, float)
            values[name] = float(f"{value:.6g}") if is_float else value
        failed += result.failed
    print(json.dumps({**values, "parts": parts, "failed": failed}))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
