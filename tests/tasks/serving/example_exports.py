"""Exports of small random bases, made once for the tests of a process."""

import functools
import pathlib
import tempfile

import numpy as np
import pytest

from lingvo_like.submodel import (
    file as submodel_file,
    layout as submodel_layout,
)
from lingvo_like.submodel.kinds import lora, rotation, vectors
from tasks.serving.exports import (
    folder as export_folder,
    saved_model,
    signatures,
)
from tests import layouts, tiny
from tests.lingvo_like.base_models.whisper import whisper_bases

RESIDUAL_WEIGHT = 0.7
# Beside adapters, in a Whisper.
OTHERS = (
    (lora.Lora(2, 4.0), "*/*/*attention/query", "decoder/*/*/expand"),
    (rotation.Rotation(3), "decoder/*/source_attention/value"),
    (vectors.Scale(), "*/*/*/inner"),
    (vectors.Bias(), "decoder/*/output"),
)
# Of a full context only the number of buckets differs: one.
KINDS = (
    "short",
    "conformer",
    pytest.param("full", marks=pytest.mark.slow),
)


@functools.cache
def base(kind):
    """A Whisper of full or short context, or a Conformer of two buckets.

    Also "languages", a short Whisper that knows three.
    """
    if kind == "conformer":
        return tiny.base(buckets_seconds=(1.0, 2.0))
    if kind == "languages":
        return whisper_bases.small(
            languages=whisper_bases.LANGUAGES, audio_context="short"
        )
    return whisper_bases.small(audio_context=kind)


@functools.cache
def recognizer(kind, beam_size=1):
    model = base(kind)
    layout = layouts.adapters(
        model.model_dim, 4, range(model.num_blocks), RESIDUAL_WEIGHT
    )
    if kind != "conformer":
        layout = submodel_layout.Layout(
            layout.parts
            + tuple(
                submodel_layout.Part(
                    each, submodel_layout.matching_sites(model.sites, patterns)
                )
                for each, *patterns in OTHERS
            )
        )
    return signatures.Recognizer(model, layout, beam_size)


@functools.cache
def _parent():
    return tempfile.TemporaryDirectory(prefix="exports-")


@functools.cache
def folder(kind):
    """The version folder of an export; read it, do not change it."""
    made = recognizer(kind)
    path, _ = export_folder.write(
        pathlib.Path(_parent().name) / kind,
        1,
        made,
        base(kind).fingerprint(),
        "test.Small",
    )
    return path


@functools.cache
def loaded(kind):
    """The engine of that export; do not close it."""
    return saved_model.SavedModelEngine(folder(kind), warm_up=False)


def rows(kind, count, seed=0, scale=0.3):
    """Random packed Submodels `[count, num_values]`; the last is zeros."""
    values = recognizer(kind).layout.num_values
    drawn = np.random.default_rng(seed).standard_normal((count, values))
    drawn[-1] = 0.0
    return (scale * drawn).astype("float32")


def submodel(kind, speaker, row):
    """The file of a speaker's Submodel for that export, from a packed row."""
    layout = recognizer(kind).layout
    return submodel_file.to_bytes(
        submodel_file.create(
            layout,
            layout.unpack(row),
            base_fingerprint=base(kind).fingerprint(),
            speaker=speaker,
        )
    )


def utterances(lengths, width=None, padding=0.0):
    """Audio `[b, width]` with `padding` past each length, and the lengths."""
    width = width or max(lengths)
    audio = whisper_bases.utterances(lengths, width)
    for row, length in zip(audio, lengths, strict=True):
        row[length:] = padding
    return audio, np.array(lengths, "int32")
