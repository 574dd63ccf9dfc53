"""Models by name and version: which are served, loaded and closed."""

import asyncio
import os
import re
import time
from collections import abc

from absl import logging

from tasks.serving import errors, messages, threads
from tasks.serving.models import versions
from tasks.serving.queueing import limits as serving_limits

_VERSION = re.compile(r"[0-9]{1,18}")
_THREADS = 2
# After which a version that did not load is tried again without a reload.
_RETRY_SECONDS = 60.0


class ServedModels:
    """Serves the versions that the configurations ask for.

    Runs on one asyncio loop. A new version is loaded beside those that serve
    and takes over at once. A version that is no longer wanted is closed after
    its last answer, and only if a wanted one serves.

    Args:
        load: loads a version by name, number and path.
        list_folder: gives the names in a folder; may block.
    """

    def __init__(
        self,
        load: abc.Callable[
            [str, int, str], abc.Awaitable[versions.ModelVersion]
        ],
        limits: serving_limits.Limits,
        list_folder: abc.Callable[[str], list[str]] = os.listdir,
        clock: abc.Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._limits = limits
        self._list_folder = list_folder
        self._clock = clock
        self._models: dict[str, versions.ServedModel] = {}
        self._lock = asyncio.Lock()
        # The loop itself keeps only weak references to tasks.
        self._closing: set[asyncio.Task] = set()
        self._reloading: set[asyncio.Task] = set()
        self._threads = threads.ThreadPool("models", _THREADS)

    @property
    def available(self) -> list[versions.ModelVersion]:
        """The versions that serve, of all models."""
        return [
            version
            for model in self._models.values()
            for version in model.versions.values()
        ]

    @property
    def ready(self) -> bool:
        """Whether every model has a version that serves."""
        return bool(self._models) and all(
            model.versions for model in self._models.values()
        )

    def is_available(self, name: str) -> bool:
        """Whether a model has a version that serves."""
        return name in self._models and bool(self._models[name].versions)

    def find(self, spec: messages.ModelSpec) -> versions.ModelVersion:
        """The version that a request is for.

        Raises:
            ServingError: NOT_FOUND; INVALID_ARGUMENT for an unknown label, as
                in TensorFlow Serving.
        """
        model = self._models.get(spec.name)
        number = spec.version
        if model is not None and spec.label is not None:
            number = model.labels.get(spec.label)
            if number is None:
                raise errors.invalid_argument(
                    f"Unrecognized servable version label: {spec.label!r}"
                )
        if model is not None and model.versions:
            if number is None:
                number = max(model.versions)
            if number in model.versions:
                return model.versions[number]
        wanted = f"Latest({spec.name!r})"
        if number is not None:
            wanted = f"Specific({spec.name!r}, {number})"
        raise errors.not_found(f"Servable not found for request: {wanted}")

    def status(self, spec: messages.ModelSpec) -> list[messages.VersionStatus]:
        """The states of a model's versions, the newest first.

        Raises:
            ServingError: NOT_FOUND.
        """
        model = self._models.get(spec.name)
        number = spec.version
        if model is not None and spec.label is not None:
            number = self.find(spec).version
        statuses = model.statuses.values() if model else ()
        found = [each for each in statuses if number in (None, each.version)]
        if not found:
            raise errors.not_found(
                f"Could not find any versions of model {spec.name!r}"
            )
        return sorted(found, key=lambda each: -each.version)

    async def reload(self, configs: list[messages.ModelConfig]) -> None:
        """Serves exactly these models from now on.

        A model keeps what it serves if no version of its new configuration
        loads. In that case no model is dropped, and a new one without a
        version is not taken up, unless all are new: the first ones are looked
        for again. If the caller is cancelled the reload still runs to its end,
        since half of one would be neither configuration.

        Raises:
            ServingError: INVALID_ARGUMENT, the configurations contradict each
                other and nothing changed; FAILED_PRECONDITION, a version did
                not load or a label points to none that serves.
        """
        names = [config.name for config in configs]
        if not names or len(set(names)) < len(names):
            raise errors.invalid_argument(
                "there must be at least one model, and each name only once. "
                f"Received: {names}."
            )
        task = asyncio.create_task(self._reload(configs))
        self._reloading.add(task)
        task.add_done_callback(self._reloading.discard)
        problems = await asyncio.shield(task)
        if problems:
            raise errors.failed_precondition("; ".join(problems))

    async def run(self) -> None:
        """Looks for new versions every `model_poll_seconds`."""
        while self._limits.model_poll_seconds:
            await asyncio.sleep(self._limits.model_poll_seconds)
            async with self._lock:
                for model in list(self._models.values()):
                    for problem in await self._apply(model, model.config):
                        logging.error("%s", problem)

    async def close(self) -> None:
        """Closes every version once its requests are answered."""
        async with self._lock:
            self._drop(list(self._models))
            if self._closing:
                await asyncio.wait(self._closing)
        self._threads.close()

    async def _reload(self, configs: list[messages.ModelConfig]) -> list[str]:
        """Applies the configurations; returns what went wrong."""
        problems = []
        async with self._lock:
            old = set(self._models)
            for config in configs:
                model = self._models.setdefault(
                    config.name, versions.ServedModel(config)
                )
                model.retry_at.clear()
                problems += await self._apply(model, config)
            new = {config.name for config in configs}
            if not problems:
                self._drop(old - new)
            elif old:
                self._drop(
                    name
                    for name in new - old
                    if not self._models[name].versions
                )
        return problems

    async def _apply(
        self, model: versions.ServedModel, config: messages.ModelConfig
    ) -> list[str]:
        """Loads what is wanted, drops the rest; returns what went wrong."""
        what = f"model {config.name!r}"
        try:
            paths = await self._threads.call(
                self._find_paths,
                config.base_path,
                seconds=self._limits.store_seconds,
            )
        except (OSError, ValueError) as error:
            return [f"{what}: cannot look for versions: {error}"]
        problems = []
        count = len(paths) if config.all_versions else config.latest
        if config.specific:
            count = len(config.specific)
            problems += [
                f"{what}: there is no version {number} in {config.base_path}"
                for number in set(config.specific) - set(paths)
            ]
            for number in set(paths) - set(config.specific):
                del paths[number]
        elif not paths:
            problems.append(f"{what}: no versions in {config.base_path}")
        loaded: dict[int, versions.ModelVersion] = {}
        # If the newest does not load, the next one serves.
        for number, path in sorted(paths.items(), reverse=True):
            if len(loaded) == count:
                break
            if self._clock() < model.retry_at.get(path, -1.0):
                continue
            try:
                loaded[number] = await self._ensure(model, number, path)
            except errors.ServingError as error:
                problems.append(error.message)
        self._commit(model, config, loaded, problems)
        return problems

    def _commit(
        self,
        model: versions.ServedModel,
        config: messages.ModelConfig,
        loaded: dict[int, versions.ModelVersion],
        problems: list[str],
    ) -> None:
        """Swaps new versions in and unwanted ones out, in one step."""
        available = set(loaded or model.versions)
        labels = config.labels
        unknown = {}
        for label, number in labels.items():
            # A version that already has the label keeps serving for it.
            keeps = (
                model.labels.get(label) == number and number in model.versions
            )
            if number not in available and not keeps:
                unknown[label] = number
        if unknown:
            problems.append(
                f"model {config.name!r}: labels need versions that serve, "
                f"{sorted(available)}. Received: {unknown}."
            )
            labels = model.labels
        for number, version in loaded.items():
            old = model.versions.get(number)
            if old is not version:
                if old is not None:
                    self._retire(model, number)
                model.versions[number] = version
                model.set_state(number, messages.State.AVAILABLE)
        for number in set(model.versions) - available - set(labels.values()):
            self._retire(model, number)
        model.config, model.labels = config, dict(labels)

    def _find_paths(self, base_path: str) -> dict[int, str]:
        """The paths of a folder's versions, by number; blocks."""
        names = [name.rstrip("/") for name in self._list_folder(base_path)]
        return {
            int(name): os.path.join(base_path, name)
            for name in names
            if _VERSION.fullmatch(name)
        }

    async def _ensure(
        self, model: versions.ServedModel, number: int, path: str
    ) -> versions.ModelVersion:
        """The version, loaded unless it already serves from this path.

        Raises:
            ServingError: FAILED_PRECONDITION, it does not load.
        """
        old = model.versions.get(number)
        if old is not None and old.path == path:
            return old
        name = model.config.name
        if old is None:
            model.set_state(number, messages.State.LOADING)
        try:
            loaded = await self._load(name, number, path)
        except Exception as error:
            if not isinstance(error, ValueError | OSError):
                logging.exception("model %s version %s", name, number)
            failed = f"model {name!r} version {number} does not load"
            problem = errors.failed_precondition(f"{failed}: {error}")
            logging.error("%s", problem.message)
            if old is None:
                # Every caller may read the status, and the reason names files.
                public = errors.failed_precondition(
                    f"{failed}; the server's log says why"
                )
                model.set_state(number, messages.State.END, public)
            model.retry_at[path] = self._clock() + _RETRY_SECONDS
            raise problem from None
        model.retry_at.pop(path, None)
        logging.info("model %s version %s serves", name, number)
        return loaded

    def _drop(self, names: abc.Iterable[str]) -> None:
        for name in names:
            model = self._models.pop(name)
            for number in list(model.versions):
                self._retire(model, number)

    def _retire(self, model: versions.ServedModel, number: int) -> None:
        version = model.versions.pop(number)
        model.set_state(number, messages.State.UNLOADING)
        task = asyncio.create_task(self._close_idle(model, version))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close_idle(
        self, model: versions.ServedModel, version: versions.ModelVersion
    ) -> None:
        await version.idle()
        try:
            await version.close()
        except Exception:
            logging.exception("model %s did not close", version.name)
        if version.version not in model.versions:
            model.set_state(version.version, messages.State.END)
