"""Base models by name and version: which are served, loaded and closed."""

import asyncio
import os
import re
import time

from absl import logging

from tasks.serving import errors, messages, threads
from tasks.serving.models import versions as model_versions

_VERSION = re.compile(r"[0-9]{1,18}")


class Models:
    """Serves the versions that the configurations ask for.

    Runs on one asyncio loop. A new version is loaded beside those that serve
    and takes over at once; one that is not wanted any more is closed when its
    last request is answered, and only if a wanted one serves.

    Args:
        load: coroutine function of (name, version, path) that gives a
            `model_versions.Model`.
        limits: `limits.Limits`.
        list_folder: function of a path that gives names, may block.
        clock: function that gives monotonic seconds.
    """

    def __init__(
        self, load, limits, list_folder=os.listdir, clock=time.monotonic
    ):
        self._load = load
        self._limits = limits
        self._list_folder = list_folder
        self._clock = clock
        self._served = {}
        self._lock = asyncio.Lock()
        self._closing = set()
        self._reloading = set()
        self._workers = threads.Workers("models", 2)

    @property
    def available(self):
        """List of the `Model`s that serve."""
        return [
            model
            for served in self._served.values()
            for model in served.models.values()
        ]

    @property
    def ready(self):
        """Whether every model has a version that serves."""
        return bool(self._served) and all(
            served.models for served in self._served.values()
        )

    def is_available(self, name):
        return name in self._served and bool(self._served[name].models)

    def lookup(self, spec):
        """The `Model` of a `messages.ModelSpec`.

        Raises:
            status.ServingError: NOT_FOUND; INVALID_ARGUMENT for an unknown
                label, as TensorFlow Serving has it.
        """
        served = self._served.get(spec.name)
        version = spec.version
        if served is not None and spec.label is not None:
            version = served.labels.get(spec.label)
            if version is None:
                raise errors.ServingError(
                    errors.Code.INVALID_ARGUMENT,
                    f"Unrecognized servable version label: {spec.label!r}",
                )
        if served is not None and served.models:
            if version is None:
                version = max(served.models)
            if version in served.models:
                return served.models[version]
        what = f"Latest({spec.name!r})"
        if version is not None:
            what = f"Specific({spec.name!r}, {version})"
        raise errors.ServingError(
            errors.Code.NOT_FOUND, f"Servable not found for request: {what}"
        )

    def status(self, spec):
        """List of `messages.VersionStatus`, newest first.

        Raises:
            status.ServingError: NOT_FOUND.
        """
        served = self._served.get(spec.name)
        version = spec.version
        if served is not None and spec.label is not None:
            version = self.lookup(spec).version
        found = [
            each
            for each in (served.statuses.values() if served else ())
            if version in (None, each.version)
        ]
        if not found:
            raise errors.ServingError(
                errors.Code.NOT_FOUND,
                f"Could not find any versions of model {spec.name!r}",
            )
        return sorted(found, key=lambda each: -each.version)

    async def reload(self, configs):
        """Serves exactly these models from now on.

        Every model keeps what it serves where the new configuration gives it
        no version that loads; then none is dropped either, and a model that
        is new and has no version is not taken up, unless all are new: the
        first ones are looked for again. A caller that is cancelled leaves
        the reload to itself: half of one would be neither configuration.

        Raises:
            status.ServingError: INVALID_ARGUMENT the configurations contradict
                themselves and nothing changed; FAILED_PRECONDITION a version
                did not load, or a label points to none that serves.
        """
        model_versions.check_configs(configs)
        task = asyncio.create_task(self._reload(configs))
        # The loop itself keeps only weak references to tasks.
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)
        problems = await asyncio.shield(task)
        if problems:
            raise errors.ServingError(
                errors.Code.FAILED_PRECONDITION, "; ".join(problems)
            )

    async def _reload(self, configs):
        """Applies the configurations; a list of problems."""
        problems = []
        async with self._lock:
            old = set(self._served)
            for config in configs:
                if config.name not in self._served:
                    self._served[config.name] = model_versions.Served(config)
                served = self._served[config.name]
                served.retry_at.clear()
                problems += await self._apply(served, config)
            new = {config.name for config in configs}
            if not problems:
                dropped = old - new
            elif old:
                dropped = {
                    name for name in new - old if not self._served[name].models
                }
            else:
                dropped = set()
            for name in dropped:
                served = self._served.pop(name)
                for version in list(served.models):
                    self._retire(served, version)
        return problems

    async def run(self):
        """Looks for new versions every `model_poll_seconds`."""
        while self._limits.model_poll_seconds:
            await asyncio.sleep(self._limits.model_poll_seconds)
            async with self._lock:
                for served in list(self._served.values()):
                    for problem in await self._apply(served, served.config):
                        logging.error("%s", problem)

    async def close(self):
        """Closes every version when its requests are answered."""
        async with self._lock:
            for served in self._served.values():
                for version in list(served.models):
                    self._retire(served, version)
            self._served.clear()
            if self._closing:
                await asyncio.wait(self._closing)
        self._workers.close()

    async def _apply(self, served, config):
        """Loads what is wanted, then drops the rest; a list of problems."""
        try:
            versions = await self._workers.call(
                self._versions,
                config.base_path,
                seconds=self._limits.store_seconds,
            )
        except (OSError, ValueError) as error:
            return [f"model {config.name!r}: cannot look for versions: {error}"]
        problems, wanted = [], set()
        count = config.latest
        if config.all_versions:
            count = len(versions)
        if config.specific:
            count = len(config.specific)
            for version in set(config.specific) - set(versions):
                problems.append(
                    f"model {config.name!r}: there is no version {version} in "
                    f"{config.base_path}"
                )
            versions = {
                version: path
                for version, path in versions.items()
                if version in config.specific
            }
        elif not versions:
            problems.append(
                f"model {config.name!r}: no versions in {config.base_path}"
            )
        loaded = {}
        # Where the newest does not load, the next one serves.
        for version in sorted(versions, reverse=True):
            if len(wanted) == count:
                break
            try:
                loaded[version] = await self._ensure(
                    served, version, versions[version]
                )
                wanted.add(version)
            except errors.ServingError as error:
                if error.code is not errors.Code.ABORTED:
                    problems.append(error.message)
        self._commit(served, config, loaded, problems)
        return problems

    def _commit(self, served, config, loaded, problems):
        """Swaps the new versions in and the unwanted ones out, in one step."""
        available = set(loaded) | (set() if loaded else set(served.models))
        labels = config.labels
        unknown = {
            label: version
            for label, version in labels.items()
            # A version that already has the label keeps serving for it.
            if version not in available
            and not (
                served.labels.get(label) == version and version in served.models
            )
        }
        if unknown:
            problems.append(
                f"model {config.name!r}: labels need versions that serve, "
                f"{sorted(available)}. Received: {unknown}."
            )
            labels = served.labels
        kept = available | set(labels.values())
        for version, model in loaded.items():
            old = served.models.get(version)
            if old is not model:
                if old is not None:
                    self._retire(served, version)
                served.models[version] = model
                served.set(version, messages.State.AVAILABLE)
        for version in set(served.models) - kept:
            self._retire(served, version)
        served.config, served.labels = config, dict(labels)

    def _versions(self, base_path):
        """Dict of version number to path; blocks."""
        names = [name.rstrip("/") for name in self._list_folder(base_path)]
        return {
            int(name): os.path.join(base_path, name)
            for name in names
            if _VERSION.fullmatch(name)
        }

    async def _ensure(self, served, version, path):
        model = served.models.get(version)
        if model is not None and model.path == path:
            return model
        if self._clock() < served.retry_at.get(path, float("-inf")):
            raise errors.ServingError(
                errors.Code.ABORTED, "failed a moment ago"
            )
        name = served.name
        if model is None:
            served.set(version, messages.State.LOADING)
        try:
            model = await self._load(name, version, path)
        except Exception as error:
            if not isinstance(error, ValueError | OSError):
                logging.exception("model %s version %s", name, version)
            failed = f"model {name!r} version {version} does not load"
            problem = errors.ServingError(
                errors.Code.FAILED_PRECONDITION, f"{failed}: {error}"
            )
            logging.error("%s", problem.message)
            if model is None:
                # For every caller to read: the reason names our files.
                public = errors.ServingError(
                    errors.Code.FAILED_PRECONDITION,
                    f"{failed}; the server's log says why",
                )
                served.set(version, messages.State.END, public)
            served.retry_at[path] = (
                self._clock() + self._limits.model_retry_seconds
            )
            raise problem from None
        served.retry_at.pop(path, None)
        logging.info("model %s version %s serves", name, version)
        return model

    def _retire(self, served, version):
        model = served.models.pop(version)
        served.set(version, messages.State.UNLOADING)
        task = asyncio.create_task(self._close_idle(served, model))
        # The loop itself keeps only weak references to tasks.
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_idle(self, served, model):
        await model.idle()
        try:
            await model.close()
        except Exception:
            logging.exception("model %s did not close", model.name)
        if model.version not in served.models:
            served.set(model.version, messages.State.END)
