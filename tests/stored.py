"""Submodels so small that a test can publish hundreds of them."""

import json
import pathlib

import numpy as np

from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tests import layouts

LAYOUT = layouts.adapters(model_dim=4, bottleneck_dim=2, blocks=(0, 2))
FINGERPRINT = "ab" * 32


def data(value=0.0, speaker="F01", base_fingerprint=FINGERPRINT, **fields):
    """The bytes of a Submodel whose values are all `value`.

    The other fields are those of `submodel_file.create`.
    """
    vector = np.full(LAYOUT.num_values, value, np.float32)
    return submodel_file.to_bytes(
        submodel_file.create(
            LAYOUT,
            LAYOUT.unpack(vector),
            base_fingerprint=base_fingerprint,
            speaker=speaker,
            **fields,
        )
    )


def value(content):
    """The value that all values of a file have; fails if they differ."""
    vector = submodel_file.load(content).vector
    assert np.all(vector == vector[0])
    return float(vector[0])


def speakers(store, tenant):
    """Sorted ids of a tenant's speakers."""
    return sorted(version.speaker for version in store.current(tenant))


def audit_log(store):
    """The lines of a local store's audit log."""
    text = pathlib.Path(store.root, "audit.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def gate(content, **changes):
    """Evidence that lets a file's bytes pass, with some figures changed."""
    figures = {
        "source": "results.json",
        "speaker": "F01",
        "base_fingerprint": FINGERPRINT,
        "sha256": submodel_file.load(content).metadata.sha256,
        "num_utterances": 40,
        "num_words": 200,
        "base_word_error_rate": 0.5,
        "submodel_word_error_rate": 0.2,
        "change_points": -30.0,
        "low": -35.0,
        "high": -25.0,
        "confidence": 0.95,
    }
    return submodel_store.Gate(**{**figures, **changes})
