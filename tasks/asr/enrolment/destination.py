"""The files and the store that an enrolment writes to.

OUTPUT_DIR/submodels/       one file for each speaker who gained
OUTPUT_DIR/enrolment.jsonl  a line for each speaker of the last call
"""

import contextlib
import dataclasses
import functools
import json
import posixpath
import time
from collections import abc
from typing import Any

import tensorflow as tf

from lingvo_like import files
from lingvo_like.space import file as space_file
from lingvo_like.store import records as store_records, store as submodel_store
from lingvo_like.submodel import file as submodel_file, heard
from tasks import tables
from tasks.asr.enrolment import results
from tasks.asr.training import model_directory

# After this long, nobody is writing a temporary file any more.
_ABANDONED_SECONDS = 3600


@dataclasses.dataclass(frozen=True)
class Destination:
    """The place for the Submodels of enrolled speakers.

    Attributes:
        store: path of a `SubmodelStore` to publish to; none if empty.
        tenant: of the speakers in the store.
        replace: whether speakers who have a Submodel may be enrolled again.

    Raises:
        ValueError: there is a store and no tenant that it takes.
    """

    directory: str
    store: str = ""
    tenant: str = ""
    replace: bool = False

    def __post_init__(self) -> None:
        if self.store:
            if not self.tenant:
                raise ValueError("to publish needs a tenant: whose speakers?")
            submodel_store.check_id("tenant", self.tenant)

    @property
    def submodels(self) -> str:
        """The folder of the Submodel files."""
        return posixpath.join(self.directory, "submodels")

    @functools.cached_property
    def _opened_store(self) -> submodel_store.SubmodelStore:
        # One for all speakers: each that is opened reads the store's marker.
        return submodel_store.SubmodelStore(self.store)

    def path(self, speaker: str) -> str:
        """The path of a speaker's Submodel file."""
        return posixpath.join(self.submodels, submodel_file.file_name(speaker))

    def check(
        self, space: space_file.Space, speakers: abc.Iterable[str]
    ) -> None:
        """Refuses taken ids, and what cannot be written, before any work.

        Raises:
            ValueError: names who is taken, and by what.
            OSError: the folder or the store cannot be written.
        """
        for speaker in speakers:
            submodel_file.file_name(speaker)
            if self.store:
                submodel_store.check_id("speaker", speaker)
        if not self.replace:
            self._check_free(space, speakers)
        folder = self.submodels
        model_directory.check_writable(folder, "the output folder")
        if self.store:
            self._check_store(space, speakers)
        # A killed process left these, but a running one may be writing others.
        long_ago = 1e9 * (time.time() - _ABANDONED_SECONDS)
        for name in tf.io.gfile.listdir(folder):
            path = posixpath.join(folder, name)
            if name.startswith(files.TEMPORARY_PREFIX):
                # Another process may rename or remove it at this moment.
                with contextlib.suppress(tf.errors.NotFoundError):
                    if tf.io.gfile.stat(path).mtime_nsec < long_ago:
                        tf.io.gfile.remove(path)

    def _check_store(self, space, speakers):
        self._opened_store.prepare()
        refused = []
        for speaker in speakers:
            try:
                self._opened_store.check_publish(
                    self.tenant, speaker, space.metadata.base_fingerprint
                )
            except submodel_store.RefusedError as error:
                refused.append(f"{error} (--{error.option})")
        if refused:
            raise ValueError(
                f"the store refuses {tables.first_names(refused)}. Enrol "
                "without --publish, then publish the files with tasks.store "
                "and that flag."
            )

    def _check_free(self, space, speakers):
        taken = []
        for speaker in speakers:
            if speaker in space.speakers:
                taken.append(f"{speaker} (a speaker of the space)")
            elif files.exists(self.path(speaker)):
                taken.append(f"{speaker} ({self.path(speaker)})")
            elif self.store and self._is_published(speaker):
                taken.append(f"{speaker} (published in {self.store})")
        if taken:
            raise ValueError(
                f"taken already: {tables.first_names(taken)}. Choose "
                "another id, or allow to replace."
            )

    def _is_published(self, speaker):
        try:
            self._opened_store.resolve(self.tenant, speaker)
        except (submodel_store.UnknownSubmodelError, FileNotFoundError):
            return False
        return True

    def write(
        self, enrolled: results.Enrolled, space: space_file.Space, seed: int
    ) -> tuple[str, store_records.Version | None]:
        """Writes a speaker's Submodel; its path and the version published.

        Raises:
            ValueError: the id has been taken since `check`.
            OSError: it cannot be written; an older file stays.
        """
        if not self.replace:
            self._check_free(space, [enrolled.speaker])
        path = self.path(enrolled.speaker)
        made, version = make_submodel(enrolled, space, seed), None
        # Published first, so that a file here means a published Submodel.
        if self.store:
            version = self._opened_store.publish(
                submodel_file.to_bytes(made),
                self.tenant,
                enrolled.speaker,
                source=files.absolute(path),
            )
        try:
            submodel_file.save(path, made)
        except OSError as error:
            if not version:
                raise
            raise OSError(
                f"{enrolled.speaker} is published, as {version.name}, but has "
                f"no file: {error}"
            ) from error
        return path, version

    def write_results(self, rows: abc.Iterable[dict[str, Any]]) -> None:
        """Writes `enrolment.jsonl`."""
        path = posixpath.join(self.directory, "enrolment.jsonl")
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        files.write_atomically(path, "".join(lines).encode())


def make_submodel(
    enrolled: results.Enrolled, space: space_file.Space, seed: int
) -> submodel_file.Submodel:
    """The Submodel of an enrolled speaker."""
    if enrolled.tensors is None:
        raise ValueError(f"{enrolled.speaker!r} keeps the base model")
    metadata = space.metadata
    return submodel_file.create(
        space.layout,
        enrolled.tensors,
        base_fingerprint=metadata.base_fingerprint,
        speaker=enrolled.speaker,
        language=enrolled.language,
        experiment=metadata.experiment,
        base_description=metadata.base_description,
        training={
            "mode": enrolled.mode,
            "step": enrolled.step,
            "dev_loss": enrolled.best.loss,
            "base_dev_loss": enrolled.base.loss,
            "dev_word_error_rate": enrolled.best.word_error_rate,
            "base_dev_word_error_rate": enrolled.base.word_error_rate,
            "evidence": enrolled.evidence,
            "train_utterances": enrolled.num_utterances,
            "train_seconds_of_speech": round(enrolled.seconds_of_speech, 3),
            "seed": seed,
            "space_sha256": metadata.sha256,
            "embedding": list(enrolled.embedding),
        },
        started_from=enrolled.started_from,
        heard=heard.pack(enrolled.heard),
    )
