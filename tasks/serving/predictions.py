"""One request, from its checks to its answers."""

import asyncio
import dataclasses
import time
from typing import cast

import numpy as np

from tasks.serving import (
    errors,
    messages,
    metrics as serving_metrics,
    recordings,
    utterance_checks,
)
from tasks.serving.exports import description as export_description
from tasks.serving.models import served_models, versions
from tasks.serving.queueing import (
    admission as queueing_admission,
    fair_queues,
    limits as serving_limits,
)
from tasks.serving.submodels import cache, provider, ready

# Requests with more samples are checked off the loop.
_MAX_SAMPLES_ON_LOOP = 1 << 20


@dataclasses.dataclass(frozen=True)
class Predictor:
    """Serves requests; runs on one asyncio loop.

    Args:
        falls_back: whether the base answers a user without a Submodel.
    """

    models: served_models.ServedModels
    submodels: provider.SubmodelProvider
    admission: queueing_admission.Admission
    decoder: recordings.Decoder
    limits: serving_limits.Limits
    metrics: serving_metrics.Metrics
    falls_back: bool

    async def predict(
        self,
        caller: messages.Caller,
        spec: messages.ModelSpec,
        utterances: list[messages.Utterance],
        deadline: float | None,
    ) -> tuple[int, list[messages.Answer]]:
        """Recognises utterances; see `Server.predict`."""
        self.admission.check_count(len(utterances))
        # Access comes before anything is looked up, so that a refusal does
        # not tell by its time what others have.
        for utterance in utterances:
            if utterance.submodel_id is not None:
                self.submodels.check_access(caller, utterance.submodel_id)
        loop = asyncio.get_running_loop()
        latest = loop.time() + self.limits.request_seconds
        deadline = latest if deadline is None else min(deadline, latest)
        model = self.models.find(spec)
        with model.lease():
            await self._check_contents(model.description, utterances)
            seconds = deadline - loop.time()
            if seconds <= 0:
                raise errors.deadline_exceeded()
            try:
                async with asyncio.timeout_at(deadline):
                    answers = await self._serve(
                        model, caller.tenant, utterances, seconds
                    )
            except TimeoutError:
                raise errors.deadline_exceeded() from None
            return model.version, answers

    def check_room(self, tenant: str) -> None:
        """Refuses a request that every model would refuse for its wait."""
        models = self.models.available
        waits = [each.batcher.expected_wait(tenant) for each in models]
        self.admission.check_wait(min(waits, default=0.0))

    async def _serve(
        self,
        model: versions.ModelVersion,
        tenant: str,
        utterances: list[messages.Utterance],
        seconds: float,
    ) -> list[messages.Answer]:
        wait = model.batcher.expected_wait(tenant)
        self.admission.check_wait(wait, seconds)
        # What a recording takes is known once it is decoded, and threads may
        # not be kept busy for what has no room.
        sizes = [
            utterance_checks.num_bytes(each, model.description)
            for each in utterances
        ]
        places = self.admission.enter(tenant, sizes, wait)
        deadline = time.monotonic() + seconds
        handles: dict[str, cache.RowHandle | None] = {}
        queued: list[fair_queues.QueuedUtterance] = []
        try:
            utterances = await self._decode(model, utterances, places)
            handles = await self._acquire(model.submodels, tenant, utterances)
            for number, (utterance, place) in enumerate(
                zip(utterances, places, strict=True)
            ):
                handle = None
                if utterance.submodel_id is not None:
                    handle = handles[utterance.submodel_id]
                language_index = utterance_checks.language_index(
                    number,
                    utterance,
                    model.description,
                    handle.language if handle else "",
                )
                queued.append(
                    _to_queue(
                        model,
                        tenant,
                        utterance,
                        language_index,
                        handle,
                        place,
                        deadline,
                    )
                )
                model.batcher.add(queued[-1])
            return [
                self._answer(await each.future, utterance, handles)
                for each, utterance in zip(queued, utterances, strict=True)
            ]
        finally:
            for each in queued:
                model.batcher.discard(each)
            for place in places[len(queued) :]:
                place.leave()
            # Queued utterances have holds of their own.
            for handle in filter(None, handles.values()):
                handle.release()

    async def _decode(
        self,
        model: versions.ModelVersion,
        utterances: list[messages.Utterance],
        places: list[queueing_admission.Place],
    ) -> list[messages.Utterance]:
        """The same utterances, all of them as samples."""
        description = model.description
        decoded = []
        for number, (utterance, place) in enumerate(
            zip(utterances, places, strict=True)
        ):
            if isinstance(utterance.audio, bytes):
                try:
                    samples = await self.decoder.decode(
                        utterance.audio,
                        description.sample_rate,
                        description.max_samples,
                    )
                except errors.ServingError as error:
                    raise _of_utterance(number, utterances, error) from None
                utterance = dataclasses.replace(utterance, audio=samples)
                place.shrink(utterance_checks.num_bytes(utterance, description))
            decoded.append(utterance)
        return decoded

    async def _acquire(
        self,
        submodels: ready.ReadySubmodels,
        tenant: str,
        utterances: list[messages.Utterance],
    ) -> dict[str, cache.RowHandle | None]:
        """Holds by speaker; None where the base answers instead."""
        tasks = {
            speaker: asyncio.create_task(
                self._acquire_one(submodels, tenant, speaker)
            )
            for speaker in {each.submodel_id for each in utterances}
            if speaker is not None
        }
        if not tasks:
            return {}
        try:
            await asyncio.wait(tasks.values())
            return {speaker: task.result() for speaker, task in tasks.items()}
        except BaseException:
            for task in tasks.values():
                task.cancel()
                task.add_done_callback(_release)
            raise

    async def _acquire_one(
        self, submodels: ready.ReadySubmodels, tenant: str, speaker: str
    ) -> cache.RowHandle | None:
        try:
            return await self.submodels.acquire(submodels, tenant, speaker)
        except errors.ServingError as error:
            if error.code is errors.Code.NOT_FOUND and self.falls_back:
                return None
            raise

    def _answer(
        self,
        outcome: errors.ServingError | tuple,
        utterance: messages.Utterance,
        handles: dict[str, cache.RowHandle | None],
    ) -> messages.Answer:
        if isinstance(outcome, errors.ServingError):
            raise outcome
        text, score, status = outcome
        version, served_by = "", messages.SERVED_BY_BASE
        if utterance.vector is not None:
            served_by = messages.SERVED_BY_REQUEST
        elif utterance.submodel_id is not None:
            handle = handles[utterance.submodel_id]
            if handle is None:
                self.metrics.fallbacks.inc()
            else:
                version = handle.version.name
                served_by = messages.SERVED_BY_SUBMODEL
        return messages.Answer(text, float(score), status, version, served_by)

    async def _check_contents(
        self,
        description: export_description.Description,
        utterances: list[messages.Utterance],
    ) -> None:
        for place, utterance in enumerate(utterances):
            utterance_checks.check_shapes(place, utterance, description)
        samples = sum(
            each.audio.size
            for each in utterances
            if isinstance(each.audio, np.ndarray)
        )
        if samples > _MAX_SAMPLES_ON_LOOP:
            await self.submodels.reader.parsers.call(
                utterance_checks.check_finite, utterances
            )
        else:
            utterance_checks.check_finite(utterances)


def _to_queue(
    model: versions.ModelVersion,
    tenant: str,
    utterance: messages.Utterance,
    language_index: int,
    handle: cache.RowHandle | None,
    place: queueing_admission.Place,
    deadline: float,
) -> fair_queues.QueuedUtterance:
    """An utterance for the batcher, with a hold of its own on its Submodel.

    Args:
        utterance: decoded.
    """
    hold = None if handle is None else handle.copy()
    vector = utterance.vector
    if vector is None:
        vector = model.base_vector if hold is None else hold.vector

    def end() -> None:
        place.leave()
        if hold is not None:
            hold.release()

    return fair_queues.QueuedUtterance(
        tenant=tenant,
        audio=cast(np.ndarray, utterance.audio),
        vector=vector,
        deadline=deadline,
        on_end=end,
        future=asyncio.get_running_loop().create_future(),
        language_index=language_index,
    )


def _of_utterance(
    number: int,
    utterances: list[messages.Utterance],
    error: errors.ServingError,
) -> errors.ServingError:
    """The error of a recording; in a request of several, it says which."""
    if len(utterances) == 1:
        return error
    message = f"utterance {number}: {error.message}"
    return errors.ServingError(error.code, message, error.retry_after_seconds)


def _release(task: asyncio.Task) -> None:
    """Lets go of what a task found although nobody waits for it any more."""
    if task.cancelled() or task.exception() is not None:
        return
    if task.result() is not None:
        task.result().release()
