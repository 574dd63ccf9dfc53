"""One request from its checks to its answers."""

import asyncio
import time

import numpy as np

from tasks.serving import errors, messages
from tasks.serving.queueing import batcher

# More samples than this are checked off the loop.
_MAX_SAMPLES_ON_LOOP = 1 << 20


class Predictor:
    """Serves requests; runs on one asyncio loop.

    Args:
        models: `models.Models` of `base_models.BaseModel`.
        submodels: `submodels.Submodels`.
        admission: `admission.Admission`.
        limits: `limits.Limits`.
        metrics: `metrics.Metrics`.
        fallback: "error" or "base".
    """

    def __init__(self, models, submodels, admission, limits, metrics, fallback):
        self._models = models
        self._submodels = submodels
        self._admission = admission
        self._limits = limits
        self._metrics = metrics
        self._fallback = fallback

    async def predict(self, caller, spec, utterances, deadline):
        """See `server.Server.predict`."""
        self._check_count(utterances)
        # Before anything is looked up, so that what there is of others does
        # not even show in how long a refusal takes.
        for utterance in utterances:
            self._check_user(caller, utterance)
        loop = asyncio.get_running_loop()
        last = loop.time() + self._limits.request_seconds
        deadline = last if deadline is None else min(deadline, last)
        with self._models.lookup(spec).lease() as model:
            await self._check_contents(model.description, utterances)
            try:
                async with asyncio.timeout_at(deadline):
                    answers = await self._serve(
                        model, caller.tenant, utterances, deadline - loop.time()
                    )
            except TimeoutError:
                raise batcher.late() from None
            return model.version, answers

    def check_room(self, tenant):
        """Refuses whom every model would refuse; see `server.Server`."""
        waits = [
            model.batcher.expected_wait(tenant)
            for model in self._models.available
        ]
        if waits and min(waits) > self._limits.queue_seconds:
            raise self._busy(min(waits))

    async def _serve(self, model, tenant, utterances, seconds):
        if seconds <= 0:
            raise batcher.late()
        places = self._admit(model, tenant, utterances, seconds)
        deadline = time.monotonic() + seconds
        handles, items = {}, []
        try:
            handles = await self._acquire(
                model.pool,
                tenant,
                {each.submodel_id for each in utterances} - {None},
            )
            for utterance, place in zip(utterances, places, strict=True):
                item = _item(model, tenant, utterance, handles, place, deadline)
                items.append(item)
                model.batcher.add(item)
            return [
                self._answer(await item.future, utterance, handles)
                for item, utterance in zip(items, utterances, strict=True)
            ]
        finally:
            for item in items:
                model.batcher.discard(item)
            for place in places[len(items) :]:
                place.leave()
            # The items have holds of their own.
            for handle in filter(None, handles.values()):
                handle.release()

    def _admit(self, model, tenant, utterances, seconds):
        wait = model.batcher.expected_wait(tenant)
        if wait > min(self._limits.queue_seconds, seconds):
            raise self._busy(wait)
        sizes = [
            each.audio.nbytes + (0 if each.row is None else each.row.nbytes)
            for each in utterances
        ]
        return self._admission.enter(tenant, sizes, _retry_after(wait))

    def _busy(self, wait):
        self._metrics.refused("wait")
        return errors.ServingError(
            errors.Code.RESOURCE_EXHAUSTED,
            f"busy: the answer would take more than {wait:.1f} s",
            _retry_after(wait),
        )

    async def _acquire(self, pool, tenant, speakers):
        """Dict of speaker to `cache.Handle`; None where the base answers."""
        if not speakers:
            return {}
        tasks = {
            speaker: asyncio.create_task(self._find(pool, tenant, speaker))
            for speaker in speakers
        }
        try:
            await asyncio.wait(tasks.values())
            return {speaker: task.result() for speaker, task in tasks.items()}
        except BaseException:
            for task in tasks.values():
                task.cancel()
                task.add_done_callback(_release)
            raise

    async def _find(self, pool, tenant, speaker):
        try:
            return await self._submodels.acquire(pool, tenant, speaker)
        except errors.ServingError as error:
            is_missing = error.code is errors.Code.NOT_FOUND
            if is_missing and self._fallback == "base":
                return None
            raise

    def _answer(self, outcome, utterance, handles):
        if isinstance(outcome, errors.ServingError):
            raise outcome
        text, score, row_status = outcome
        version, served_by = "", messages.SERVED_BY_BASE
        if utterance.row is not None:
            served_by = messages.SERVED_BY_REQUEST
        elif utterance.submodel_id is not None:
            handle = handles[utterance.submodel_id]
            if handle is None:
                self._metrics.fell_back()
            else:
                version = handle.version.name
                served_by = messages.SERVED_BY_SUBMODEL
        return messages.Answer(
            text, float(score), row_status, version, served_by
        )

    def _check_count(self, utterances):
        limit = self._limits.max_request_utterances
        if not 1 <= len(utterances) <= limit:
            raise _invalid(
                f"a request must have 1 to {limit} utterances. Received: "
                f"{len(utterances)}."
            )

    def _check_user(self, caller, utterance):
        if utterance.submodel_id is None:
            return
        if utterance.row is not None:
            raise _invalid("an utterance names a Submodel and brings another")
        self._submodels.check_user(caller, utterance.submodel_id)

    async def _check_contents(self, description, utterances):
        limit = min(
            description.max_samples,
            int(self._limits.max_audio_seconds * description.sample_rate),
        )
        samples = 0
        for place, utterance in enumerate(utterances):
            _check_rate(place, utterance.sample_rate, description)
            _check_audio(place, utterance.audio, limit, description)
            _check_row(place, utterance.row, description)
            samples += utterance.audio.size
        if samples > _MAX_SAMPLES_ON_LOOP:
            await self._submodels.parsers.call(_check_finite, utterances)
        else:
            _check_finite(utterances)


def _retry_after(wait):
    return min(max(wait, 0.1), 30.0)


def _item(model, tenant, utterance, handles, place, deadline):
    handle = handles.get(utterance.submodel_id)
    row, row_key = model.zeros, None
    if handle is not None:
        handle = handle.again()
        row, row_key = handle.row, handle.key
    elif utterance.row is not None:
        row = utterance.row
        # Rows that are views of one array may be equal without being one
        # object; one value that fills a row has strides of zero.
        row_key = row.__array_interface__["data"][0], row.strides

    def end():
        place.leave()
        if handle is not None:
            handle.release()

    description = model.description
    bucket = description.bucket(len(utterance.audio))
    return batcher.Item(
        tenant=tenant,
        audio=utterance.audio,
        row=row,
        row_key=row_key,
        bucket=bucket,
        cost=description.bucket_samples[bucket],
        deadline=deadline,
        on_end=end,
        future=asyncio.get_running_loop().create_future(),
    )


def _check_rate(place, sample_rate, description):
    if sample_rate not in (None, description.sample_rate):
        raise _invalid(
            f"utterance {place}: the audio has {sample_rate} samples per "
            f"second, and the base model takes {description.sample_rate}; "
            "resample it"
        )


def _check_audio(place, audio, limit, description):
    if (
        not isinstance(audio, np.ndarray)
        or audio.dtype != np.float32
        or audio.ndim != 1
    ):
        raise _invalid(
            f"utterance {place}: the audio must be [samples] float32. "
            f"Received: {_describe(audio)}."
        )
    if not 1 <= len(audio) <= limit:
        rate = description.sample_rate
        raise _invalid(
            f"utterance {place}: the audio must have 1 to {limit} samples, "
            f"{limit / rate:g} s at {rate} Hz. Received: {len(audio)}, "
            f"{len(audio) / rate:.2f} s."
        )


def _check_row(place, row, description):
    if row is None:
        return
    if (
        not isinstance(row, np.ndarray)
        or row.dtype != np.float32
        or row.shape != (description.num_values,)
    ):
        raise _invalid(
            f"utterance {place}: the Submodel must be "
            f"[{description.num_values}] float32. Received: {_describe(row)}."
        )


def _check_finite(utterances):
    for place, utterance in enumerate(utterances):
        for name in ("audio", "row"):
            values = getattr(utterance, name)
            if values is None:
                continue
            finite = np.isfinite(values)
            if not finite.all():
                where = int(np.argmin(finite))
                raise _invalid(
                    f"utterance {place}: the {name} must be finite. Received: "
                    f"{values[where]} at {where}."
                )


def _describe(array):
    if not isinstance(array, np.ndarray):
        return type(array).__name__
    return f"{list(array.shape)} {array.dtype}"


def _invalid(message):
    return errors.ServingError(errors.Code.INVALID_ARGUMENT, message)


def _release(task):
    if task.cancelled() or task.exception() is not None:
        return
    if task.result() is not None:
        task.result().release()
