"""What a user can mend is one line on stderr; what is ours is a traceback."""

import pathlib
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
    return subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True
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


def test_interrupting_is_no_error():
    done = run("raise KeyboardInterrupt")
    assert (done.returncode, done.stderr) == (130, "")


def test_notices_are_left_out_and_everything_else_comes_through():
    done = run(
        "with cli._without_notices():\n"
        "    os.write(2, b'WARNING: All log messages before '\n"
        "        b'absl::InitializeLog() is called are written\\n')\n"
        "    os.write(2, b'I0000 00:00:17.1 2 port.cc:153] oneDNN\\n')\n"
        "    os.write(2, b'E0000 00:00:17.1 2 c.cc:5] failed call to '\n"
        "        b'cuInit: UNKNOWN ERROR (303)\\n')\n"
        "    os.write(2, b'2026-11-22 01:02:03.4: E a/b.cc:4] '\n"
        "        b'Unable to register cuFFT factory\\n')\n"
        "    os.write(2, b'W0000 00:00:17.1 2 c.cc:5] computation placer '\n"
        "        b'already registered\\n')\n"
        "    os.write(2, b'E0000 00:00:17.1 2 c.cc:5] GPU 3 is broken\\n')\n"
        "    print('a warning', file=sys.stderr)\n"
        "    os.write(2, b'no end of line')\n"
        "print(' after', file=sys.stderr)"
    )
    assert done.returncode == 0
    assert done.stderr == (
        "E0000 00:00:17.1 2 c.cc:5] GPU 3 is broken\n"
        "a warning\n"
        "no end of line after\n"
    )


def test_the_last_words_of_a_library_that_aborts_are_not_lost():
    done = run(
        "with cli._without_notices():\n"
        "    os.write(2, b'F0000 cannot load the driver\\n')\n"
        "    os.abort()"
    )
    assert done.returncode < 0
    assert "F0000 cannot load the driver\n" in done.stderr


def test_tensorflow_starts_and_fails_in_one_line():
    done = run(
        "import tensorflow as tf\n"
        "tf.constant(1.0) + 1.0\n"
        "tf.io.gfile.GFile('/no/such/file').read()"
    )
    assert done.returncode == 1
    assert done.stderr == ("error: /no/such/file; No such file or directory\n")


def test_the_collector_leaves_alone_what_stays():
    done = run(
        "import atexit, gc, tensorflow as tf\n"
        "imported = gc.get_freeze_count()\n"
        "assert imported > 100_000 and gc.isenabled(), imported\n"
        "more = [[] for _ in range(300_000)]\n"
        "atexit._run_exitfuncs()\n"
        "assert gc.get_freeze_count() > imported + 100_000"
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_program_for_each_length_is_no_news():
    done = run(
        "import tensorflow as tf\n"
        "step = tf.function(tf.reduce_sum)\n"
        "for length in range(1, 9):\n"
        "    step(tf.zeros([length]))\n"
        "tf.get_logger().warning('something else')"
    )
    assert done.returncode == 0
    assert "retracing" not in done.stderr
    assert "something else" in done.stderr


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
    from tasks.asr.data import audio

    def message(error):
        def load(index):
            raise error

        dataset = tf.data.Dataset.range(1).map(
            lambda index: tf.numpy_function(load, [index], tf.int64)
        )
        with pytest.raises(tf.errors.OpError) as raised:
            next(iter(dataset))
        return cli.expected_message(raised.value)

    gone = audio.AudioError("/a/1.wav", "audio file is missing")
    assert message(gone) == "/a/1.wav: audio file is missing"
    assert message(PermissionError(13, "not yours", "/a")).endswith("'/a'")
    assert message(KeyError("ours")) is None
