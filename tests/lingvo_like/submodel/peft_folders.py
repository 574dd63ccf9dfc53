"""LoRA Submodels on a small Whisper, and what it computes with them."""

import json

import numpy as np
import safetensors.numpy
from keras import ops

from lingvo_like.base_models.whisper import frontend, huggingface_modules
from lingvo_like.layers import sites as sites_lib
from lingvo_like.submodel import (
    file as submodel_file,
    layout as submodel_layout,
    peft,
    sites as submodel_sites,
)
from lingvo_like.submodel.kinds import lora
from tests.lingvo_like.base_models.whisper import whisper_bases

TOKENS = np.array([[260, 12, 40, 7], [260, 99, 3, 101]], "int32")


def layout(base):
    """Ranks and alphas that differ, at all kinds of projections."""

    def part(rank, alpha, *patterns):
        sites = submodel_layout.matching_sites(base.sites, patterns)
        return submodel_layout.Part(lora.Lora(rank, alpha), sites)

    return submodel_layout.Layout(
        (
            part(2, 5.0, "encoder/*/attention/*", "encoder/*/*/expand"),
            part(3, 4.5, "decoder/*/*/query", "decoder/*/*/key"),
            part(2, 7.0, "decoder/*/*/value", "decoder/*/*/output"),
            part(1, 2.0, "decoder/*/*/expand", "*/block_01/*/contract"),
        )
    )


def submodel(base, of_layout=None, seed=0, scale=0.2, **fields):
    """A Submodel of random values, far from the identity."""
    of_layout = of_layout or layout(base)
    draw = np.random.default_rng(seed)
    return submodel_file.create(
        of_layout,
        {
            name: (scale * draw.standard_normal(shape)).astype("float32")
            for name, shape in of_layout.shapes.items()
        },
        base_fingerprint=base.fingerprint(),
        **{
            "speaker": "F01",
            "base_description": base.description(),
            **fields,
        },
    )


def modules(base):
    return huggingface_modules.by_site(base.sites)


def inputs(base):
    """Features, paddings and tokens of two utterances."""
    lengths = np.array([40000, 48000], "int32")
    audio = whisper_bases.utterances(lengths, base.max_samples)
    features, paddings = base.features(audio, lengths)
    silent = frontend.fill_with_silence(features, paddings)
    return np.asarray(silent), np.zeros_like(paddings), TOKENS


def logits(base, made=None):
    """`[2, 4, vocabulary]`, of the base model or of a Submodel on it."""
    functions = sites_lib.NONE
    if made is not None:
        weights = {name: value[None] for name, value in made.tensors.items()}
        functions = submodel_sites.site_functions(made.layout, weights)
    features, paddings, tokens = inputs(base)
    encoded, _ = base.encode(features, paddings, functions)
    hidden = base.decoder.hidden_states(tokens, encoded, functions)
    return ops.convert_to_numpy(base.decoder.logits(hidden))


def write(folder, contents):
    folder.mkdir(exist_ok=True)
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return folder


def change_config(folder, **changes):
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(config))


def change_tensors(folder, change):
    """Writes what `change` makes of the tensors by name."""
    path = folder / "adapter_model.safetensors"
    tensors = safetensors.numpy.load(path.read_bytes())
    path.write_bytes(safetensors.numpy.save(change(tensors)))


def read(folder, base):
    return peft.read(folder, base.sites, modules(base))


def queries(base, rank=2, alpha=4.0):
    """A layout of two sites."""
    sites = submodel_layout.matching_sites(
        base.sites, ["encoder/block_0[01]/attention/query"]
    )
    part = submodel_layout.Part(lora.Lora(rank, alpha), sites)
    return submodel_layout.Layout((part,))


def of_queries(base, tmp_path, **changes):
    """A folder whose configuration is another one than was written."""
    made = submodel(base, queries(base))
    contents = peft.to_files(made, modules(base))
    folder = write(tmp_path / "queries", contents)
    change_config(folder, **changes)
    return folder
