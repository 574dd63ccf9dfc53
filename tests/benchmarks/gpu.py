"""All that a machine with a GPU shows, in ten minutes, without TensorFlow.

    python -m tests.benchmarks.gpu --steps=10 --minutes=9 --output=gpu.json

It runs one program after the other, each in a process of its own: `jax_step`,
a training step of 1, 128, 1,024 and 4,096 Submodels of every kind;
`torch_step`, that of PEFT on PyTorch on the same card; `jax_recognition`,
batches of 16 and 256 speakers over the base alone. First all in float32, then
in bfloat16. What fails, or comes to the end of the time, has an `error` in the
results beside what was measured, and the exit status is 1. `--output` keeps the
results after every program.

The machine needs JAX for its GPU, Keras and NumPy, and for PEFT's row PyTorch,
Transformers and PEFT, here or in the environment of `--torch_python`. Without
a network, carry as wheels what it lacks; on one with Python 3.12, JAX, PyTorch
and Transformers that is

    pip download --no-deps -d wheels --only-binary=:all: \\
        --python-version=3.12 --platform=manylinux_2_28_x86_64 \\
        --platform=manylinux2014_x86_64 --platform=manylinux_2_17_x86_64 \\
        keras==3.15.1 namex optree peft==0.21.2
    pip install --no-index --no-deps --target=site wheels/*.whl
    PYTHONPATH=site python -m tests.benchmarks.gpu --steps=10 --minutes=9 \\
        --output=gpu.json

On a machine without a GPU, a small form:

    python -m tests.benchmarks.gpu --rounds=1 --batch=2 --frames=40 \\
        --tokens=2 --num_submodels=1,2 --batches=2 --table=2
"""

import json
import os
import pathlib
import subprocess
import sys
import threading
import time

from tests.benchmarks import turns

# By part of the results, its program and the flags that it has of its own.
PARTS = {
    "step": ("jax_step", ("kinds", "num_submodels", "batch")),
    "peft": ("torch_step", ("batch", "threads")),
    "recognition": (
        "jax_recognition",
        ("kinds", "batches", "tokens", "parts", "table"),
    ),
}
SHARED = ("rounds", "steps", "frames", "bottleneck_dim")
# So that what one program leaves of the card's memory is there for the next.
ENVIRONMENT = {"KERAS_BACKEND": "jax", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def command(part, dtype, arguments):
    """The command of a part, with the flags that were given."""
    program, flags = PARTS[part]
    python = arguments.torch_python if part == "peft" else sys.executable
    given = vars(arguments)
    return [
        python,
        "-m",
        f"tests.benchmarks.{program}",
        f"--dtype={dtype}",
        "--partial",
        *(
            f"--{flag}={given[flag]}"
            for flag in (*SHARED, *flags)
            if given[flag] is not None
        ),
    ]


def results_of(command, seconds):
    """Runs a program and shows what it prints; returns its last line's JSON.

    After so many seconds the program is ended.
    """
    if seconds <= 0:
        return {"error": "no time was left"}
    try:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ENVIRONMENT},
        )
    except OSError as error:
        return {"error": str(error)}
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    found = {}
    with process:
        for line in process.stdout:
            # One that was killed may leave half of a line.
            if line.startswith("{") and line.endswith("}\n"):
                found = json.loads(line)
            else:
                print(line, end="", flush=True)
    if not timer.is_alive():
        return {**found, "error": "no time was left"}
    timer.cancel()
    if process.returncode or not found:
        error = f"{command[2]} exited with {process.returncode}"
        return {**found, "error": error}
    return found


def over_peft(step, peft):
    """The step of one LoRA on JAX over each row of PEFT's."""
    ours = step.get("lora", {}).get("ms_1")
    rows = {
        name: row["ms"]
        for name, row in peft.items()
        if isinstance(row, dict) and "ms" in row
    }
    return {name: round(ours / ms, 4) for name, ms in rows.items() if ours}


def show(dtype, results):
    """Prints the figures that the programs are run for."""

    def line(figure, ratios):
        values = ", ".join(f"{name} {x:.3f}" for name, x in ratios.items())
        print(f"{dtype:9} {figure:38} {values}")

    for kind, found in results["step"].items():
        if isinstance(found, dict):
            ratios = {
                name.removeprefix("ratio_"): value
                for name, value in found.items()
                if name.startswith("ratio_")
            }
            line(f"step, {kind}, over fewest Submodels", ratios)
    if results["over_peft"]:
        line("step, lora, 1 Submodel over PEFT's", results["over_peft"])
    for batch, found in results["recognition"].items():
        if isinstance(found, dict):
            ratios = {k: v["ratio"] for k, v in found.items() if "ratio" in v}
            line(f"recognition, {batch} speakers over base", ratios)
    for where, error in errors(results):
        print(f"{dtype:9} {where}: {error}")


def errors(results, where=""):
    """Where in the results an error is, and the error."""
    for name, value in results.items():
        if name == "error":
            yield where.strip(), value
        elif isinstance(value, dict):
            yield from errors(value, f"{where} {name}")


def run(arguments):
    """Runs the parts; returns their results by dtype."""
    deadline = time.monotonic() + 60 * arguments.minutes
    results = {}
    for dtype in arguments.dtypes.split(","):
        results[dtype] = found = {}
        for part in PARTS:
            print(f"\n{part}, {dtype}", flush=True)
            found[part] = results_of(
                command(part, dtype, arguments), deadline - time.monotonic()
            )
            if arguments.output:
                arguments.output.write_text(json.dumps(results))
        found["over_peft"] = over_peft(found["step"], found["peft"])
    print()
    for dtype, found in results.items():
        show(dtype, found)
    return results


def parse():
    parser = turns.parser(__doc__)
    parser.add_argument("--dtypes", default=",".join(turns.DTYPES))
    parser.add_argument("--kinds", default="all")
    parser.add_argument("--num_submodels", default="1,128,1024,4096")
    parser.add_argument("--batch", type=int, default=16, help="of a step")
    parser.add_argument("--batches", default="16,256", help="of recognition")
    parser.add_argument("--table", type=int, help="Submodels of recognition")
    parser.add_argument("--tokens", type=int, help="of each text")
    parser.add_argument("--parts", help="of the base, in recognition")
    parser.add_argument(
        "--torch_python", default=sys.executable, help="has PyTorch and PEFT"
    )
    parser.add_argument("--threads", type=int, help="of PyTorch on CPU")
    parser.add_argument("--minutes", type=float, default=60.0, help="for all")
    parser.add_argument("--output", type=pathlib.Path, help="a JSON file")
    return parser.parse_args()


def main():
    arguments = parse()
    results = run(arguments)
    if arguments.output:
        arguments.output.write_text(json.dumps(results))
    print(json.dumps(results))
    if any(errors(results)):
        sys.exit(1)


if __name__ == "__main__":
    main()
