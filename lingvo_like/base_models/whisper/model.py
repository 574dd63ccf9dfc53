"""Whisper (Radford et al. 2022, arXiv 2212.04356) as a frozen base model."""

import dataclasses

import numpy as np
from keras import ops

from lingvo_like import paddings as paddings_lib
from lingvo_like.base_models import base_model
from lingvo_like.base_models.whisper import checkpoints as whisper_checkpoints
from lingvo_like.base_models.whisper import decoding as whisper_decoding
from lingvo_like.base_models.whisper import frontend as whisper_frontend
from lingvo_like.base_models.whisper import layers as whisper_layers
from lingvo_like.layers import transformer

AUDIO_CONTEXTS = ("full", "short")
DEFAULT_TAIL_SECONDS = 0.5


class Whisper(base_model.BaseModel):
    """A Whisper of any size, for adapters after any of its encoder blocks.

    It attends to silence, so nothing is masked in the encoder: padded frames
    hold exactly what silence gives. An utterance's result depends on how much
    silence follows it, that is on the length it is padded to.

    Args:
        dimensions: `whisper_layers.Dimensions`.
        tokenizer: `whisper_tokenizer.WhisperTokenizer`.
        audio_context: "full" pads every utterance to the 30 s that Whisper
            was trained on; "short" pads to the utterance and a tail, rounded
            up to a second, which needs weights tuned to it.
        max_tokens: int, most tokens of one transcript.
        tail_seconds: float, least silence after an utterance of a short
            context.
    """

    def __init__(
        self,
        dimensions,
        tokenizer,
        audio_context="full",
        max_tokens=64,
        tail_seconds=DEFAULT_TAIL_SECONDS,
        **kwargs,
    ):
        kwargs.setdefault("name", "whisper")
        super().__init__(**kwargs)
        if audio_context not in AUDIO_CONTEXTS:
            raise ValueError(
                f"`audio_context` must be one of {AUDIO_CONTEXTS}. Received: "
                f"{audio_context!r}."
            )
        room = dimensions.max_target_positions - len(tokenizer.prompt)
        if not 1 <= max_tokens <= room:
            raise ValueError(
                f"`max_tokens` must be from 1 to {room}. Received: "
                f"{max_tokens}."
            )
        self.dimensions = dimensions
        self.tokenizer = tokenizer
        self.audio_context = audio_context
        self.tail_seconds = tail_seconds
        self.model_dim = dimensions.model_dim
        self.num_blocks = dimensions.num_blocks
        self.sample_rate = whisper_frontend.SAMPLE_RATE
        # Each encoder frame is two frames of the frontend.
        self.max_samples = (
            2 * whisper_frontend.STEP_SAMPLES * dimensions.max_source_positions
        )
        self.max_tokens = max_tokens
        self.encoder = whisper_layers.Encoder(
            dimensions, dtype=self.dtype_policy, name="encoder"
        )
        self.decoder = whisper_layers.Decoder(
            dimensions, dtype=self.dtype_policy, name="decoder"
        )
        self.encoder.build()
        self.decoder.build()
        self.built = True
        self._filters = whisper_frontend.mel_filters(dimensions.num_bins)
        self._rules = whisper_decoding.Rules(
            tokenizer, dimensions.vocabulary_size
        )

    def bucket_samples(self, num_samples):
        if num_samples > self.max_samples:
            raise ValueError(
                f"an utterance of {num_samples / self.sample_rate:.2f} s is "
                "longer than the "
                f"{self.max_samples / self.sample_rate:.0f} s that Whisper "
                "takes; cut it"
            )
        if self.audio_context == "full":
            return self.max_samples
        tail = round(self.tail_seconds * self.sample_rate)
        seconds = -(-(num_samples + tail) // self.sample_rate)
        return min(seconds * self.sample_rate, self.max_samples)

    def features(self, audio, lengths):
        return whisper_frontend.log_mel(audio, lengths, self._filters)

    def lower(self, features, paddings, num_blocks):
        features = whisper_frontend.fill_with_silence(features, paddings)
        x = self.encoder.subsample(features)
        for block in self.encoder.blocks[:num_blocks]:
            x = block(x)
        return x, paddings[:, ::2]

    def upper(self, activations, paddings, first_block, adapters):
        x = activations
        if first_block > 0 and first_block - 1 in adapters:
            x = adapters[first_block - 1](x)
        for i in range(first_block, self.num_blocks):
            x = self.encoder.blocks[i](x)
            if i in adapters:
                x = adapters[i](x)
        return self.encoder.norm(x)

    def loss(self, encoded, paddings, tokens, token_lengths):
        """Cross entropy of the tokens and of the end of the text.

        The mean over an utterance's own tokens, teacher-forced on the frozen
        decoder. `tokens` may be cut to any static length that holds the
        longest transcript of the batch: the cost grows with it, the result
        does not change.
        """
        prompt = self.tokenizer.prompt
        batch, max_tokens = ops.shape(encoded)[0], tokens.shape[1]
        token_lengths = ops.cast(token_lengths, "int32")
        valid = paddings_lib.to_mask(
            paddings_lib.from_lengths(token_lengths, max_tokens)
        )
        end = self.tokenizer.end_of_text
        tokens = ops.where(valid, ops.cast(tokens, "int32"), end)
        start = ops.broadcast_to(
            ops.convert_to_tensor(np.array([prompt]), "int32"),
            (batch, len(prompt)),
        )
        x = self.decoder.hidden_states(
            ops.concatenate([start, tokens], axis=1), encoded
        )
        logits = self.decoder.logits(x[:, len(prompt) - 1 :])
        labels = ops.pad(tokens, ((0, 0), (0, 1)), constant_values=end)
        entropy = ops.sparse_categorical_crossentropy(
            labels, logits, from_logits=True
        )
        entropy = paddings_lib.zero_padded(
            entropy,
            paddings_lib.from_lengths(token_lengths + 1, max_tokens + 1),
        )
        return ops.sum(entropy, axis=-1) / ops.cast(
            token_lengths + 1, "float32"
        )

    def decode(self, encoded, paddings, beam_size=1, limits=None):
        if beam_size < 1:
            raise ValueError(
                f"`beam_size` must be at least 1. Received: {beam_size}."
            )
        if limits is None or beam_size > 1:
            limits = ops.full(
                (ops.shape(encoded)[0],), self.max_tokens, dtype="int32"
            )
        limits = ops.minimum(ops.cast(limits, "int32"), self.max_tokens)
        if beam_size == 1:
            found = whisper_decoding.greedy(
                self.decoder, encoded, self._rules, self.max_tokens, limits
            )
        else:
            found = whisper_decoding.beam(
                self.decoder, encoded, self._rules, self.max_tokens, beam_size
            )
        *texts, scores = found
        end = self.tokenizer.end_of_text
        return *whisper_decoding.without_loops(*texts, limits, end), scores

    def tokenize(self, text):
        return self.tokenizer.tokenize(text)

    def detokenize(self, tokens, token_lengths):
        return self.tokenizer.detokenize(tokens, token_lengths)

    def description(self):
        context = {"name": self.audio_context}
        if self.audio_context == "short":
            context["tail_seconds"] = self.tail_seconds
        return {
            "model": "whisper",
            "dimensions": dataclasses.asdict(self.dimensions),
            "frontend": {
                "kind": "whisper_log_mel",
                "sample_rate": self.sample_rate,
                "window_samples": whisper_frontend.WINDOW_SAMPLES,
                "step_samples": whisper_frontend.STEP_SAMPLES,
                "num_bins": self.dimensions.num_bins,
            },
            "tokenizer": self.tokenizer.description(),
            "audio_context": context,
        }

    def named_weights(self):
        return transformer.named_weights(self, [self.encoder, self.decoder])


def load(
    path,
    audio_context=None,
    language="en",
    max_tokens=64,
    allow_unshortened=False,
    **kwargs,
):
    """Loads a frozen Whisper.

    Args:
        path: as `whisper_checkpoints.read` takes it: a CTranslate2 or Hugging
            Face directory, a KerasHub preset, or "tiny.en".
        audio_context: "full" or "short"; None for the one the weights were
            made for.
        language: code such as "en", told to a multilingual model.
        max_tokens: int, most tokens of one transcript.
        allow_unshortened: bool, run weights made for 30 s on a short context
            after all; they fall into repetitions.
        **kwargs: more arguments of `Whisper`.

    Returns:
        `Whisper` with no trainable weights.

    Raises:
        ValueError: there is no checkpoint, it is damaged, or its weights were
            made for another audio context.
        OSError: a file of it cannot be read.
    """
    checkpoint = whisper_checkpoints.read(path, language)
    recorded = checkpoint.record.get("audio_context", "full")
    context = audio_context or recorded
    if context == "short" and recorded != "short" and not allow_unshortened:
        raise ValueError(
            f"{path}: its weights were made for 30 s of audio and repeat "
            "themselves on a short context; make a short-context base of it "
            "with: python -m tasks.shorten_context, or take "
            "audio_context='full'"
        )
    if context == "full" and recorded == "short":
        raise ValueError(
            f"{path}: its weights were tuned to a short audio context; take "
            "audio_context='short', or the base that they were made from"
        )
    if "tail_seconds" in checkpoint.record:
        kwargs.setdefault("tail_seconds", checkpoint.record["tail_seconds"])
    base = Whisper(
        checkpoint.dimensions,
        checkpoint.tokenizer,
        audio_context=context,
        max_tokens=max_tokens,
        **kwargs,
    )
    _assign(base, checkpoint)
    base.trainable = False
    return base


def _assign(base, checkpoint):
    """Gives the base the checkpoint's weights, each checked first."""
    named = base.named_weights()
    for name, weight in named.items():
        value = checkpoint.weights[name]
        if value.shape != tuple(weight.shape):
            raise ValueError(
                f"{checkpoint.path}: {name} has the shape {value.shape}; its "
                f"configuration asks for {tuple(weight.shape)}"
            )
        if not np.isfinite(value).all():
            raise ValueError(
                f"{checkpoint.path}: {name} holds values that are not finite"
            )
    for name, weight in named.items():
        weight.assign(checkpoint.weights[name])


def save_huggingface(base, directory):
    """Writes a base as a Hugging Face directory that `load` reads back.

    Beside the weights, `submodels_base.json` records the audio context that
    they were made for.

    Args:
        base: `Whisper`.
        directory: string; must hold no model yet.

    Raises:
        ValueError: the directory holds a model already.
        OSError: it cannot be written.
    """
    record = {"audio_context": base.audio_context}
    if base.audio_context == "short":
        record["tail_seconds"] = base.tail_seconds
    weights = {
        name: ops.convert_to_numpy(weight)
        for name, weight in base.named_weights().items()
    }
    whisper_checkpoints.write_huggingface(
        directory, base.dimensions, base.tokenizer, weights, record
    )
