"""Fuzzes a target with Atheris, which looks for inputs that reach new code.

    python -m tests.fuzz.coverage_guided TARGET RUNS [CORPUS_FOLDER]

The last line is one JSON object; findings go to stderr. Needs the extra `fuzz`.
"""

import json
import os
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import atheris  # noqa: E402

with atheris.instrument_imports(include=["tasks", "lingvo_like"]):
    from tests.fuzz import targets

MAX_BYTES = 4096


def main():
    name, runs = sys.argv[1], int(sys.argv[2])
    if name not in targets.TARGETS:
        sys.exit(f"error: {name!r} is none of {sorted(targets.TARGETS)}")
    from tests.fuzz import cases

    corpus = sys.argv[3] if len(sys.argv) > 3 else tempfile.mkdtemp()
    os.makedirs(corpus, exist_ok=True)
    for number, seed in enumerate(cases.seeds(name)):
        with open(os.path.join(corpus, f"seed_{number}"), "wb") as file:
            file.write(seed)
    count, crashes = 0, 0

    def run(data):
        nonlocal count, crashes
        count += 1
        _, finding = targets.check(name, data)
        if finding is not None:
            crashes += 1
            print(finding, file=sys.stderr, flush=True)
        if count == runs:
            found = {"target": name, "cases": count, "crashes": crashes}
            print(json.dumps(found), flush=True)
            # libFuzzer would end the process without Python's own end.
            os._exit(0)

    atheris.Setup(
        [sys.argv[0], f"-max_len={MAX_BYTES}", "-verbosity=0", corpus], run
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
