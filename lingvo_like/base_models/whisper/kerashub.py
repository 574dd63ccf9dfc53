"""Whisper's weights between KerasHub's backbone and the project's layers."""

import keras_hub
import numpy as np

from lingvo_like.base_models.whisper import layers as whisper_layers
from lingvo_like.base_models.whisper import tokenizer as whisper_tokenizer


def read(preset, language="en"):
    """Reads a preset.

    Args:
        preset: a directory, a name such as "whisper_tiny_en", or a handle
            such as "kaggle://..." or "hf://...".
        language: as `WhisperTokenizer` takes it.

    Returns:
        `whisper_layers.Dimensions`, weights by our names, the tokenizer.
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
        language,
    )
    return dimensions_of(backbone), weights_of(backbone), tokenizer


def dimensions_of(backbone):
    """The `Dimensions` of a `keras_hub.models.WhisperBackbone`."""
    return whisper_layers.Dimensions(
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


def variables_of(backbone):
    """Where our weights lie in the backbone.

    Returns:
        dict of our name to a list of variables: more than one lie side by
        side in ours, and those with heads are flattened.
    """
    encoder_table = backbone.encoder_position_embedding.position_embeddings
    embeddings = backbone.decoder_embeddings
    table = {
        "encoder/positions": [encoder_table],
        "decoder/positions": [
            embeddings.position_embedding.position_embeddings
        ],
        "decoder/tokens": [backbone.token_embedding.embeddings],
        **_norm("encoder/norm", backbone.encoder_layer_norm),
        **_norm("decoder/norm", backbone.decoder_layer_norm),
        **_dense("encoder/convolution_1", backbone.encoder_conv_layer_1),
        **_dense("encoder/convolution_2", backbone.encoder_conv_layer_2),
    }
    for i, layer in enumerate(backbone.encoder_transformer_layers):
        table |= _block(f"encoder/block_{i}", layer)
    for i, layer in enumerate(backbone.decoder_transformer_layers):
        name = f"decoder/block_{i}"
        cross = layer._cross_attention_layer
        table |= {
            **_block(name, layer),
            **_norm(f"{name}/source_norm", layer._cross_attention_layer_norm),
            **_dense(f"{name}/source_query", cross._query_dense),
            f"{name}/source_key_value_kernel": [
                cross._key_dense.kernel,
                cross._value_dense.kernel,
            ],
            f"{name}/source_value_bias": [cross._value_dense.bias],
            **_dense(f"{name}/source_output", cross._output_dense),
        }
    return table


def weights_of(backbone):
    """Our weights from a backbone's, as arrays."""
    weights = {}
    for name, variables in variables_of(backbone).items():
        parts = [
            _flat(name, np.asarray(variable.numpy(), np.float32))
            for variable in variables
        ]
        weights[name] = np.concatenate(parts, -1) if parts[1:] else parts[0]
    return weights


def fill(backbone, weights):
    """Assigns our weights, arrays by our names, to a backbone."""
    for name, variables in variables_of(backbone).items():
        parts = np.split(weights[name], len(variables), axis=-1)
        for variable, part in zip(variables, parts, strict=True):
            variable.assign(part.reshape(variable.shape))


def _flat(name, value):
    """Heads beside their width: `[d, heads, head_dim]` and the reverse."""
    if "convolution" in name or value.ndim < 2:
        return value
    if name.endswith("_bias"):
        return value.reshape(-1)
    if name.endswith("output_kernel"):
        return value.reshape(-1, value.shape[-1])
    return value.reshape(value.shape[0], -1)


def _norm(name, layer):
    return {f"{name}/gamma": [layer.gamma], f"{name}/beta": [layer.beta]}


def _dense(name, layer):
    return {f"{name}_kernel": [layer.kernel], f"{name}_bias": [layer.bias]}


def _block(name, layer):
    # KerasHub has no public names for a block's parts.
    attention = layer._self_attention_layer
    return {
        **_norm(f"{name}/attention_norm", layer._self_attention_layer_norm),
        f"{name}/query_key_value_kernel": [
            attention._query_dense.kernel,
            attention._key_dense.kernel,
            attention._value_dense.kernel,
        ],
        f"{name}/query_bias": [attention._query_dense.bias],
        f"{name}/value_bias": [attention._value_dense.bias],
        **_dense(f"{name}/output", attention._output_dense),
        **_norm(f"{name}/feed_forward_norm", layer._feedforward_layer_norm),
        **_dense(f"{name}/expand", layer._feedforward_intermediate_dense),
        **_dense(f"{name}/contract", layer._feedforward_output_dense),
    }
