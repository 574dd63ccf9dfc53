"""Submodels out of a store, checked before they are used."""

import contextlib
from collections import abc
from typing import NamedTuple

import numpy as np
from absl import logging

from lingvo_like.store import records, store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tasks.serving.exports import description as export_description


class Parsed(NamedTuple):
    """A Submodel as it is served.

    Attributes:
        vector: packed, `[num_values]` float32.
        language: of its speaker; "" where it has none.
    """

    vector: np.ndarray
    language: str = ""


def owner_of(version: records.Version) -> tuple[str, str]:
    return version.tenant, version.speaker


class StoreSource:
    """A Submodel store as the server uses it; safe from several threads.

    Every method blocks. It raises a ValueError for a Submodel that is wrong, a
    LookupError for one that is not there, and an OSError if the store fails.
    """

    def __init__(self, store: submodel_store.SubmodelStore) -> None:
        self._store = store

    def resolve(self, tenant: str, speaker: str) -> records.Version:
        """The speaker's current version."""
        with _separating_damage():
            return self._store.resolve(tenant, speaker)

    def read(self, version: records.Version) -> bytes:
        """The bytes of a version's file, as they were published."""
        with _separating_damage():
            return self._store.read(version)

    @staticmethod
    def parse(
        data: bytes, description: export_description.Description
    ) -> Parsed:
        """Reads from a file's bytes, of `read`, all that a server needs.

        Raises:
            ValueError: it is not a whole Submodel, or not one for this export.
        """
        loaded = submodel_file.load(
            data, description.base_fingerprint, description.layout
        )
        language = loaded.metadata.language
        if language:
            description.language_index(own=language)
        return Parsed(loaded.vector, language)


@contextlib.contextmanager
def _separating_damage() -> abc.Iterator[None]:
    """Tells a damaged Submodel from a store that fails as a whole.

    The store's messages name paths, which only the operator may read.
    """
    try:
        yield
    except submodel_store.DamagedStoreError as error:
        logging.error("the Submodel store is damaged: %s", error)
        raise submodel_file.SubmodelError(
            "its file in the store is damaged"
        ) from None
    except ValueError as error:
        # Of the whole store, such as one of another format version.
        raise OSError(str(error)) from None
