"""A user's mistake is one line on stderr; a bug of ours is a traceback."""

import os
import pathlib
import re
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def run(program):
    """Runs a program's lines as `main` of a binary."""
    body = "".join(f"    {line}\n" for line in program.splitlines())
    text = (
        "import os, sys\n"
        "from tasks import cli\n"
        f"def main(argv):\n{body}"
        "cli.run(main)\n"
    )
    env = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "-c", text],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    "program, message",
    [
        ("raise ValueError('a.jsonl:3: no `text`')", "a.jsonl:3: no `text`"),
        ("raise ValueError('this\\n  and that\\n')", "this and that"),
        ("raise ValueError()", "ValueError"),
        (
            "open('/no/such/file')",
            "[Errno 2] No such file or directory: '/no/such/file'",
        ),
        ("cli.fail('--base is missing')", "--base is missing"),
    ],
)
def test_an_error_to_mend_is_one_line(program, message):
    done = run(program)
    assert done.returncode == 1
    assert done.stderr == f"error: {message}\n"


def test_an_error_of_ours_keeps_its_traceback():
    done = run("raise RuntimeError('ours')")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("RuntimeError: ours\n")


def test_interrupting_is_one_line():
    done = run("raise KeyboardInterrupt")
    assert (done.returncode, done.stderr) == (130, "stopped by Ctrl-C\n")
    done = run(
        "error = KeyboardInterrupt('saved in RUN')\n"
        "error.exit_status = 143\n"
        "raise error"
    )
    assert (done.returncode, done.stderr) == (143, "saved in RUN\n")


def test_interrupting_the_imports_of_a_binary_is_one_line_too():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from tasks import cli\nraise KeyboardInterrupt",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGINT
    assert done.stderr == "stopped by Ctrl-C\n"


@pytest.mark.parametrize("length", [10, 100_000])
def test_a_reader_that_leaves_early_is_no_error(length):
    done = run(
        "reader, writer = os.pipe()\n"
        "os.dup2(writer, 1)\n"
        "os.close(writer)\n"
        "os.close(reader)\n"
        f"print('x' * {length})"
    )
    assert (done.returncode, done.stderr) == (141, "")


def test_logs_and_warnings_are_plain_lines():
    done = run(
        "import warnings\n"
        "from absl import logging\n"
        "logging.info('as it was')\n"
        "logging.warning('take care')\n"
        "logging.error('it broke')\n"
        "import logging as python_logging\n"
        "python_logging.getLogger('library').info('made a cache')\n"
        "warnings.warn('soon gone')"
    )
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "as it was",
        "warning: take care",
        "error: it broke",
        "warning: soon gone",
    ]


def test_an_error_of_tensorflow_is_one_line_and_new_shapes_are_no_news():
    done = run(
        "import tensorflow as tf\n"
        "step = tf.function(tf.reduce_sum)\n"
        "for length in range(1, 9):\n"
        "    step(tf.zeros([length]))\n"
        "tf.get_logger().error('something is wrong')\n"
        "tf.io.gfile.GFile('/no/such/file').read()"
    )
    assert done.returncode == 1
    # TensorFlow's first lines come before it reads how much to log.
    lines = [
        line
        for line in done.stderr.splitlines()
        if not re.match(r"I\d{4} |WARNING: All log messages before", line)
    ]
    assert len(lines) == 2
    assert "something is wrong" in lines[0]
    assert lines[1] == "error: /no/such/file; No such file or directory"


def test_errors_of_tensorflow_are_told_apart():
    import tensorflow as tf

    from tasks import cli

    errors = tf.errors
    full = errors.ResourceExhaustedError(None, None, "disk is full\nat: node")
    assert cli.expected_message(full) == "disk is full"
    ours = errors.InvalidArgumentError(None, None, "shapes [2] and [3] differ")
    assert cli.expected_message(ours) is None
    assert cli.expected_message(RuntimeError("ours")) is None


def test_an_error_of_the_input_pipeline_says_what_python_said():
    import tensorflow as tf

    from tasks import cli
    from tasks.asr.data import rejections

    def message(error):
        def load(index):
            raise error

        dataset = tf.data.Dataset.range(1).map(
            lambda index: tf.numpy_function(load, [index], tf.int64)
        )
        with pytest.raises(tf.errors.OpError) as raised:
            next(iter(dataset))
        return cli.expected_message(raised.value)

    gone = rejections.UnusableError("audio file is missing", where="/a/1.wav")
    assert message(gone) == "/a/1.wav: audio file is missing"
    assert message(PermissionError(13, "not yours", "/a")).endswith("'/a'")
    assert message(KeyError("ours")) is None
