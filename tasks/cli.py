"""What every binary shares: how it starts and how it fails."""

import atexit
import builtins
import contextlib
import gc
import importlib.util
import os
import re
import signal
import sys

# Before TensorFlow is imported: what it logs later would bury our messages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags, logging  # noqa: E402

EXPECTED_ERRORS = (ValueError, OSError)
# What TensorFlow raises for files, stores and memory that a user can mend;
# its other errors are ours.
EXPECTED_TENSORFLOW_ERRORS = (
    "AlreadyExistsError",
    "DataLossError",
    "FailedPreconditionError",
    "NotFoundError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "UnauthenticatedError",
    "UnavailableError",
)
# TensorFlow logs these as it starts, many before it reads TF_CPP_MIN_LOG_LEVEL.
# Of the errors, those of a machine without a GPU or without its driver, and
# those of 2.19 and 2.20 that come with every start: nothing is amiss.
_NOTICE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|I\d{4} \d\d:\d\d:\d\d"
    rb"|([EW]\d{4}|\d{4}-\d\d-\d\d \S+: E) .*("
    rb"failed call to cuInit: .*(\(303\)|CUDA_ERROR_NO_DEVICE)"
    rb"|Unable to register cu\w+ factory|computation placer already registered)"
)
# What Python code raised inside of TensorFlow's input pipeline.
_PYTHON_ERROR = re.compile(
    r"\b(\w*Error): (.*?)\nTraceback \(most recent call last\)", re.DOTALL
)

_DEBUG = flags.DEFINE_bool(
    "debug", False, "Show the whole traceback of an error, for a bug report."
)


def run(main):
    """Runs a binary; what a user can mend is one line, not a traceback.

    Args:
        main: function of the arguments that are left after the flags.
    """

    def guarded(argv):
        logging.use_absl_handler()
        if len(argv) > 1 and not getattr(main, "takes_arguments", False):
            fail(f"unexpected argument {argv[1]!r}; flags start with --")
        try:
            return main(argv)
        except KeyboardInterrupt:
            sys.exit(130)
        except Exception as error:
            message = expected_message(error)
            if message is None or _DEBUG.value:
                raise
            fail(message)

    sys.meta_path.insert(0, _QuietTensorFlow())
    # The collector's last looks at all that is about to go take a second.
    atexit.register(gc.freeze)
    app.run(guarded)


def takes_arguments(main):
    """Marks a binary's `main` as taking arguments besides flags."""
    main.takes_arguments = True
    return main


def fail(message):
    """Prints one line to stderr and exits with status 1."""
    lines = (line.strip() for line in str(message).splitlines())
    print(f"error: {' '.join(filter(None, lines))}", file=sys.stderr)
    sys.exit(1)


def stop(message):
    """Prints one line to stderr and exits as SIGTERM does, with status 143."""
    print(message, file=sys.stderr)
    sys.exit(128 + signal.SIGTERM)


def expected_message(error):
    """What a user should read of an error; None where it is a bug of ours."""
    if isinstance(error, EXPECTED_ERRORS):
        return str(error) or type(error).__name__
    # Nobody raises a TensorFlow error before TensorFlow was imported.
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
        return None
    lines = error.message.splitlines() or [type(error).__name__]
    if type(error).__name__ in EXPECTED_TENSORFLOW_ERRORS:
        return lines[0]
    found = _PYTHON_ERROR.search(error.message)
    if found is None:
        return None
    # TensorFlow keeps the name alone; of a ValueError's kinds also the code.
    kind = getattr(builtins, found[1], None)
    if kind is None and isinstance(
        error, tensorflow.errors.InvalidArgumentError
    ):
        kind = ValueError
    is_expected = isinstance(kind, type) and issubclass(kind, EXPECTED_ERRORS)
    return found[2] if is_expected else None


class _QuietTensorFlow:
    """Finds TensorFlow, once, and lets it load without its notices."""

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or not hasattr(os, "fork"):
            return spec
        execute = spec.loader.exec_module

        def execute_quietly(module):
            with _without_notices(), _without_collections():
                execute(module)
                # The first look for devices has notices of its own.
                module.config.list_physical_devices()
            logger = module.get_logger()
            logger.addFilter(_is_no_retracing)
            # Strategies tell how they are made at length.
            logger.setLevel("WARNING")

        spec.loader.exec_module = execute_quietly
        return spec


@contextlib.contextmanager
def _without_collections():
    """Keeps Python's collector away from what is made here, for good.

    TensorFlow's import makes hundreds of thousands of objects that stay; to
    look for garbage among them costs a quarter of its time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _is_no_retracing(record):
    # A program for each length of audio is meant.
    return "triggered tf.function retracing" not in record.getMessage()


@contextlib.contextmanager
def _without_notices():
    """Lets everything but TensorFlow's start-up notices through to stderr.

    A process filters, so that the last words of a library that aborts are
    not lost.
    """
    sys.stderr.flush()
    read_end, write_end = os.pipe()
    stderr = os.dup(2)
    child = os.fork()
    if child == 0:
        try:
            os.close(write_end)
            _filter(read_end)
        finally:
            os._exit(0)
    os.close(read_end)
    os.dup2(write_end, 2)
    os.close(write_end)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        os.waitpid(child, 0)


def _filter(descriptor):
    """Copies lines that are not notices to stderr, until nobody writes."""
    with os.fdopen(descriptor, "rb") as lines:
        for line in lines:
            if not _NOTICE.match(line):
                os.write(2, line)
