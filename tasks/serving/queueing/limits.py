"""Everything an operator can set about how much a server takes on."""

import dataclasses

from params import settings


@dataclasses.dataclass(frozen=True)
class Limits(settings.Section):
    """Bounds on one server's work; it refuses whatever exceeds them.

    An utterance counts as queued from its admission to its answer.

    Raises:
        ValueError: a value is out of range.
    """

    # Without a bound one sender could fill the memory.
    max_request_bytes: int = settings.value(
        16 << 20, "Bytes of one request on the wire.", above=0
    )
    # A longer one would take the queue from others in one step.
    max_request_utterances: int = settings.value(
        64, "Utterances in one request.", above=0
    )
    header_seconds: int = settings.value(
        60,
        "Seconds for the head of an HTTP request; an idle connection is closed "
        "after them.",
        above=0,
    )
    body_seconds: float = settings.value(
        30.0,
        "Seconds for the body of a request; slower senders are cut off.",
        above=0,
    )
    crowded_seconds: float = settings.value(
        2.0,
        "Seconds for a gRPC message to arrive while others wait for its place.",
        above=0,
    )
    waiting_messages: int = settings.value(
        1024, "gRPC messages of a tenant that may wait for a place.", above=0
    )
    parse_threads: int = settings.value(
        2, "Long requests that are parsed at one time.", above=0
    )
    queue_requests: int = settings.value(
        256, "Utterances in the server at one time.", above=0
    )
    queue_bytes: int = settings.value(
        256 << 20,
        "Bytes of their audio and of Submodels sent with them.",
        above=0,
    )
    # Whatever waits when an overload ends is served late, so this bounds the
    # recovery too.
    queue_seconds: float = settings.value(
        2.0,
        "Seconds of expected wait beyond which a request is refused at once.",
        above=0,
    )
    tenant_share: float = settings.value(
        0.5,
        "Fraction of the queue, and of what may be pinned, that one tenant "
        "may fill, so that none shuts out the others. With a single tenant it "
        "is 1 unless set.",
        above=0,
        at_most=1,
    )
    request_seconds: float = settings.value(
        60.0,
        "Seconds that a request may take; its own deadline can only be "
        "earlier.",
        above=0,
    )
    batch_size: int = settings.value(
        16, "Utterances in one call of the engine.", above=0
    )
    batch_delay_seconds: float = settings.value(
        0.005,
        "Seconds that an idle engine waits for company; a fuller batch costs "
        "less per utterance.",
        at_least=0,
    )
    decode_threads: int = settings.value(
        2, "Recordings that are decoded at one time.", above=0
    )
    decode_seconds: float = settings.value(
        10.0,
        "Seconds for decoding one recording, its wait for a thread included.",
        above=0,
    )
    engine_calls: int = settings.value(
        1, "Calls that run at one time, for each model version.", above=0
    )
    engine_seconds: float = settings.value(
        120.0,
        "Seconds after which a call counts as stuck, and the server as not "
        "live.",
        above=0,
    )
    row_cache_bytes: int = settings.value(
        512 << 20, "Bytes of ready Submodels, for each base model.", above=0
    )
    # A file in memory saves a read of the store.
    file_cache_bytes: int = settings.value(
        512 << 20,
        "Bytes of Submodel files, for all base models together.",
        at_least=0,
    )
    # Half a second keeps the promise that a new version is noticed within one.
    resolve_seconds: float = settings.value(
        0.5,
        "Seconds for which the store's last word on a user is taken without "
        "asking again, be it a version or a file that cannot be used.",
        at_least=0,
    )
    # With `resolve_seconds`, less than the second that is promised.
    patience_seconds: float = settings.value(
        0.25,
        "Seconds that a request waits for a slow store if an older answer may "
        "still serve.",
        above=0,
    )
    remembered_users: int = settings.value(
        100_000,
        "Users whose current version is remembered, in some 30 MiB of memory.",
        above=0,
    )
    watch_seconds: float = settings.value(
        0.5,
        "Seconds between looks for new versions of pinned Submodels, and for "
        "erased ones.",
        above=0,
    )
    pinned_share: float = settings.value(
        0.5,
        "Fraction of the ready Submodels that may be pinned; the rest is for "
        "those who ask.",
        above=0,
        at_most=1,
    )
    stale_seconds: float = settings.value(
        30.0,
        "Seconds for which the store's last word may still serve while the "
        "store does not answer, and within which an erased Submodel leaves "
        "the memory though nobody asks for it.",
        at_least=0,
    )
    store_seconds: float = settings.value(
        2.0,
        "Seconds after which a call of the store counts as hanging.",
        above=0,
    )
    store_threads: int = settings.value(
        8, "Calls of the store at one time.", above=0
    )
    model_poll_seconds: float = settings.value(
        1.0,
        "Seconds between looks for new model versions; 0 looks only when a "
        "reload is asked for.",
        at_least=0,
    )
