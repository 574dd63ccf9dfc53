"""Everything an operator can set about how much a server takes on."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds on one server's work; it refuses whatever exceeds them.

    An utterance counts as queued from its admission to its answer.

    Args:
        max_request_bytes: bytes of one request on the wire; without a bound
            one sender could fill the memory.
        max_request_utterances: utterances in one request; a longer one would
            take the queue from others in one step.
        queue_requests: utterances in the server at one time.
        queue_bytes: bytes of their audio and of Submodels sent with them.
        queue_seconds: seconds of expected wait beyond which a request is
            refused at once. Whatever waits when an overload ends is served
            late, so this bounds the recovery too.
        tenant_share: fraction of the queue, and of what may be pinned, that
            one tenant may fill, so that none shuts out the others.
        request_seconds: seconds that a request may take; its own deadline can
            only be earlier.
        batch_size: utterances in one call of the engine.
        batch_delay_seconds: seconds that an idle engine waits for company; a
            fuller batch costs less per utterance.
        engine_calls: calls that run at one time, for each model version.
        engine_seconds: seconds after which a call counts as stuck, and the
            server as not live.
        row_cache_bytes: bytes of ready Submodels, for each base model.
        file_cache_bytes: bytes of Submodel files, for all base models
            together; a file in memory saves a read of the store.
        resolve_seconds: seconds for which the store's last word on a user is
            taken without asking again, be it a version or a file that cannot
            be used. Half a second keeps the promise that a new version is
            noticed within one.
        stale_seconds: seconds for which the store's last word may still serve
            while the store does not answer, and within which an erased
            Submodel leaves the memory though nobody asks for it.
        store_seconds: seconds after which a call of the store counts as
            hanging.
        store_threads: calls of the store at one time.
        model_poll_seconds: seconds between looks for new model versions; 0
            looks only when a reload is asked for.

    Raises:
        ValueError: a value is out of range.
    """

    max_request_bytes: int = 16 << 20
    max_request_utterances: int = 64
    queue_requests: int = 256
    queue_bytes: int = 256 << 20
    queue_seconds: float = 2.0
    tenant_share: float = 0.5
    request_seconds: float = 60.0
    batch_size: int = 16
    batch_delay_seconds: float = 0.005
    engine_calls: int = 1
    engine_seconds: float = 120.0
    row_cache_bytes: int = 512 << 20
    file_cache_bytes: int = 512 << 20
    resolve_seconds: float = 0.5
    stale_seconds: float = 30.0
    store_seconds: float = 2.0
    store_threads: int = 8
    model_poll_seconds: float = 1.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            may_be_zero = name in _MAY_BE_ZERO
            lowest = 0 if may_be_zero else math.ulp(0.0)
            highest = 1 if name == "tenant_share" else math.inf
            if not lowest <= value <= highest:
                raise ValueError(
                    f"`{name}` must be "
                    f"{'at least 0' if may_be_zero else 'positive'}"
                    f"{' and at most 1' if highest == 1 else ''}. "
                    f"Received: {value}."
                )


_MAY_BE_ZERO = (
    "batch_delay_seconds",
    "file_cache_bytes",
    "model_poll_seconds",
    "resolve_seconds",
    "stale_seconds",
)
