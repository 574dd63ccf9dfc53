"""Whisper's weights in Hugging Face's safetensors layout, both ways."""

import dataclasses
import json
from collections import abc
from typing import Any

import numpy as np
import safetensors.numpy

from lingvo_like import foreign_tensors
from lingvo_like.base_models.whisper import (
    architecture,
    frontend,
    tokenizer as whisper_tokenizer,
)

# By field of `Dimensions`, the key in config.json.
CONFIG_KEYS = {
    "num_bins": "num_mel_bins",
    "model_dim": "d_model",
    "num_heads": "encoder_attention_heads",
    "num_blocks": "encoder_layers",
    "num_decoder_blocks": "decoder_layers",
    "feed_forward_dim": "encoder_ffn_dim",
    "vocabulary_size": "vocab_size",
    "max_source_positions": "max_source_positions",
    "max_target_positions": "max_target_positions",
}
# By key of config.json, the only value whose function is computed here, which
# is also the value where the key is missing.
_FUNCTION = {
    "activation_function": "gelu",
    "is_encoder_decoder": True,
    "scale_embedding": False,
    "tie_word_embeddings": True,
    "quantization_config": None,
}
# The same of preprocessor_config.json.
_FRONTEND = {
    "feature_extractor_type": "WhisperFeatureExtractor",
    "hop_length": frontend.STEP_SAMPLES,
    "n_fft": frontend.WINDOW_SAMPLES,
    "sampling_rate": frontend.SAMPLE_RATE,
    "dither": 0.0,
    "padding_value": 0.0,
}
_TOKENS = "decoder.embed_tokens.weight"
# A copy of the token embeddings, in files that write tied weights twice.
_OUTPUT = "proj_out.weight"


def dimensions_from_config(
    config: dict[str, Any],
) -> architecture.Dimensions:
    """`Dimensions` from the contents of a config.json.

    Raises:
        ValueError: the model is no Whisper, a value is missing or unusable, or
            one stands for a function that is not computed here.
    """
    if config.get("model_type") != "whisper":
        raise ValueError(
            f"its model_type is {config.get('model_type')!r}, not 'whisper'"
        )
    _check_function(config, _FUNCTION)
    values = {}
    for field, key in CONFIG_KEYS.items():
        value = config.get(key)
        if not isinstance(value, int) or value < 1:
            raise ValueError(
                f"{key!r} must be a positive integer. Received: {value!r}."
            )
        values[field] = value
    for key, field in (
        ("decoder_attention_heads", "num_heads"),
        ("decoder_ffn_dim", "feed_forward_dim"),
    ):
        if config.get(key, values[field]) != values[field]:
            raise ValueError(
                f"{key!r} must equal the encoder's, {values[field]}. Received: "
                f"{config[key]!r}."
            )
    return architecture.Dimensions(**values)


def check_frontend(
    config: dict[str, Any], dimensions: architecture.Dimensions
) -> None:
    """Raises a ValueError if a preprocessor_config.json makes other features.

    Args:
        config: its contents.
    """
    expected = _FRONTEND | {"feature_size": dimensions.num_bins}
    _check_function(config, expected)


def _check_function(config, expected):
    for key, value in expected.items():
        if config.get(key, value) != value:
            raise ValueError(
                f"{key!r} must be {value!r}, as Whisper has it. Received: "
                f"{config[key]!r}; another function cannot be computed here"
            )


def config_from_dimensions(
    dimensions: architecture.Dimensions,
    tokenizer: whisper_tokenizer.WhisperTokenizer,
) -> dict[str, Any]:
    """The contents of a config.json that `transformers` reads."""
    values = dataclasses.asdict(dimensions)
    end = tokenizer.end_of_text
    return {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "activation_function": "gelu",
        "is_encoder_decoder": True,
        "torch_dtype": "float32",
        **{key: values[field] for field, key in CONFIG_KEYS.items()},
        "decoder_attention_heads": dimensions.num_heads,
        "decoder_ffn_dim": dimensions.feed_forward_dim,
        "num_hidden_layers": dimensions.num_blocks,
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": tokenizer.prompts[0][0],
        "suppress_tokens": tokenizer.suppressed,
        "begin_suppress_tokens": tokenizer.suppressed_first,
    }


def _sources(dimensions: architecture.Dimensions) -> dict[str, list[str]]:
    """By our name, the tensors there; several lie side by side in ours."""
    sources = {
        "encoder/positions": ["encoder.embed_positions.weight"],
        "decoder/positions": ["decoder.embed_positions.weight"],
        "decoder/tokens": [_TOKENS],
    }

    def add(name: str, source: str, first: str, second: str) -> None:
        sources[f"{name}{first}"] = [f"{source}.weight"]
        sources[f"{name}{second}"] = [f"{source}.bias"]

    def add_norm(name: str, source: str) -> None:
        add(name, source, "/gamma", "/beta")

    def add_dense(name: str, source: str) -> None:
        add(name, source, "_kernel", "_bias")

    def add_joint(name: str, source: str, parts: str) -> None:
        sources[f"{name}_kernel"] = [
            f"{source}.{part}_proj.weight" for part in parts
        ]

    add_dense("encoder/convolution_1", "encoder.conv1")
    add_dense("encoder/convolution_2", "encoder.conv2")
    for side, num_blocks in (
        ("encoder", dimensions.num_blocks),
        ("decoder", dimensions.num_decoder_blocks),
    ):
        add_norm(f"{side}/norm", f"{side}.layer_norm")
        for i in range(num_blocks):
            name, source = f"{side}/block_{i}", f"{side}.layers.{i}"
            own, cross = f"{source}.self_attn", f"{source}.encoder_attn"
            add_norm(f"{name}/attention_norm", f"{own}_layer_norm")
            add_joint(f"{name}/query_key_value", own, "qkv")
            sources[f"{name}/query_bias"] = [f"{own}.q_proj.bias"]
            sources[f"{name}/value_bias"] = [f"{own}.v_proj.bias"]
            add_dense(f"{name}/output", f"{own}.out_proj")
            if side == "decoder":
                add_norm(f"{name}/source_norm", f"{cross}_layer_norm")
                add_dense(f"{name}/source_query", f"{cross}.q_proj")
                add_joint(f"{name}/source_key_value", cross, "kv")
                sources[f"{name}/source_value_bias"] = [f"{cross}.v_proj.bias"]
                add_dense(f"{name}/source_output", f"{cross}.out_proj")
            add_norm(f"{name}/feed_forward_norm", f"{source}.final_layer_norm")
            add_dense(f"{name}/expand", f"{source}.fc1")
            add_dense(f"{name}/contract", f"{source}.fc2")
    return sources


def parse(data: bytes) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, float32, without "model." prefixes.

    Raises:
        ValueError: as `foreign_tensors.parse`.
    """
    return {
        name.removeprefix("model."): value
        for name, value in foreign_tensors.parse(data).items()
    }


def weights_from_tensors(
    tensors: abc.Mapping[str, np.ndarray],
    dimensions: architecture.Dimensions,
) -> dict[str, np.ndarray]:
    """Our weights from Hugging Face's; a ValueError if these do not fit."""
    weights, by_name = {}, _sources(dimensions)
    _check_nothing_more(tensors, by_name.values())
    for name, sources in by_name.items():
        for source in sources:
            if source not in tensors:
                raise ValueError(f"it has no tensor 'model.{source}'")
        parts = [tensors[source] for source in sources]
        if name.endswith("_kernel"):
            # Theirs have the output first, ours the input.
            rank = 3 if "convolution" in name else 2
            for source, part in zip(sources, parts, strict=True):
                if part.ndim != rank:
                    raise ValueError(
                        f"'model.{source}' has the shape {part.shape}"
                    )
            parts = [part.T for part in parts]
        weights[name] = (
            np.concatenate(parts, axis=-1) if parts[1:] else parts[0]
        )
    return weights


def _check_nothing_more(tensors, sources):
    """Refuses tensors that would be left out, such as those of LoRA."""
    known = {source for each in sources for source in each}
    unknown = sorted(set(tensors) - known - {_OUTPUT})
    if unknown:
        raise ValueError(
            f"it has {len(unknown)} tensors that Whisper lacks, such as "
            f"'model.{unknown[0]}'; merge adapters into the weights first"
        )
    tied = tensors.get(_TOKENS)
    if _OUTPUT in tensors and not np.array_equal(tensors[_OUTPUT], tied):
        raise ValueError(
            f"its {_OUTPUT!r} is not tied to the token embeddings, as Whisper "
            "has it; another function cannot be computed here"
        )


def serialize(
    weights: abc.Mapping[str, np.ndarray],
    dimensions: architecture.Dimensions,
) -> bytes:
    """The bytes of a model.safetensors with our weights, float32."""
    tensors = {}
    for name, sources in _sources(dimensions).items():
        value = np.asarray(weights[name], np.float32)
        parts = np.split(value, len(sources), axis=-1)
        for source, part in zip(sources, parts, strict=True):
            part = part.T if name.endswith("_kernel") else part
            tensors[f"model.{source}"] = np.ascontiguousarray(part)
    return safetensors.numpy.save(tensors, metadata={"format": "pt"})


def shards(index_text: bytes) -> list[str]:
    """The file names of a model.safetensors.index.json, sorted.

    Raises:
        ValueError: it names no files, or one outside its folder.
    """
    index = json.loads(index_text)
    names = sorted(set(index.get("weight_map", {}).values()))
    if not names or any("/" in name or "\\" in name for name in names):
        raise ValueError("its 'weight_map' must name files of its own folder")
    return names
