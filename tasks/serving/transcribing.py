"""Files to text, by a server or by an export that is loaded here."""

import collections
import pathlib
import time

import numpy as np

from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tasks.asr.data import audio
from tasks.serving import client
from tasks.serving.exports import description as export_description
from tasks.serving.exports import folder as export_folder
from tasks.serving.exports import saved_model

_MAX_TRIES = 8


def transcribe_files(recogniser, paths, speaker, in_flight=1):
    """Transcribes recordings, several at a time, in their order.

    Args:
        recogniser: a `client.Client` or a `Local`.
        paths: list of str, WAV, FLAC, Ogg or MP3 at any rate.
        speaker: str, whose Submodel; None for the base model, or for the one
            that a `Local` holds.
        in_flight: int, recordings asked for at once.

    Yields:
        (path, `client.Transcript` or None, error as str or None).
    """
    waiting = collections.deque()
    for path in paths:
        try:
            samples = audio.read(path, recogniser.sample_rate)
            pending = recogniser.submit(samples, speaker)
        except (ValueError, OSError) as error:
            waiting.append((path, None, None, str(error)))
        else:
            waiting.append((path, samples, pending, None))
        if len(waiting) >= in_flight:
            yield _finish(recogniser, speaker, *waiting.popleft())
    while waiting:
        yield _finish(recogniser, speaker, *waiting.popleft())


def _finish(recogniser, speaker, path, samples, pending, error):
    if error is not None:
        return path, None, error
    for tries_left in reversed(range(_MAX_TRIES)):
        try:
            return path, pending.result(), None
        except client.TranscriptionError as refused:
            # A busy server says when to come back.
            wait = refused.retry_after_seconds
            if wait is None or not tries_left:
                return path, None, f"{path}: {refused}"
            time.sleep(wait)
            pending = recogniser.submit(samples, speaker)


class Local:
    """An export and at most one Submodel, used as a `client.Client` is.

    Args:
        recogniser: `engine.Engine`.
        submodel: `submodel.Submodel`; None for the base model alone, or for
            an export that has a Submodel folded in.
        version: str, how answers call it.
    """

    def __init__(self, recogniser, submodel=None, version=""):
        self._engine = recogniser
        description = recogniser.description
        self.sample_rate = description.sample_rate
        self._version = version
        self._served_by = "base"
        self._signature, self._inputs = "base", {}
        if description.submodel:
            self._signature = "serving_default"
            self._version = description.submodel["sha256"][:12]
            self._served_by = "submodel"
        elif submodel is not None:
            self._signature = "serving_default"
            self._inputs = {"submodel": submodel.vector[None]}
            self._served_by = "submodel"

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._engine.close()

    def submit(self, samples, submodel_id=None):
        """As `client.Client.submit`; whose Submodel it is was said before."""
        del submodel_id
        found = self._engine.predict(
            self._signature,
            {
                "audio": np.asarray(samples, np.float32)[None],
                "length": np.array([len(samples)], np.int32),
                **self._inputs,
            },
        )
        return _Done(found, self._version, self._served_by)


class _Done:
    def __init__(self, found, version, served_by):
        self._found = found
        self._version = version
        self._served_by = served_by

    def result(self):
        found = self._found
        status = found["status"][0].decode()
        if status != "OK":
            raise client.TranscriptionError(status, "INVALID_ARGUMENT")
        return client.Transcript(
            text=found["text"][0].decode("utf-8", "replace"),
            score=float(found["score"][0]),
            submodel_version=self._version,
            served_by=self._served_by,
        )


def open_local(
    export_dir, path="", store="", tenant="", speaker="", base=False
):
    """Loads an export's newest version, and a Submodel.

    Args:
        export_dir: str, what tasks.export wrote.
        path: str, the Submodel's file; or
        store, tenant, speaker: str, where to find it; or
        base: bool, the base model alone; or none of them for an export that
            has a Submodel folded in.

    Returns:
        `Local`.

    Raises:
        ValueError, OSError: there is no whole export, or no such Submodel, or
            it was made for another base model.
    """
    recogniser = saved_model.SavedModelEngine(newest(export_dir), warm_up=False)
    try:
        named = bool(path or speaker or base)
        if named == bool(recogniser.description.submodel):
            raise ValueError(
                f"{export_dir} holds one speaker's Submodel already; name none"
                if named
                else f"{export_dir} takes Submodels; say whose is to be used"
            )
        submodel, version = _find(recogniser, path, store, tenant, speaker)
        return Local(recogniser, submodel, version)
    except BaseException:
        recogniser.close()
        raise


def newest(export_dir):
    """The folder of an export's newest version; or `export_dir`, if it is one.

    Raises:
        ValueError: there is no export.
    """
    folder = pathlib.Path(export_dir)
    if (folder / export_description.FILE).is_file():
        return str(folder)
    versions = export_folder.versions(export_dir)
    if not versions:
        raise ValueError(
            f"{export_dir}: there is no export; see python -m tasks.export"
        )
    return str(folder / str(max(versions)))


def _find(recogniser, path, store, tenant, speaker):
    """The Submodel that was asked for, and its version, or None."""
    if not path and not speaker:
        return None, ""
    source, version = path, ""
    if not path:
        versions = submodel_store.SubmodelStore(store)
        try:
            found = versions.resolve(tenant, speaker)
        except LookupError as error:
            raise ValueError(str(error)) from None
        source = versions.read(found)
        version = found.name
    description = recogniser.description
    found = submodel_file.load(
        source, description.base_fingerprint, description.layout
    )
    if found.metadata.residual_weight != description.residual_weight:
        raise ValueError(
            f"{path or speaker}: the residual weight must be the export's, "
            f"{description.residual_weight}. Received: "
            f"{found.metadata.residual_weight}."
        )
    return found, version or found.metadata.sha256[:12]
