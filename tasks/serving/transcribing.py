"""Transcribes files, through a server or with an export loaded here."""

import collections
import functools
import pathlib
import time
from collections import abc
from concurrent import futures
from typing import NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt

from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tasks.asr.data import audio
from tasks.asr.recognition import statuses
from tasks.serving import client
from tasks.serving.exports import (
    description as export_description,
    folder as export_folder,
    places,
    saved_model,
)

_MAX_TRIES = 8


class Transcribed(NamedTuple):
    """The transcript of a recording, or the error in its place.

    Attributes:
        transcript: None where there is an error.
        error: why there is no transcript; empty where there is one.
    """

    file: str
    transcript: client.Transcript | None
    error: str = ""

    @property
    def text(self) -> str:
        """The transcript's text; empty where there is an error."""
        return self.transcript.text if self.transcript else ""


class Pending(Protocol):
    def result(self) -> client.Transcript: ...


class Recogniser(Protocol):
    """Transcribes utterances, as a `client.Client` or a `Local` does."""

    sample_rate: int

    def submit(
        self, audio: npt.ArrayLike, submodel_id: str | None, language: str = ""
    ) -> Pending: ...


def transcribe_files(
    recogniser: Recogniser,
    paths: abc.Iterable[str],
    speaker: str | None,
    in_flight: int = 1,
    language: str = "",
) -> abc.Iterator[Transcribed]:
    """Transcribes recordings, several at a time, in their order.

    Args:
        paths: audio files that FFmpeg reads, at any rate.
        speaker: whose Submodel to use; None for the base model, or for the one
            that a `Local` holds.
        in_flight: recordings to send before waiting for the first.
        language: code of what to write; the Submodel's own, or else the
            model's default, if empty.
    """
    waiting: collections.deque[abc.Callable[[], Transcribed]] = (
        collections.deque()
    )
    for path in paths:
        waiting.append(_begin(recogniser, path, speaker, language))
        if len(waiting) >= in_flight:
            yield waiting.popleft()()
    for finish in waiting:
        yield finish()


def _begin(
    recogniser: Recogniser, path: str, speaker: str | None, language: str
) -> abc.Callable[[], Transcribed]:
    """Sends a recording; the returned function waits for its transcript."""
    try:
        samples = audio.read(
            path, recogniser.sample_rate, max_seconds=client.MAX_SECONDS
        )
    except (ValueError, OSError) as error:
        return functools.partial(Transcribed, path, None, str(error))
    try:
        sent = recogniser.submit(samples, speaker, language)
    except ValueError as error:
        return functools.partial(Transcribed, path, None, f"{path}: {error}")

    def finish() -> Transcribed:
        pending, tries_left = sent, _MAX_TRIES
        while True:
            tries_left -= 1
            try:
                return Transcribed(path, pending.result())
            except client.TranscriptionError as refused:
                # A busy server says when to come back.
                wait = refused.retry_after_seconds
                if wait is None or not tries_left:
                    return Transcribed(path, None, f"{path}: {refused}")
            time.sleep(wait)
            pending = recogniser.submit(samples, speaker, language)

    return finish


class Local:
    """An export and at most one Submodel, used like a `client.Client`.

    Args:
        submodel: None for the base model alone, or for an export that has a
            Submodel folded in.
        version: the Submodel's name in transcripts.
    """

    def __init__(
        self,
        recogniser: saved_model.SavedModelEngine,
        submodel: submodel_file.Submodel | None = None,
        version: str = "",
    ) -> None:
        self._engine = recogniser
        self.sample_rate = recogniser.description.sample_rate
        self._version, self._inputs = version, {}
        self._signature, self._served_by = "serving_default", "submodel"
        self._language = submodel.metadata.language if submodel else ""
        folded_in = recogniser.description.submodel
        if folded_in:
            self._version = folded_in["sha256"][:12]
        elif submodel is not None:
            self._inputs = {"submodel": submodel.vector[None]}
        else:
            self._signature = self._served_by = "base"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._engine.close()

    def submit(
        self,
        audio: npt.ArrayLike,
        submodel_id: str | None = None,
        language: str = "",
    ) -> Pending:
        """As `client.Client.submit`, always with the same Submodel."""
        description = self._engine.description
        index = description.language_index(language, self._language)
        inputs = dict(self._inputs)
        if len(description.languages) > 1:
            inputs["language_index"] = np.array([index], np.int32)
        samples = np.asarray(audio, np.float32)
        found = self._engine.predict(
            self._signature,
            {
                "audio": samples[None],
                "length": np.array([len(samples)], np.int32),
                **inputs,
            },
        )
        done = futures.Future[client.Transcript]()
        status = found["status"][0].decode()
        if statuses.has_text(status):
            transcript = client.Transcript(
                text=found["text"][0].decode("utf-8", "replace"),
                score=float(found["score"][0]),
                submodel_version=self._version,
                served_by=self._served_by,
                status=status,
            )
            done.set_result(transcript)
        else:
            error = client.TranscriptionError(status, "INVALID_ARGUMENT")
            done.set_exception(error)
        return done


def open_local(
    export_dir: str,
    path: str = "",
    store: str = "",
    tenant: str = "",
    speaker: str = "",
    base: bool = False,
) -> Local:
    """Loads an export's newest version and a Submodel.

    The Submodel is the file `path`, or `speaker` of `tenant` in `store`. With
    `base`, there is none. An export that has a Submodel folded in takes none of
    these.

    Raises:
        ValueError, OSError: there is no whole export or no such Submodel, or
            the Submodel was made for another base model.
    """
    recogniser = saved_model.SavedModelEngine(newest(export_dir), warm_up=False)
    try:
        named = bool(path or speaker or base)
        if named == bool(recogniser.description.submodel):
            raise ValueError(
                f"{export_dir} holds one speaker's Submodel already; name none"
                if named
                else f"{export_dir} takes Submodels; say whose to use"
            )
        submodel, version = _find(recogniser, path, store, tenant, speaker)
        return Local(recogniser, submodel, version)
    except BaseException:
        recogniser.close()
        raise


def newest(export_dir: str) -> str:
    """The folder of the newest version, or `export_dir` if it is a version.

    Raises:
        ValueError: there is no export.
    """
    folder = pathlib.Path(export_dir)
    if (folder / export_description.FILE).is_file():
        return str(folder)
    versions = export_folder.versions(export_dir)
    if not versions:
        places.check_exports(export_dir)
        raise ValueError(
            f"{export_dir}: there is no export; see python -m tasks.export"
        )
    return str(folder / str(max(versions)))


def _find(
    recogniser: saved_model.SavedModelEngine,
    path: str,
    store: str,
    tenant: str,
    speaker: str,
) -> tuple[submodel_file.Submodel | None, str]:
    """The Submodel that was asked for, and its version."""
    if not path and not speaker:
        return None, ""
    source, version = path, ""
    if not path:
        versions = submodel_store.SubmodelStore(store)
        try:
            stored = versions.resolve(tenant, speaker)
        except LookupError as error:
            raise ValueError(str(error)) from None
        source, version = versions.read(stored), stored.name
    description = recogniser.description
    found = submodel_file.load(
        source, description.base_fingerprint, description.layout
    )
    return found, version or found.metadata.sha256[:12]
