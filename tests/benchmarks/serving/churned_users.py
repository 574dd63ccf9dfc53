"""Users whose Submodels change all the time, and a record of what was when."""

import dataclasses
import itertools
import random
import threading
import time

from lingvo_like.store import store as submodel_store
from tests.benchmarks.serving import users

# A server notices within a second; answers in flight and a busy machine get
# a second more before they count as too old.
NOTICE_SECONDS = 2.0


@dataclasses.dataclass
class _Current:
    """`version` was current from `since`, None if erased, until `until`."""

    version: str | None
    since: float
    until: float = float("inf")


class ChurnedUsers:
    """Publishes, rolls back, erases and publishes again, in a thread.

    Each user takes turns between some Submodels of its own, so that the alone
    answers which a check needs are few.

    Args:
        root: str, of the store.
        description: `export_description.Description`.
        count: int, users.
        variants: int, Submodels that a user takes turns with.
        scale: float, see `users.vector`.
        per_second: float, changes.
        seed: int.
    """

    def __init__(
        self, root, description, count, variants, scale, per_second, seed=0
    ):
        self.store = submodel_store.SubmodelStore(root)
        self.names = [users.name(number) for number in range(count)]
        self.changes = {"publish": 0, "rollback": 0, "erase": 0}
        self._draw = random.Random(seed)
        self._per_second = per_second
        self._files = {}
        # By the twelve digits of a file's SHA-256 that an answer names.
        self.vectors = {}
        for number, variant in itertools.product(range(count), range(variants)):
            packed = users.vector(description, [number, variant], scale)
            speaker = self.names[number]
            self._files[speaker, variant] = (
                users.file_bytes(description, packed, speaker),
                packed,
            )
        self._variants = variants
        self._history = {speaker: [] for speaker in self.names}
        self._numbers = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._error = None
        for speaker in self.names:
            self._publish(speaker)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exception):
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def is_own(self, speaker, version):
        """Whether a version, as answers name it, was ever this user's."""
        return any(each.version == version for each in self._history[speaker])

    def was_current(self, speaker, version, begun, ended):
        """Whether a version, None for none, was current around a request.

        Args:
            begun, ended: floats of `time.monotonic`.
        """
        return any(
            each.version == version
            and each.since <= ended
            and each.until + NOTICE_SECONDS >= begun
            for each in self._history[speaker]
        )

    def _run(self):
        try:
            while not self._stop.wait(1.0 / self._per_second):
                self._change(self._draw.choice(self.names))
        except Exception as error:
            self._error = error

    def _change(self, speaker):
        if self._history[speaker][-1].version is None:
            self._publish(speaker)
            return
        kind = self._draw.choices(("publish", "rollback", "erase"), (6, 2, 2))[
            0
        ]
        if kind == "publish":
            self._publish(speaker)
        elif kind == "rollback":
            try:
                self._switch(
                    speaker,
                    lambda: self.store.rollback(users.TENANT, speaker),
                )
                self.changes["rollback"] += 1
            except LookupError:
                self._publish(speaker)
        else:
            self._erase(speaker)

    def _publish(self, speaker):
        data, packed = self._files[
            speaker, self._draw.randrange(self._variants)
        ]
        version = self._switch(
            speaker,
            lambda: self.store.publish(data, users.TENANT, speaker, again=True),
        )
        self.vectors[version.sha256[:12]] = packed
        self.changes["publish"] += 1

    def _erase(self, speaker):
        begun = time.monotonic()
        self.store.erase(users.TENANT, speaker, "benchmark")
        self._note(speaker, None, begun)
        self.changes["erase"] += 1

    def _switch(self, speaker, change):
        begun = time.monotonic()
        version = change()
        self._note(speaker, f"{version.number}-{version.sha256[:12]}", begun)
        return version

    def _note(self, speaker, version, begun):
        """The new one may be seen from `begun`, the old one until now."""
        history = self._history[speaker]
        if history:
            history[-1].until = time.monotonic()
        history.append(_Current(version, begun))
