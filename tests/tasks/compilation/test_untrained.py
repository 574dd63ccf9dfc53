"""Base models that were never trained, to compile with."""

import pytest

from lingvo_like.base_models import conformer_ctc
from lingvo_like.base_models.whisper import model as whisper
from params import bases, conformer, registry
from tasks.compilation import untrained


def test_a_whisper_has_the_published_size():
    # 37.18 million in tiny.en with its output embedding, which is its input
    # embedding; so says openai/whisper's own count.
    values = bases.Whisper(audio_context="full")
    base = untrained.make(values, "tiny.en")
    assert isinstance(base, whisper.Whisper)
    assert not base.trainable
    assert base.count_params() == pytest.approx(37.8e6, rel=0.02)
    assert base.max_samples == 30 * 16000


@pytest.mark.parametrize(
    "size, expected",
    [
        ("tiny.en", (384, 4, 4, 80, 51864)),
        ("small", (768, 12, 12, 80, 51865)),
        ("large-v3", (1280, 32, 32, 128, 51866)),
        ("large-v3-turbo", (1280, 32, 4, 128, 51866)),
    ],
)
def test_published_dimensions(size, expected):
    dimensions = untrained.whisper_dimensions(size)
    assert expected == (
        dimensions.model_dim,
        dimensions.num_blocks,
        dimensions.num_decoder_blocks,
        dimensions.num_bins,
        dimensions.vocabulary_size,
    )


def test_an_unknown_size_lists_near_ones():
    with pytest.raises(ValueError, match="Did you mean.*tiny"):
        untrained.whisper_dimensions("tinny")


def test_a_conformer_is_the_experiments():
    values = conformer.Tiny().base
    base = untrained.make(values, "")
    assert isinstance(base, conformer_ctc.ConformerCtc)
    assert base.model_dim == values.model_dim
    assert not base.trainable


@pytest.mark.slow
def test_conformer_l_has_the_papers_118_million_parameters():
    # Gulati et al. 2020, table 1, with its decoder; here a CTC head.
    experiment = registry.get("conformer.LibriSpeechL128")
    base = untrained.make(experiment.base, "", experiment.train.compute_dtype)
    assert base.num_blocks == 17
    assert base.compute_dtype == "bfloat16"
    assert base.model_dim == 512
    assert base.count_params() == pytest.approx(118e6, rel=0.05)
    assert 16 * experiment.train.speakers_per_step == 128
    assert experiment.adapter.bottleneck_dim == 64
    assert base.max_samples == 30 * base.sample_rate


def test_a_path_is_read():
    message = "/nowhere: the base model is not there"
    with pytest.raises(ValueError, match=message):
        untrained.load_or_make(bases.Whisper(), "/nowhere", "tiny.en")
