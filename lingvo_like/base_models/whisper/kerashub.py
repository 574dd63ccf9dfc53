"""Whisper's weights from KerasHub presets, by way of Hugging Face's names."""

import re

import keras_hub
import numpy as np

from lingvo_like.base_models.whisper import (
    architecture,
    huggingface,
    tokenizer as whisper_tokenizer,
)

# Patterns of KerasHub's variable paths, and Hugging Face's names for them.
_NAMES = (
    (r"transformer_(en|de)coder_layer_(\d+)", r"\1coder.layers.\2"),
    (r"(en|de)coder_layer_norm", r"\1coder.layer_norm"),
    (r"encoder_token_embedding_conv_layer_", "encoder.conv"),
    (r"encoder_position_embedding", "encoder.embed_positions"),
    (r"decoder_token_and_position_embedding/token_embedding",
     "decoder.embed_tokens"),
    (r"decoder_token_and_position_embedding/position_embedding",
     "decoder.embed_positions"),
    (r"self_attention(_layer)?(?=/)", "self_attn"),
    (r"self_attention_layer_norm", "self_attn_layer_norm"),
    (r"cross_attention", "encoder_attn"),
    (r"feedforward_layer_norm", "final_layer_norm"),
    (r"feedforward_intermediate_dense", "fc1"),
    (r"feedforward_output_dense", "fc2"),
    (r"(?<=attn/)([qkv])(uery|ey|alue)", r"\1_proj"),
    (r"attention_output", "out_proj"),
    (r"(kernel|gamma|embeddings)$", "weight"),
    (r"beta$", "bias"),
    (r"/", "."),
)  # fmt: skip


def read(
    preset: str,
) -> tuple[
    architecture.Dimensions,
    dict[str, np.ndarray],
    whisper_tokenizer.WhisperTokenizer,
]:
    """Reads a preset: its dimensions, weights by our names, and tokenizer.

    A preset is a directory, a name such as "whisper_tiny_en", or a handle such
    as "kaggle://..." or "hf://...".
    """
    backbone = keras_hub.models.WhisperBackbone.from_preset(
        preset, dtype="float32"
    )
    source = keras_hub.tokenizers.WhisperTokenizer.from_preset(preset)
    config = source.get_config()
    tokenizer = whisper_tokenizer.from_vocabulary(
        source.vocabulary,
        source.merges,
        {**config["special_tokens"], **(config["language_tokens"] or {})},
    )
    dimensions = architecture.Dimensions(
        num_bins=backbone.num_mels,
        model_dim=backbone.hidden_dim,
        num_heads=backbone.num_heads,
        num_blocks=backbone.num_layers,
        num_decoder_blocks=backbone.num_layers,
        feed_forward_dim=backbone.intermediate_dim,
        vocabulary_size=backbone.vocabulary_size,
        max_source_positions=backbone.max_encoder_sequence_length // 2,
        max_target_positions=backbone.max_decoder_sequence_length,
    )
    tensors = {
        huggingface_name(variable.path): _tensor(
            variable.path, variable.numpy()
        )
        for variable in backbone.weights
    }
    weights = huggingface.weights_from_tensors(tensors, dimensions)
    return dimensions, weights, tokenizer


def huggingface_name(path: str) -> str:
    """Hugging Face's name of the tensor at a path of KerasHub's backbone."""
    for pattern, replacement in _NAMES:
        path = re.sub(pattern, replacement, path)
    return path


def _tensor(path, value):
    """A variable's value as Hugging Face lays it out: no axis of heads."""
    value = np.asarray(value, np.float32)
    if path.endswith("/bias"):
        return value.reshape(-1)
    if not path.endswith("/kernel"):
        return value
    if path.endswith("attention_output/kernel"):
        value = value.reshape(-1, value.shape[-1])
    elif "attention" in path:
        value = value.reshape(value.shape[0], -1)
    return value.T
