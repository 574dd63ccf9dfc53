"""Values that no run could use are refused when they are set."""

import dataclasses
import math

import pytest

from lingvo_like import hyperparams, tensor_file
from params import bases, conformer, jobs, schema
from tasks.asr.data import text


def test_the_choices_are_those_of_what_implements_them():
    assert jobs.SUBMODEL_DTYPES == tuple(tensor_file.DTYPES)
    assert schema.TEXT_NORMALIZERS == (text.AUTO, *text.NORMALIZERS)


@pytest.mark.parametrize(
    "changes, message",
    [
        ("optimizer.epsilon=0", "`optimizer.epsilon` must be at least 1e-30"),
        ("optimizer.decay=exponential", "must be one of constant, linear, cos"),
        ("adapter.bottleneck_dim=0", "`adapter.bottleneck_dim` must be at l"),
        ("submodel.dropout_rate=1.0", "below 1.0. Received: 1.0"),
        ("base.frame_step_ms=0", "`base.frame_step_ms` must be positive"),
        ("base.frame_length_ms=nan", "`base.frame_length_ms` must be a fin"),
        ("base.buckets_seconds=2,1", "at least one length, ascending"),
        ("base.buckets_seconds=0,1", "`base.buckets_seconds` must be positive"),
        ("base.buckets_seconds=()", "at least one length, ascending"),
        ("base.num_heads=3", "a multiple of `base.num_heads`.*: 32 and 3"),
        ("base.upper_edge_hertz=9000", "at most half of `base.sample_rate`"),
        ("adapter.sites=()", "set one of `adapter.sites`, `lora.sites`"),
        ("lora.rank=0", "`lora.rank` must be at least 1. Received: 0"),
        ("lora.alpha=0", "`lora.alpha` must be positive. Received: 0.0"),
        ("rotation.rank=1", "`rotation.rank` must be at least 2. Received: 1"),
        ("base.num_bins=0", "`base.num_bins` must be at least 1"),
        ("base.dropout_rate=1.0", "`base.dropout_rate` must be .* below 1.0"),
        ("base_training.eval_every_steps=0", "must be at least 1. Received: 0"),
        ("base_training.utterances_per_step=0", "`base_training.utterances_pe"),
        ("base_training.clip_norm=-1", "`base_training.clip_norm` must be"),
        ("train.compute_dtype=float16", "must be one of float32, bfloat16"),
        ("train.submodel_dtype=int8", "must be one of float32, float16"),
        ("train.eval_every_steps=0", "`train.eval_every_steps` must be at"),
        ("train.speakers_per_step=0", "`train.speakers_per_step` must be at"),
        ("train.num_steps=-1", "`train.num_steps` must be at least 0"),
        ("text.target_word_error_rate=-1", "must be at least 0.0. Received"),
        (
            "text.normalizer=englisch",
            "auto, none, basic, characters, english, torgo",
        ),
        ("augment.speed_factors=0.9,0", "must be at least 0.1 and at most 10"),
        ("augment.speed_factors=()", "must be at least one factor"),
        ("augment.num_time_masks=-1", "`augment.num_time_masks` must be at"),
        ("train.resident_speakers=1", "`train.speakers_per_step`.*: 1 and 2"),
        (
            "train.cache_activations=true augment.speed_factors=0.9,1.0",
            "needs `augment.speed_factors=1.0`",
        ),
        (
            "train.cache_activations=true augment.num_freq_masks=2",
            "`augment.num_freq_masks=0`",
        ),
        ("space.speaker_encoder=true", "set `space.embedding_dim` too"),
    ],
)
def test_values_that_no_run_could_use_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        hyperparams.override(conformer.Tiny(), changes.split())


@pytest.mark.parametrize(
    "changes, message",
    [
        ("space.embedding_dim=-1", "must be at least 0. Received: -1"),
        ("space.element_dropout_rate=1.0", "below 1.0. Received: 1.0"),
        ("space.normalization=unity", "none, softmax, unit. Received"),
        ("space.initializer=noize", "noise, stack, encoder, space. Received"),
        (
            "space.initializer=stack space.normalization=unit",
            "needs `space.normalization=none`",
        ),
        ("space.initializer=encoder", "needs `space.speaker_encoder=true`"),
        ("space.initial_scale=0", "`space.initial_scale` must be positive"),
        ("train.resident_speakers=4", "applies to slots only"),
    ],
)
def test_a_space_that_no_run_could_use_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        hyperparams.override(conformer.TinyEmbedding(), changes.split())


def test_values_that_are_valid_together_may_be_set_in_any_order():
    changes = ["space.speaker_encoder=true", "space.embedding_dim=4"]
    for order in (changes, changes[::-1]):
        space = hyperparams.override(conformer.Tiny(), order).space
        assert space.speaker_encoder and space.embedding_dim == 4


def test_classes_refuse_values_however_they_are_made():
    with pytest.raises(ValueError, match="`optimizer.beta_1` must be"):
        jobs.Optimizer(beta_1=math.nan)
    with pytest.raises(ValueError, match="`train.patience` must be at least"):
        dataclasses.replace(jobs.Train(), patience=-1)
    with pytest.raises(ValueError, match="`num_steps` must be at least 1"):
        bases.ContextShortening(num_steps=0)
    values = hyperparams.to_dict(schema.Experiment())
    values["base"]["audio_context"] = "long"
    with pytest.raises(ValueError, match="must be one of full, short"):
        hyperparams.from_dict(schema.Experiment(), values)
