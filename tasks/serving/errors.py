"""The codes a request can end with, and the one exception that carries them."""

import enum
import functools

# A longer text overflows the HTTP/2 trailer: the client would see neither the
# text nor the code.
MAX_MESSAGE_BYTES = 1024


class Code(enum.Enum):
    """gRPC's canonical codes, each with its number and its HTTP status."""

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

    def __init__(self, number: int, http: int) -> None:
        self.number = number
        self.http = http


class ServingError(Exception):
    """A request was refused or failed; this is what its sender is told.

    Attributes:
        message: one line of at most `MAX_MESSAGE_BYTES` of UTF-8.
        retry_after_seconds: None if trying again cannot help.
    """

    def __init__(
        self,
        code: Code,
        message: object,
        retry_after_seconds: float | None = None,
    ) -> None:
        self.code = code
        self.message = capped(message)
        self.retry_after_seconds = retry_after_seconds
        super().__init__(f"{code.name}: {self.message}")

    def copy(self) -> "ServingError":
        """The same error as a new object.

        Raising one object for several requests would mix their tracebacks.
        """
        return ServingError(self.code, self.message, self.retry_after_seconds)


# Each takes a message and, where a retry may help, `retry_after_seconds`.
invalid_argument = functools.partial(ServingError, Code.INVALID_ARGUMENT)
not_found = functools.partial(ServingError, Code.NOT_FOUND)
permission_denied = functools.partial(ServingError, Code.PERMISSION_DENIED)
resource_exhausted = functools.partial(ServingError, Code.RESOURCE_EXHAUSTED)
failed_precondition = functools.partial(ServingError, Code.FAILED_PRECONDITION)
internal = functools.partial(ServingError, Code.INTERNAL)


def unavailable(message: str) -> ServingError:
    """The error for a failure that may be over in a second."""
    return ServingError(Code.UNAVAILABLE, message, 1.0)


def not_serving() -> ServingError:
    """The error for a request that comes before the start or during a drain."""
    return unavailable("the server is starting or closing")


def deadline_exceeded() -> ServingError:
    return ServingError(
        Code.DEADLINE_EXCEEDED, "the deadline passed before the answer"
    )


def capped(message: object) -> str:
    """A message as one line of at most `MAX_MESSAGE_BYTES` of UTF-8."""
    text = " ".join(str(message)[: 4 * MAX_MESSAGE_BYTES].split())
    data = text.encode("utf-8", "backslashreplace")
    if len(data) > MAX_MESSAGE_BYTES:
        data = data[: MAX_MESSAGE_BYTES - 3] + b"..."
    return data.decode("utf-8", "ignore")
