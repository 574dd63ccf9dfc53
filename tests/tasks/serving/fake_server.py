"""A `server.Server` for tests of the fronts: it answers at once."""

import asyncio

import numpy as np
import prometheus_client
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from tasks.serving import errors, messages

NUM_VALUES = 4


class FakeServer:
    """Answers with who was named and how long the audio was.

    Attributes:
        seen: list of (caller, spec, utterances, deadline) of each predict.
        error: raised by predict, if not None.
        hold: asyncio.Event that predict waits for, if not None.
        is_full: bool, whether there is no room.
        cancelled: int, predicts whose client went away.
        status: str, of every answer.
        missing: set of speakers that have no Submodel.
    """

    def __init__(self):
        self.registry = prometheus_client.CollectorRegistry()
        prometheus_client.Counter(
            "things", "Of a test.", registry=self.registry
        )
        self.reset()

    def reset(self):
        """Forgets what it saw, and what it was told to do."""
        self.live = self.ready = True
        self.seen, self.changes, self.configs = [], [], None
        self.error = self.hold = None
        self.is_full = False
        self.cancelled = 0
        self.status = "OK"
        self.missing = set()

    def check_room(self, caller):
        if self.is_full:
            raise errors.resource_exhausted("busy", 1.5)

    def check_access(self, caller, speaker):
        if not caller.allows(speaker):
            raise errors.permission_denied("not your speaker")

    async def predict(self, caller, spec, utterances, deadline=None):
        self._check(spec)
        self.seen.append((caller, spec, utterances, deadline))
        if self.hold is not None:
            try:
                await self.hold.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        if self.error is not None:
            raise self.error
        for each in utterances:
            if each.submodel_id:
                self.check_access(caller, each.submodel_id)
        return 3, [_answer(each, self.status) for each in utterances]

    def model_status(self, spec):
        self._check(spec)
        return [
            messages.VersionStatus(3, messages.State.AVAILABLE),
            messages.VersionStatus(
                2,
                messages.State.END,
                errors.ServingError(errors.Code.DATA_LOSS, "broken"),
            ),
        ]

    def model_ready(self, name):
        return name == "submodels"

    def signature_metadata(self, spec):
        self._check(spec)
        signature = meta_graph_pb2.SignatureDef()
        signature.method_name = "tensorflow/serving/predict"
        for name, sizes in (("audio", (-1, -1)), ("submodel", (-1, 4))):
            info = signature.inputs[name]
            info.name, info.dtype = f"{name}:0", types_pb2.DT_FLOAT
            for size in sizes:
                info.tensor_shape.dim.add(size=size)
        signature.inputs["language_index"].dtype = types_pb2.DT_INT32
        signature.outputs["text"].dtype = types_pb2.DT_STRING
        return 3, {"serving_default": signature}

    async def reload(self, configs):
        self.configs = configs

    async def load(self, caller, speaker):
        return self._change("load", caller, speaker)

    async def load_many(self, caller, speakers):
        caller.require_admin()
        loaded, failed = [], {}
        for speaker in speakers:
            try:
                loaded.append(await self.load(caller, speaker))
            except errors.ServingError as error:
                failed[speaker] = error
        return loaded, failed

    async def pin(self, caller, speaker):
        return self._change("pin", caller, speaker)

    async def unload(self, caller, speaker):
        self._change("unload", caller, speaker)

    def loaded(self, caller):
        return [self._change("list", caller, "anna")]

    def _change(self, what, caller, speaker):
        caller.require_admin()
        if speaker in self.missing:
            raise errors.not_found(f"no Submodel of {speaker}")
        self.changes.append((what, caller.tenant, speaker))
        return messages.LoadedSubmodel(speaker, "1-abc", "f" * 64, 16, False, 0)

    def _check(self, spec):
        if spec.name != "submodels" or spec.version not in (None, 3):
            raise errors.not_found(f"no model {spec.name}")


def _answer(utterance, status):
    served_by = messages.SERVED_BY_BASE
    if utterance.submodel_id is not None:
        served_by = messages.SERVED_BY_SUBMODEL
    elif utterance.vector is not None:
        served_by = messages.SERVED_BY_REQUEST
    who = utterance.submodel_id or ""
    if utterance.is_recording:
        heard, score = f"{len(utterance.audio)} bytes", -0.5
    else:
        heard, score = utterance.audio.size, float(np.sum(utterance.audio))
    return messages.Answer(
        text=f"{who}:{heard}".encode(),
        score=score,
        status=status,
        submodel_version=f"7-{who}" if who else "",
        served_by=served_by,
    )
