"""How much a server takes on, as values."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one server takes on, beyond which it refuses.

    An utterance counts as queued from its admission to its answer.

    Args:
        max_request_bytes: int, of one request on the wire.
        max_request_utterances: int, rows of one request.
        max_audio_seconds: float, of one utterance; what the base model takes
            is a limit too.
        queue_requests: int, utterances in the server at the same time.
        queue_bytes: int, of their audio and of Submodels sent with them.
        tenant_share: float, the part of the queue that one tenant may fill;
            `tasks.serve` without access control, which has one tenant, takes 1.
        queue_seconds: float, the expected wait beyond which a request is
            refused at once; what is left of it after an overload is
            served late, so it bounds the recovery too.
        batch_size: int, utterances in one call of the engine.
        batch_delay_seconds: float, how long an idle engine waits for more.
        engine_calls: int, at the same time, of one model version.
        engine_seconds: float; a call that takes longer makes the server not
            live.
        request_seconds: float, the longest deadline, and that of requests
            that name none.
        row_cache_bytes: int, ready Submodels of one base model.
        file_cache_bytes: int, Submodel files of all base models.
        pinned_share: float, the part of the ready rows that may be pinned.
        resolve_seconds: float, the age at which a user's current version is
            asked for again; at most half a second keeps the promise that a
            new version is noticed within one.
        stale_seconds: float, the age up to which it is used while the store
            does not answer.
        missing_seconds: float, how long a wrong Submodel file is refused
            without another look.
        resolved_entries: int, users whose current version is remembered.
        sweep_seconds: float, within which a Submodel that nobody asks for is
            looked up in the store, and dropped if it was erased.
        store_seconds: float, after which the store counts as hanging.
        store_threads: int, calls of the store at the same time.
        parse_threads: int, files read into rows at the same time.
        model_poll_seconds: float between looks for new model versions; 0 for
            none but what `reload` asks for.
        model_retry_seconds: float before a model version that did not load is
            tried again.

    Raises:
        ValueError: a value is out of range.
    """

    max_request_bytes: int = 16 << 20
    max_request_utterances: int = 64
    max_audio_seconds: float = 30.0
    queue_requests: int = 256
    queue_bytes: int = 256 << 20
    tenant_share: float = 0.5
    queue_seconds: float = 2.0
    batch_size: int = 16
    batch_delay_seconds: float = 0.005
    engine_calls: int = 1
    engine_seconds: float = 120.0
    request_seconds: float = 60.0
    row_cache_bytes: int = 512 << 20
    file_cache_bytes: int = 512 << 20
    pinned_share: float = 0.5
    resolve_seconds: float = 0.5
    stale_seconds: float = 30.0
    missing_seconds: float = 1.0
    resolved_entries: int = 100_000
    sweep_seconds: float = 30.0
    store_seconds: float = 2.0
    store_threads: int = 8
    parse_threads: int = 2
    model_poll_seconds: float = 1.0
    model_retry_seconds: float = 60.0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            lowest = 0 if field.name in _MAY_BE_ZERO else math.ulp(0.0)
            highest = 1 if field.name in _SHARES else math.inf
            if not lowest <= value <= highest:
                raise ValueError(
                    f"`{field.name}` must be "
                    f"{'at least 0' if lowest == 0 else 'positive'}"
                    f"{' and at most 1' if highest == 1 else ''}. "
                    f"Received: {value}."
                )


_MAY_BE_ZERO = (
    "batch_delay_seconds",
    "file_cache_bytes",
    "model_poll_seconds",
    "pinned_share",
    "resolve_seconds",
    "stale_seconds",
)
_SHARES = ("tenant_share", "pinned_share")
