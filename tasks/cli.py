"""What every binary shares: how it starts and how it fails."""

import os
import sys

# Before TensorFlow is imported: its start-up notices would bury our messages.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags, logging  # noqa: E402

EXPECTED_ERRORS = (ValueError, OSError)

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
        except EXPECTED_ERRORS as error:
            if _DEBUG.value:
                raise
            fail(str(error) or type(error).__name__)

    app.run(guarded)


def takes_arguments(main):
    """Marks a binary's `main` as taking arguments besides flags."""
    main.takes_arguments = True
    return main


def fail(message):
    """Prints one line to stderr and exits with status 1."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)
