"""Sites have the names of the modules that Hugging Face's Whisper has there."""

import numpy as np

from lingvo_like.base_models.whisper import (
    huggingface,
    huggingface_modules,
)
from tests.lingvo_like.base_models.whisper import whisper_bases


def test_every_projection_is_the_module_that_has_its_kernel():
    base = whisper_bases.small()
    modules = huggingface_modules.by_site(base.sites)
    projections = [s.name for s in base.sites.values() if s.is_projection]
    assert list(modules) == projections
    tensors = huggingface.parse(
        huggingface.serialize(whisper_bases.weights(base), base.dimensions)
    )
    for site, module in modules.items():
        theirs = tensors[f"{module.removeprefix('model.')}.weight"]
        np.testing.assert_array_equal(theirs.T, base.kernel(site))


def test_layers_have_no_leading_zeros():
    site = "decoder/block_02/source_attention/output"
    assert huggingface_modules.by_site([site]) == {
        site: "model.decoder.layers.2.encoder_attn.out_proj"
    }
    site = "encoder/block_10/feed_forward/contract"
    assert huggingface_modules.by_site([site]) == {
        site: "model.encoder.layers.10.fc2"
    }
