"""How a request ends: gRPC's canonical codes and HTTP's, and the one error."""

import enum

# A longer text overflows the trailer of HTTP/2, and the client then sees
# neither the text nor the code.
MAX_MESSAGE_BYTES = 1024


class Code(enum.Enum):
    """A canonical code: `.number` as gRPC counts, `.http` as REST answers."""

    OK = (0, 200)
    CANCELLED = (1, 499)
    UNKNOWN = (2, 500)
    INVALID_ARGUMENT = (3, 400)
    DEADLINE_EXCEEDED = (4, 504)
    NOT_FOUND = (5, 404)
    ALREADY_EXISTS = (6, 409)
    PERMISSION_DENIED = (7, 403)
    RESOURCE_EXHAUSTED = (8, 429)
    FAILED_PRECONDITION = (9, 400)
    ABORTED = (10, 409)
    OUT_OF_RANGE = (11, 400)
    UNIMPLEMENTED = (12, 501)
    INTERNAL = (13, 500)
    UNAVAILABLE = (14, 503)
    DATA_LOSS = (15, 500)
    UNAUTHENTICATED = (16, 401)

    @property
    def number(self):
        return self.value[0]

    @property
    def http(self):
        return self.value[1]


class ServingError(Exception):
    """A request that was refused or failed, as its sender is told.

    Attributes:
        code: `Code`.
        message: string, at most `MAX_MESSAGE_BYTES` of UTF-8, one line.
        retry_after_seconds: float, or None where trying again is no use.
    """

    def __init__(self, code, message, retry_after_seconds=None):
        self.code = code
        self.message = capped(message)
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{code.name}: {self.message}")


def capped(message):
    """A message as one line of at most `MAX_MESSAGE_BYTES` of UTF-8."""
    text = " ".join(str(message)[: 4 * MAX_MESSAGE_BYTES].split())
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > MAX_MESSAGE_BYTES:
        data = data[: MAX_MESSAGE_BYTES - 3] + b"..."
    return data.decode("utf-8", "ignore")


def again(error):
    """The same error as a new object: each raising adds to a traceback."""
    return ServingError(error.code, error.message, error.retry_after_seconds)
