"""A store in memory, which can be slow, hang or fail; and a server on it."""

import contextlib
import dataclasses
import hashlib
import threading

import numpy as np
import pytest

from tasks.serving import errors, messages, server
from tasks.serving.queueing import limits
from tasks.serving.submodels import source
from tests.tasks.serving import fake_engine


@dataclasses.dataclass(frozen=True)
class Version:
    tenant: str
    speaker: str
    number: int
    sha256: str
    num_bytes: int
    base_fingerprint: str

    @property
    def name(self):
        return f"{self.number}-{self.sha256[:12]}"


class FakeSource:
    """As `source.StoreSource`; a file is text, the value of the whole row.

    Attributes:
        resolves, reads: how often the store was asked.
        is_open: an event; cleared, every call hangs.
        error: an exception that every call raises, or None.
        holds_reads: bool; then a file that was read comes back only when
            `may_read` is set.
    """

    def __init__(self):
        self.resolves = self.reads = 0
        self.is_open = threading.Event()
        self.is_open.set()
        self.error = None
        self.holds_reads = False
        self.may_read = threading.Event()
        self._lock = threading.Lock()
        self._current = {}
        self._files = {}

    def publish(
        self,
        speaker,
        value,
        tenant="acme",
        fingerprint=fake_engine.FINGERPRINT,
        num_bytes=8,
        language="",
    ):
        data = f"{tenant} {speaker} {value} {language}".rstrip().encode()
        with self._lock:
            before = self._current.get((tenant, speaker))
            version = Version(
                tenant,
                speaker,
                before.number + 1 if before else 1,
                hashlib.sha256(data).hexdigest(),
                num_bytes,
                fingerprint,
            )
            self._files[version.sha256] = data
            self._current[tenant, speaker] = version
        return version

    def erase(self, speaker, tenant="acme"):
        with self._lock:
            version = self._current.pop((tenant, speaker))
            del self._files[version.sha256]

    def lose(self, speaker, tenant="acme"):
        """Removes the file alone."""
        with self._lock:
            del self._files[self._current[tenant, speaker].sha256]

    def resolve(self, tenant, speaker):
        self.resolves += 1
        self._wait()
        with self._lock:
            if (tenant, speaker) not in self._current:
                raise LookupError(speaker)
            return self._current[tenant, speaker]

    def read(self, version):
        self.reads += 1
        self._wait()
        with self._lock:
            if version.sha256 not in self._files:
                raise LookupError(version.speaker)
            data = self._files[version.sha256]
        if self.holds_reads:
            self.may_read.wait(60)
        return data

    @staticmethod
    def parse(data, description):
        _, _, value, *language = data.decode().split()
        vector = np.full(description.num_values, float(value), np.float32)
        return source.Parsed(vector, *language)

    def _wait(self):
        self.is_open.wait(60)
        if self.error is not None:
            raise self.error


CALLER = messages.Caller("acme", is_admin=True)
SPEC = messages.ModelSpec("asr")
# A cache of four rows of six values. Short is only what is waited for anyway:
# a busy machine is no store that hangs, and no deadline is over on it.
LIMITS = limits.Limits(
    batch_size=4,
    batch_delay_seconds=0.001,
    queue_seconds=60.0,
    row_cache_bytes=4 * 24,
    store_seconds=20.0,
    model_poll_seconds=0.05,
    request_seconds=60.0,
    tenant_share=1.0,
)


def changed(**changes):
    """`LIMITS` with other values."""
    return dataclasses.replace(LIMITS, **changes)


async def ask(running, *utterances, caller=CALLER, spec=SPEC, deadline=None):
    """The answers alone."""
    _, answers = await running.predict(caller, spec, utterances, deadline)
    return answers


async def refusal(awaitable):
    """The `ServingError` that something ends with."""
    with pytest.raises(errors.ServingError) as caught:
        await awaitable
    return caught.value


def gauge(running, name):
    """A metric's value."""
    return running.registry.get_sample_value(f"submodels_{name}")


def sizes(running):
    """Bytes in rows and in files."""
    return gauge(running, "row_bytes"), gauge(running, "file_bytes")


def num_queued(running):
    return gauge(running, "queue_requests")


def num_stuck(running):
    return gauge(running, "store_stuck")


def utterance(mark, submodel_id=None, samples=10, vector=None, language=""):
    """An utterance that `fake_engine.text_of` tells by its mark."""
    audio = np.full(samples, mark, np.float32)
    return messages.Utterance(audio, submodel_id, vector, language=language)


def vector(value):
    return np.full(6, value, np.float32)


def text(mark, value, samples=10):
    """The fake engine's answer to `utterance` with a Submodel's value."""
    return fake_engine.text_of(np.full(samples, mark), np.full(6, value))


@contextlib.asynccontextmanager
async def serving(source=None, engine=None, limits=LIMITS, **arguments):
    """A started server with one model, closed and found empty at the end."""
    engine = engine or fake_engine.FakeEngine()
    arguments.setdefault("engine_factory", lambda path: engine)
    arguments.setdefault("list_folder", lambda path: ["1"])
    arguments.setdefault("models", [messages.ModelConfig("asr", "/exports")])
    running = server.Server(source, limits=limits, **arguments)
    await running.start()
    try:
        yield running
    finally:
        engine.may_run.set()
        if isinstance(source, FakeSource):
            source.is_open.set()
        await running.close()
    # However requests ended, nothing of them may stay counted.
    for name in ("requests_open", "queue_requests", "queue_bytes"):
        assert gauge(running, name) == 0
