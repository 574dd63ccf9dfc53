"""Starts a binary, and turns its errors into one line."""

import builtins
import contextlib
import logging as python_logging
import os
import platform
import re
import signal
import sys
import warnings
from collections import abc
from importlib import metadata
from typing import Any, NoReturn, cast

# TensorFlow reads this as it is imported: errors alone are logged, since a
# machine without a GPU is nothing to warn of. Its first lines, `WARNING: All
# log messages before` and `I0000`, come before it looks, and nothing of its
# public interface turns them off (tensorflow/tensorflow#100442).
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

_STOPPED = "stopped by Ctrl-C"

_DEBUG = flags.DEFINE_bool(
    "debug", False, "Show the whole traceback of an error, for a bug report."
)
_VERSION = flags.DEFINE_bool("version", False, "Print the version and exit.")


def run(main: abc.Callable[[list[str]], object]) -> None:
    """Runs a binary. An error that the user can fix is printed as one line.

    Args:
        main: function of the arguments that are left after the flags.
    """

    def guarded(argv: list[str]) -> object:
        _speak_plainly()
        if _VERSION.value:
            print(version())
            return None
        if len(argv) > 1 and not getattr(main, "takes_arguments", False):
            fail(f"unexpected argument {argv[1]!r}; flags start with --")
        try:
            result = main(argv)
            sys.stdout.flush()
            return result
        except KeyboardInterrupt as error:
            stop(error)
        except BrokenPipeError:
            # Whoever read the output has seen enough, as `head` has. Python
            # would complain once more as it flushes.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(128 + signal.SIGPIPE)
        except Exception as error:
            message = expected_message(error)
            if message is None or _DEBUG.value:
                raise
            fail(message)

    for flag in (_DEBUG, _VERSION):
        flags.FLAGS.register_key_flag_for_module(
            sys.argv[0], flags.FLAGS[flag.name]
        )
    app.run(guarded, flags_parser=_parse)


def _parse(argv):
    """The arguments that are left after the flags, which are set."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        fail(f"{error}; see --help")
    except SystemExit:
        # A help flag has printed what was asked for; absl calls that a failure.
        sys.exit(0)


class _PlainFormatter(python_logging.Formatter):
    """Log records as the lines that binaries print, without prefixes."""

    def format(self, record: python_logging.LogRecord) -> str:
        text = super().format(record)
        if record.levelno < python_logging.WARNING:
            return text
        return f"{record.levelname.lower()}: {text}"


def _speak_plainly() -> None:
    """Makes logs and the warnings of libraries plain lines on stderr."""
    logging.use_absl_handler()
    logging.get_absl_handler().setFormatter(_PlainFormatter())
    # Of the news of libraries, nothing; --verbosity=1 shows all.
    root, own = python_logging.root, logging.get_absl_logger()
    if root.level == python_logging.INFO:
        own.setLevel(root.level)
        root.setLevel(python_logging.WARNING)

    def show(message: Warning | str, *_: object, **__: object) -> None:
        print(f"warning: {message}", file=sys.stderr)

    warnings.showwarning = show


def version() -> str:
    """The versions of the project and of what it stands on."""
    found = [f"Python {platform.python_version()}"]
    for package in ("tensorflow", "tensorflow-tpu", "keras"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{package} {metadata.version(package)}")
    return f"submodels {metadata.version('submodels')} ({', '.join(found)})"


def takes_arguments(main: abc.Callable) -> abc.Callable:
    """Marks a binary's `main` as taking arguments besides flags."""
    main.takes_arguments = True
    return main


def arguments(argv: list[str], noun: str) -> list[str]:
    """The arguments of a binary that takes them; fails if there are none.

    Args:
        argv: of `main`.
        noun: for one argument, such as "recording".
    """
    if len(argv) < 2:
        fail(f"name at least one {noun}; see --help")
    return argv[1:]


class _ChoiceOrTrue(flags.ArgumentParser):
    """A name of some, or none: `--flag`, `--flag=name`, `--noflag`."""

    def __init__(self, default: str, names: abc.Sequence[str]) -> None:
        self._default, self._names = default, [default, *names]
        super().__init__()

    def parse(self, argument: object) -> str:
        if argument in ("", "false", False):
            return ""
        if argument in ("true", True):
            return self._default
        if argument in self._names:
            return str(argument)
        raise ValueError(f"must be one of {', '.join(self._names)}")

    def flag_type(self) -> str:
        return "string"


def choice_or_true(
    name: str, default: str, names: abc.Sequence[str], meaning: str
) -> flags.Flag:
    """A flag whose value is a name; `default` where it is given alone.

    Without the flag its value is empty. `flags.DEFINE_flag` makes it one of
    the module's.
    """
    return flags.Flag(
        _ChoiceOrTrue(default, names),
        flags.ArgumentSerializer(),
        name,
        "",
        f"<{'|'.join([default, *names])}>: {meaning}",
        boolean=True,
    )


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


def stop(interrupt: KeyboardInterrupt) -> NoReturn:
    """Prints one line to stderr and exits as a process that a signal ends.

    Args:
        interrupt: may have a message and an `exit_status` of its own, as that
            of a run has which was saved.
    """
    # Python's way out waits for threads; another Ctrl-C does not.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    print(str(interrupt) or _STOPPED, file=sys.stderr)
    sys.exit(getattr(interrupt, "exit_status", 128 + signal.SIGINT))


def _stop_outside_of_main(
    kind: type[BaseException], error: BaseException, trace: Any
) -> None:
    """Ctrl-C while a binary is imported, or on its way out, is one line."""
    if issubclass(kind, KeyboardInterrupt):
        print(_STOPPED, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _stop_outside_of_main


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
