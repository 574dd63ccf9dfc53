"""Jobs that train other kinds of Submodel than adapters after blocks."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from lingvo_like.submodel import file as submodel_file
from params import kinds
from tasks.asr.data import preparation
from tasks.asr.training import (
    job_state,
    model_directory,
    submodel_files,
    trainer,
)
from tests import tiny
from tests.lingvo_like.base_models.whisper import whisper_bases

NONE = kinds.Adapter(sites=())
SECTIONS = {
    "lora": {
        "adapter": NONE,
        "lora": kinds.Lora(
            sites=("*/*/attention/*", "decoder/*/feed_forward/contract"),
            rank=2,
        ),
    },
    "rotation": {
        "adapter": NONE,
        "rotation": kinds.Rotation(sites=("*/*/*attention/query",), rank=3),
    },
    "bias": {"adapter": NONE, "bias": kinds.Bias(sites=("*/*/*/contract",))},
    "scale": {"adapter": NONE, "scale": kinds.Scale(sites=("*/*/*/inner",))},
    "adapter": {
        "adapter": kinds.Adapter(sites=("decoder/*/output",), bottleneck_dim=2)
    },
}
every_kind = pytest.mark.parametrize("name", SECTIONS)


@pytest.fixture(scope="module")
def base():
    return whisper_bases.small(audio_context="short", positions=32)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Speech of ann and of bob, whose transcripts are much longer."""
    folder = tmp_path_factory.mktemp("speech")
    path = pathlib.Path(tiny.recordings(folder, ("ann", "bob"), 4))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["speaker"] == "bob":
            line["text"] = " ".join([line["text"]] * 2)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


def experiment_of(name, **train):
    train = {"num_steps": 3, "eval_every_steps": 3, "max_tokens": 24, **train}
    return dataclasses.replace(tiny.experiment(**train), **SECTIONS[name])


def run(base, experiment, manifest, folder, only=""):
    corpus = preparation.prepare(base, experiment, manifest, "")
    data = corpus.train
    if only:
        slot = corpus.speakers.index(only)
        data = {0: dataclasses.replace(data[slot], slot=0)}
    directory = model_directory.ModelDirectory(str(folder))
    directory.prepare()
    made = trainer.Trainer(
        job_state.create(base, experiment, data),
        data,
        {},
        directory,
        submodel_files.Origin("conformer.Tiny", "0" * 64),
    )
    made.run()
    return made.state.task


def tensors(folder, speaker):
    path = folder / "submodels" / submodel_file.file_name(speaker)
    return submodel_file.load(path).tensors


@every_kind
def test_a_submodel_of_any_kind_is_its_speakers_own(
    name, base, manifest, tmp_path
):
    """With dropout, and beside a speaker whose transcripts are longer."""
    before = base.fingerprint()
    experiment = experiment_of(name)
    assert experiment.submodel.dropout_rate
    run(base, experiment, manifest, tmp_path / "both")
    run(base, experiment, manifest, tmp_path / "ann", only="ann")
    together, alone = (
        tensors(tmp_path / "both", "ann"),
        tensors(tmp_path / "ann", "ann"),
    )
    for key, value in alone.items():
        scale = np.abs(value).max() + 1e-6
        assert np.abs(value - together[key]).max() / scale < 1e-3, key
    assert any(np.any(value) for value in alone.values())
    assert base.fingerprint() == before
    other = tensors(tmp_path / "both", "bob")
    assert any(np.any(other[key] != alone[key]) for key in alone)


def test_below_the_decoder_all_is_computed_once(base, manifest, tmp_path):
    """Sites in the decoder alone leave the whole encoder to the cache."""
    plain = experiment_of("adapter")
    task = run(base, plain, manifest, tmp_path / "plain")
    assert task.first_block == base.num_blocks
    cached = experiment_of("adapter", cache_activations=True)
    run(base, cached, manifest, tmp_path / "cached")
    for key, value in tensors(tmp_path / "plain", "ann").items():
        np.testing.assert_allclose(
            tensors(tmp_path / "cached", "ann")[key], value, atol=1e-5
        )


def test_nowhere_is_refused():
    with pytest.raises(ValueError, match="a Submodel needs sites"):
        dataclasses.replace(tiny.experiment(), adapter=NONE)
