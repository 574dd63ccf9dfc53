"""Whisper's weights in Hugging Face's safetensors layout, both ways."""

import dataclasses
import json

import numpy as np
import safetensors
import safetensors.numpy

from lingvo_like.base_models.whisper import layers as whisper_layers

# Our field of `Dimensions` -> the key in config.json.
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
_TYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16}


def dimensions_from_config(config):
    """`Dimensions` from the dict of a config.json.

    Raises:
        ValueError: it is no Whisper's, or a key is missing or no integer.
    """
    if config.get("model_type") != "whisper":
        raise ValueError(
            f"its model_type is {config.get('model_type')!r}, not 'whisper'"
        )
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
    return whisper_layers.Dimensions(**values)


def config_from_dimensions(dimensions, tokenizer):
    """The dict of a config.json that `transformers` reads."""
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
        "decoder_start_token_id": tokenizer.prompt[0],
        "suppress_tokens": tokenizer.suppressed,
        "begin_suppress_tokens": tokenizer.suppressed_first,
    }


def _dense(name, source):
    return {
        f"{name}_kernel": ("dense", [f"{source}.weight"]),
        f"{name}_bias": ("same", [f"{source}.bias"]),
    }


def _norm(name, source):
    return {
        f"{name}/gamma": ("same", [f"{source}.weight"]),
        f"{name}/beta": ("same", [f"{source}.bias"]),
    }


def _block(name, source, decoder):
    own = f"{source}.self_attn"
    table = {
        **_norm(f"{name}/attention_norm", f"{own}_layer_norm"),
        f"{name}/query_key_value_kernel": (
            "dense",
            [f"{own}.{part}_proj.weight" for part in "qkv"],
        ),
        f"{name}/query_bias": ("same", [f"{own}.q_proj.bias"]),
        f"{name}/value_bias": ("same", [f"{own}.v_proj.bias"]),
        **_dense(f"{name}/output", f"{own}.out_proj"),
        **_norm(f"{name}/feed_forward_norm", f"{source}.final_layer_norm"),
        **_dense(f"{name}/expand", f"{source}.fc1"),
        **_dense(f"{name}/contract", f"{source}.fc2"),
    }
    if decoder:
        cross = f"{source}.encoder_attn"
        table |= {
            **_norm(f"{name}/source_norm", f"{cross}_layer_norm"),
            **_dense(f"{name}/source_query", f"{cross}.q_proj"),
            f"{name}/source_key_value_kernel": (
                "dense",
                [f"{cross}.{part}_proj.weight" for part in "kv"],
            ),
            f"{name}/source_value_bias": ("same", [f"{cross}.v_proj.bias"]),
            **_dense(f"{name}/source_output", f"{cross}.out_proj"),
        }
    return table


def layout(dimensions):
    """Our name -> (how, names there): "same", "dense" or "convolution".

    A dense kernel is transposed; several of them lie side by side in ours.
    """
    table = {
        "encoder/positions": ("same", ["encoder.embed_positions.weight"]),
        "decoder/positions": ("same", ["decoder.embed_positions.weight"]),
        "decoder/tokens": ("same", ["decoder.embed_tokens.weight"]),
        **_norm("encoder/norm", "encoder.layer_norm"),
        **_norm("decoder/norm", "decoder.layer_norm"),
    }
    for i in (1, 2):
        table[f"encoder/convolution_{i}_kernel"] = (
            "convolution",
            [f"encoder.conv{i}.weight"],
        )
        table[f"encoder/convolution_{i}_bias"] = (
            "same",
            [f"encoder.conv{i}.bias"],
        )
    for side, num_blocks in (
        ("encoder", dimensions.num_blocks),
        ("decoder", dimensions.num_decoder_blocks),
    ):
        for i in range(num_blocks):
            table |= _block(
                f"{side}/block_{i}", f"{side}.layers.{i}", side == "decoder"
            )
    return table


def parse(data):
    """The tensors of a safetensors file, float32, without "model." prefixes.

    Raises:
        ValueError: the bytes are damaged or truncated.
    """
    try:
        entries = safetensors.deserialize(data)
    except safetensors.SafetensorError as error:
        raise ValueError(f"truncated or damaged: {error}") from error
    tensors = {}
    for name, entry in entries:
        raw, kind = entry["data"], entry["dtype"]
        if kind == "BF16":
            value = np.frombuffer(raw, np.uint16).astype(np.uint32) << 16
            value = value.view(np.float32)
        elif kind in _TYPES:
            value = np.frombuffer(raw, _TYPES[kind])
            value = value.astype(np.float32, copy=False)
        else:
            raise ValueError(f"{name!r} has the type {kind}; expected floats")
        tensors[name.removeprefix("model.")] = value.reshape(entry["shape"])
    return tensors


def weights_from_tensors(tensors, dimensions):
    """Our weights from Hugging Face's.

    Raises:
        ValueError: a tensor is missing or has the wrong number of axes.
    """
    weights = {}
    for name, (how, sources) in layout(dimensions).items():
        for source in sources:
            if source not in tensors:
                raise ValueError(f"it has no tensor 'model.{source}'")
        parts = [tensors[source] for source in sources]
        rank = 3 if how == "convolution" else parts[0].ndim
        if parts[0].ndim != rank or (how == "dense" and rank != 2):
            raise ValueError(
                f"'model.{sources[0]}' has the shape {parts[0].shape}"
            )
        if how == "dense":
            weights[name] = np.concatenate([part.T for part in parts], axis=1)
        elif how == "convolution":
            weights[name] = parts[0].transpose(2, 1, 0)
        else:
            weights[name] = parts[0]
    return weights


def serialize(weights, dimensions):
    """The bytes of a model.safetensors with our weights, float32."""
    tensors = {}
    for name, (how, sources) in layout(dimensions).items():
        value = np.asarray(weights[name], np.float32)
        if how == "dense":
            parts = [x.T for x in np.split(value, len(sources), axis=1)]
        elif how == "convolution":
            parts = [value.transpose(2, 1, 0)]
        else:
            parts = [value]
        for source, part in zip(sources, parts, strict=True):
            tensors[f"model.{source}"] = np.ascontiguousarray(part)
    return safetensors.numpy.save(tensors, metadata={"format": "pt"})


def shards(index_text):
    """The file names of a model.safetensors.index.json, sorted.

    Raises:
        ValueError: it names no files, or one outside its folder.
    """
    index = json.loads(index_text)
    names = sorted(set(index.get("weight_map", {}).values()))
    if not names or any("/" in name or "\\" in name for name in names):
        raise ValueError("its 'weight_map' must name files of its own folder")
    return names
