"""How every binary starts, and how it fails."""

import builtins
import logging as python_logging
import os
import re
import signal
import sys
from collections import abc
from typing import Any, NoReturn, cast

# TensorFlow reads this as it is imported: errors alone are logged, since a
# machine without a GPU is nothing to warn of. Its first lines come before it
# looks.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Its Python code warns of every new shape; a program per length is intended.
python_logging.getLogger("tensorflow").setLevel("ERROR")

from absl import app, flags, logging  # noqa: E402

EXPECTED_ERRORS = (ValueError, OSError)
# TensorFlow's errors for files, stores and memory, which a user can fix. Any
# other TensorFlow error is a bug of this project.
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
# An error that Python code raised inside TensorFlow's input pipeline.
_PYTHON_ERROR = re.compile(
    r"\b(\w*Error): (.*?)\nTraceback \(most recent call last\)", re.DOTALL
)

_DEBUG = flags.DEFINE_bool(
    "debug", False, "Show the whole traceback of an error, for a bug report."
)


def run(main: abc.Callable[[list[str]], object]) -> None:
    """Runs a binary. An error that the user can fix is printed as one line.

    Args:
        main: function of the arguments that are left after the flags.
    """

    def guarded(argv: list[str]) -> object:
        logging.use_absl_handler()
        if len(argv) > 1 and not getattr(main, "takes_arguments", False):
            fail(f"unexpected argument {argv[1]!r}; flags start with --")
        try:
            return main(argv)
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
        except Exception as error:
            message = expected_message(error)
            if message is None or _DEBUG.value:
                raise
            fail(message)

    app.run(guarded)


def takes_arguments(main: abc.Callable) -> abc.Callable:
    """Marks a binary's `main` as taking arguments besides flags."""
    main.takes_arguments = True
    return main


def require(*required: flags.FlagHolder) -> None:
    """Fails at the first of these flags that is not given or is empty."""
    for flag in required:
        if not flag.value:
            fail(f"--{flag.name} is missing; see --help")


def fail(message: object) -> NoReturn:
    """Prints one line to stderr and exits with status 1."""
    lines = (line.strip() for line in str(message).splitlines())
    print(f"error: {' '.join(filter(None, lines))}", file=sys.stderr)
    sys.exit(1)


def stop(message: str) -> NoReturn:
    """Prints one line to stderr and exits with status 143, as SIGTERM does."""
    print(message, file=sys.stderr)
    sys.exit(128 + signal.SIGTERM)


def expected_message(error: Exception) -> str | None:
    """The line that tells the user how to fix an error; None for a bug."""
    if isinstance(error, EXPECTED_ERRORS):
        return str(error) or type(error).__name__
    # Without TensorFlow in memory, this is none of its errors.
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None or not isinstance(error, tensorflow.errors.OpError):
        return None
    message: str = cast(Any, error).message
    lines = message.splitlines() or [type(error).__name__]
    if type(error).__name__ in EXPECTED_TENSORFLOW_ERRORS:
        return lines[0]
    found = _PYTHON_ERROR.search(message)
    if found is None:
        return None
    # TensorFlow keeps the name of the class; a subclass of ValueError that
    # Python does not have built in shows by the error code alone.
    kind = getattr(builtins, found[1], None)
    if kind is None and isinstance(
        error, tensorflow.errors.InvalidArgumentError
    ):
        kind = ValueError
    is_expected = isinstance(kind, type) and issubclass(kind, EXPECTED_ERRORS)
    return found[2] if is_expected else None
