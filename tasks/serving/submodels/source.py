"""Submodels out of a store, checked; what brings TensorFlow into a server."""

import contextlib

from absl import logging

from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file


class StoreSource:
    """A Submodel store as the server uses it; safe from several threads.

    Every method blocks. What is wrong with a Submodel is a ValueError, what is
    not there a LookupError, and what the store cannot do an OSError.

    Args:
        store: `submodel_store.SubmodelStore`.
    """

    def __init__(self, store):
        self._store = store

    @staticmethod
    def check_id(kind, text):
        """Raises a ValueError unless the text may be a `kind`'s id."""
        submodel_store.check_id(kind, text)

    def resolve(self, tenant, speaker):
        """The current `submodel_store.Version` of a speaker.

        Raises:
            LookupError: there is none.
            ValueError: the store's entry is damaged.
        """
        with _telling_damage():
            return self._store.resolve(tenant, speaker)

    def read(self, version):
        """The bytes of a version's file, as they were published.

        Raises:
            LookupError: it was erased.
            ValueError: the file is damaged.
        """
        with _telling_damage():
            return self._store.read(version)

    @staticmethod
    def parse(data, description):
        """A Submodel's packed vector `[num_values]` float32.

        Args:
            data: bytes of its file, as `read` gave them: the store has
                checked their SHA-256.
            description: `export_description.Description` that it has to fit.

        Raises:
            ValueError: it is not a whole Submodel, or not one for this export.
        """
        loaded = submodel_file.load(
            data,
            description.base_fingerprint,
            description.layout,
            is_sealed=True,
        )
        weight = loaded.metadata.residual_weight
        if weight != description.residual_weight:
            raise submodel_file.SubmodelError(
                f"`residual_weight` must be {description.residual_weight}. "
                f"Received: {weight}."
            )
        return loaded.vector


@contextlib.contextmanager
def _telling_damage():
    """Tells a damaged file from a store that fails.

    Their messages name paths, which are the operator's to read alone.
    """
    try:
        yield
    except submodel_store.DamagedStoreError as error:
        logging.error("the Submodel store is damaged: %s", error)
        raise submodel_file.SubmodelError(
            "its file in the store is damaged"
        ) from None
    except ValueError as error:
        # Of the store as a whole, such as one of another format version.
        raise OSError(str(error)) from None
