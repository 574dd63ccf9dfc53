"""Reads Submodel files, from memory or from the store, into vectors."""

import numpy as np
from absl import logging

from lingvo_like.store import records
from lingvo_like.submodel import file as submodel_file
from tasks.serving import errors, metrics as serving_metrics, threads
from tasks.serving.exports import description as export_description
from tasks.serving.queueing import limits as serving_limits
from tasks.serving.submodels import cache, source as submodel_source

# A file's header, at most, and the 8 bytes of its length.
_MAX_HEADER_BYTES = submodel_file.MAX_HEADER_BYTES + 8
_VALUE_BYTES = np.dtype(np.float32).itemsize
_PARSE_THREADS = 2


class GoneError(Exception):
    """The version is no longer in the store."""


class SubmodelReader:
    """Reads and checks Submodels for all base models.

    The store is called in threads of its own and files are parsed in others,
    so that neither waits for the other.
    """

    def __init__(
        self,
        source: submodel_source.StoreSource | None,
        limits: serving_limits.Limits,
        metrics: serving_metrics.Metrics,
    ) -> None:
        self._source = source
        self.limits = limits
        self.metrics = metrics
        self.store = threads.ThreadPool("store", limits.store_threads)
        self.parsers = threads.ThreadPool("parse", _PARSE_THREADS)
        self.files = cache.FileCache(
            limits.file_cache_bytes,
            lambda: metrics.evictions.labels("file").inc(),
        )

    async def read(
        self,
        version: records.Version,
        description: export_description.Description,
    ) -> tuple[submodel_source.Parsed, bytes]:
        """A Submodel, and its file.

        Raises:
            GoneError: the file is not in the store.
            ServingError: UNAVAILABLE.
            ValueError: the file does not fit the export, or is damaged.
        """
        data = self.files.get(version)
        tier = "store" if data is None else "file"
        limit = _VALUE_BYTES * description.num_values + _MAX_HEADER_BYTES
        if data is None and version.num_bytes > limit:
            raise ValueError(
                f"must have at most {limit} bytes. Received: "
                f"{version.num_bytes}."
            )
        try:
            if data is None:
                data = await self.store.call(
                    self._source.read,
                    version,
                    seconds=self.limits.store_seconds,
                )
            parsed = await self.parsers.call(
                self._source.parse, data, description
            )
        except (LookupError, FileNotFoundError):
            raise GoneError from None
        except TimeoutError:
            raise errors.unavailable("the store does not answer") from None
        except OSError:
            logging.exception("the store failed to read a Submodel")
            raise errors.unavailable("the store fails") from None
        self.metrics.lookups.labels(tier).inc()
        return parsed, data

    def close(self) -> None:
        self.store.close()
        self.parsers.close()
