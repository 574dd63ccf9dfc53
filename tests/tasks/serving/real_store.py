"""A server on a real store of Submodels, with an engine that is none."""

import numpy as np

from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tasks.serving import messages, server
from tasks.serving.submodels import source as submodel_source
from tests import layouts
from tests.tasks.serving import fake_engine, fake_source

LAYOUT = layouts.adapters(model_dim=2, bottleneck_dim=1, blocks=(0,))
LIMITS = fake_source.changed(row_cache_bytes=1 << 12, resolve_seconds=0.05)
MODEL = "asr"


def publish(root, tenant, speaker, value):
    """Publishes a Submodel that is made of one value."""
    vector = np.full(LAYOUT.num_values, value, np.float32)
    data = submodel_file.to_bytes(
        submodel_file.create(
            LAYOUT,
            LAYOUT.unpack(vector),
            base_fingerprint=fake_engine.FINGERPRINT,
            speaker=speaker,
        )
    )
    return submodel_store.SubmodelStore(root).publish(data, tenant, speaker)


def make_server(root, limits=LIMITS):
    """A `server.Server` that is to be started."""
    return server.Server(
        submodel_source.StoreSource(submodel_store.SubmodelStore(root)),
        lambda path: fake_engine.FakeEngine(num_values=LAYOUT.num_values),
        [messages.ModelConfig(MODEL, "/exports")],
        limits,
        list_folder=lambda path: ["1"],
    )


def text(mark, value, samples=10):
    """Its answer to audio of one mark with a Submodel of one value."""
    audio = np.full(samples, mark, np.float32)
    return fake_engine.text_of(audio, np.full(LAYOUT.num_values, value))
