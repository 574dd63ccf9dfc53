"""The SavedModel called directly, in a process of its own, when asked.

What a server is measured against: no batching, no transport, nothing but
`tf.saved_model.load` and its signatures. A line of JSON on stdin is a command,
a line on stdout its answer; arrays pass through files.
"""

import json
import os
import subprocess
import sys
import time

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


class Direct:
    """A process that calls an export's signatures.

    Args:
        export: `pathlib.Path` of a SavedModel's folder.
        folder: `pathlib.Path` for the arrays that pass.
    """

    def __init__(self, export, folder):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.serving.direct", export],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def prepare(self, name, signature, inputs):
        """Names a call: dict of arrays for a signature."""
        path = self._folder / f"direct_{self._count}.npz"
        self._count += 1
        np.savez(path, **inputs)
        self._ask(name=name, signature=signature, inputs=str(path))

    def seconds(self, name, repeats):
        """Makes a prepared call so often; the seconds of all."""
        return self._ask(name=name, repeats=repeats)["seconds"]

    def answers(self, name):
        """Makes a prepared call; a list of (text bytes, score, status)."""
        found = self._ask(name=name, answers=True)
        return [
            (text.encode("utf-8", "surrogateescape"), score, status)
            for text, score, status in zip(
                found["text"], found["score"], found["status"], strict=True
            )
        ]

    def _ask(self, **command):
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self):
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the direct process ended; see above")
        return json.loads(line)


def _serve(export):
    """Answers `Direct`."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 registers its operations

    # What TensorFlow prints must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    loaded = tf.saved_model.load(export)
    calls = {}

    def call(name):
        signature, inputs = calls[name]
        return {k: v.numpy() for k, v in signature(**inputs).items()}

    def answer(command):
        name = command["name"]
        if "signature" in command:
            with np.load(command["inputs"]) as arrays:
                calls[name] = (
                    loaded.signatures[command["signature"]],
                    {k: tf.constant(arrays[k]) for k in arrays},
                )
            return {}
        if "repeats" in command:
            started = time.perf_counter()
            for _ in range(command["repeats"]):
                call(name)
            return {"seconds": time.perf_counter() - started}
        outputs = call(name)
        return {
            "text": [
                each.decode("utf-8", "surrogateescape")
                for each in outputs["text"]
            ],
            "score": outputs["score"].tolist(),
            "status": [each.decode() for each in outputs["status"]],
        }

    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
