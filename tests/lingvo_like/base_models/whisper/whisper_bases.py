"""Small random Whispers for tests, and the real one where it is installed."""

import functools

import keras
import numpy as np

from lingvo_like.base_models.whisper import (
    architecture,
    huggingface,
    model as whisper,
    packaged,
    tokenizer as whisper_tokenizer,
)

# 3 s of context, so that "full" is cheap.
FRAMES = 300
SAMPLES = 160 * FRAMES
LANGUAGES = ("en", "de", "fr")


def byte_characters():
    """The 256 printable stand-ins of GPT-2's bytes, by byte."""
    table = whisper_tokenizer.byte_of_character()
    return sorted(table, key=table.get)


@functools.cache
def tokenizer(languages=("en",)):
    """A tokenizer of the 256 bytes and three merges."""
    letters = byte_characters()
    merges = [("Ġ", "t"), ("h", "e"), ("Ġt", "he")]
    tokens = letters + ["".join(pair) for pair in merges]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    names = [
        "<|endoftext|>",
        "<|startoftranscript|>",
        *(f"<|{code}|>" for code in languages),
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
    ]
    special = {name: len(tokens) + i for i, name in enumerate(names)}
    return whisper_tokenizer.WhisperTokenizer(vocabulary, merges, special)


def dimensions(**overrides):
    values = {
        "num_bins": 80,
        "model_dim": 16,
        "num_heads": 2,
        "num_blocks": 3,
        "num_decoder_blocks": 3,
        "feed_forward_dim": 32,
        "vocabulary_size": 280,
        "max_source_positions": FRAMES // 2,
        "max_target_positions": 32,
    }
    return architecture.Dimensions(**{**values, **overrides})


def small(
    seed=0,
    scale=0.3,
    max_tokens=8,
    positions=32,
    languages=("en",),
    **kwargs,
):
    """A frozen Whisper with random weights, far from any symmetry."""
    base = whisper.Whisper(
        dimensions(max_target_positions=positions),
        tokenizer(languages),
        max_tokens=max_tokens,
        **kwargs,
    )
    generator = np.random.default_rng(seed)
    for _, weight in sorted(base.named_weights().items()):
        noise = scale * generator.standard_normal(weight.shape)
        centre = 1.0 if weight.name == "gamma" else 0.0
        weight.assign((centre + noise).astype("float32"))
    base.trainable = False
    return base


@functools.cache
def real():
    """tiny.en."""
    return whisper.load(packaged.TINY_EN)


def weights(base):
    return {
        name: keras.ops.convert_to_numpy(weight)
        for name, weight in base.named_weights().items()
    }


def backbone(base):
    """A backbone of KerasHub with a base's dimensions and weights."""
    # Late: it takes seconds to import, and few tests need it.
    import keras_hub

    from lingvo_like.base_models.whisper import kerashub

    dimensions = base.dimensions
    result = keras_hub.models.WhisperBackbone(
        vocabulary_size=dimensions.vocabulary_size,
        num_layers=dimensions.num_blocks,
        num_heads=dimensions.num_heads,
        hidden_dim=dimensions.model_dim,
        intermediate_dim=dimensions.feed_forward_dim,
        max_encoder_sequence_length=2 * dimensions.max_source_positions,
        max_decoder_sequence_length=dimensions.max_target_positions,
    )
    tensors = huggingface.parse(
        huggingface.serialize(weights(base), dimensions)
    )
    for variable in result.weights:
        value = tensors[kerashub.huggingface_name(variable.path)]
        if variable.path.endswith("/kernel"):
            value = value.T
        variable.assign(value.reshape(variable.shape))
    return result


def utterances(lengths, samples, seed=0):
    """Noisy chirps `[batch, samples]`, zero past each length."""
    generator = np.random.default_rng(seed)
    audio = np.zeros((len(lengths), samples), "float32")
    for row, length in enumerate(lengths):
        time = np.arange(length) / 16000.0
        tone = np.sin(2 * np.pi * (200 + 90 * row + 150 * time) * time)
        noise = 0.02 * generator.standard_normal(length)
        audio[row, :length] = 0.3 * tone + noise
    return audio
