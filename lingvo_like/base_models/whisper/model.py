"""Whisper (Radford et al. 2022, arXiv 2212.04356) as a frozen base model."""

import dataclasses
from collections import abc
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from lingvo_like import (
    choices,
    paddings as paddings_lib,
    tensor_types,
)
from lingvo_like.base_models import base_model
from lingvo_like.base_models.whisper import (
    architecture,
    audio_context as contexts,
    beam_search,
    checkpoints,
    decoding,
    encoder_decoder,
    frontend,
    greedy_search,
    loops,
    tokenizer as whisper_tokenizer,
)
from lingvo_like.layers import layer, sites

Tensor: TypeAlias = tensor_types.Tensor


class Whisper(base_model.BaseModel):
    """A Whisper of any size.

    Whisper attends to silence, so the encoder masks nothing: padded frames
    hold exactly what silence gives. A result depends on the amount of silence
    after the utterance, that is, on the padded length.

    Args:
        audio_context: "full" pads every utterance to the 30 s that Whisper
            was trained on. "short" pads to the utterance plus a tail, rounded
            up to a second, and needs weights that were tuned to it.
        max_tokens: the most tokens of a text; None for as many as the decoder
            has positions after its prompt.
        tail_seconds: least silence after an utterance of a short context.

    Raises:
        ValueError: `audio_context` is unknown, or the decoder has no room for
            so many tokens.
    """

    def __init__(
        self,
        dimensions: architecture.Dimensions,
        tokenizer: whisper_tokenizer.WhisperTokenizer,
        audio_context: str = "full",
        max_tokens: int | None = None,
        tail_seconds: float = contexts.DEFAULT_TAIL_SECONDS,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("name", "whisper")
        super().__init__(**kwargs)
        if audio_context not in choices.AUDIO_CONTEXTS:
            raise ValueError(
                f"`audio_context` must be one of {choices.AUDIO_CONTEXTS}. "
                f"Received: {audio_context!r}."
            )
        room = dimensions.max_target_positions - len(tokenizer.prompts[0])
        max_tokens = room if max_tokens is None else max_tokens
        if not 1 <= max_tokens <= room:
            raise ValueError(
                f"`max_tokens` must be from 1 to {room}. Received: "
                f"{max_tokens}."
            )
        self.dimensions = dimensions
        self.tokenizer = tokenizer
        self.languages = tokenizer.languages
        self.audio_context = audio_context
        self.tail_seconds = tail_seconds
        self.model_dim = dimensions.model_dim
        self.num_blocks = dimensions.num_blocks
        self.sites = architecture.all_sites(dimensions)
        self.sample_rate = frontend.SAMPLE_RATE
        # An encoder frame is two frames of the frontend.
        self.max_samples = (
            2 * frontend.STEP_SAMPLES * dimensions.max_source_positions
        )
        self.max_tokens = max_tokens
        self.encoder = encoder_decoder.Encoder(
            dimensions, dtype=self.dtype_policy, name="encoder"
        )
        self.decoder = encoder_decoder.Decoder(
            dimensions, dtype=self.dtype_policy, name="decoder"
        )
        self.encoder.build()
        self.decoder.build()
        self.built = True
        self._prompts = np.array(tokenizer.prompts, np.int32)
        self._filters = frontend.mel_filters(dimensions.num_bins)
        self._rules = decoding.Rules(tokenizer, dimensions.vocabulary_size)

    def bucket_samples(self, num_samples: int) -> int:
        if num_samples > self.max_samples:
            raise ValueError(
                f"an utterance of {self.seconds(num_samples):.2f} s is longer "
                f"than the {self.seconds(self.max_samples):.0f} s that "
                "Whisper takes; cut it"
            )
        return contexts.padded_samples(
            num_samples,
            self.max_samples,
            self.audio_context,
            self.num_samples(self.tail_seconds),
        )

    def features(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return frontend.log_mel(audio, lengths, self._filters)

    def lower(
        self,
        features: Tensor,
        paddings: Tensor,
        num_blocks: int,
        training: bool = False,
    ) -> tuple[Tensor, Tensor]:
        del training  # Whisper has no dropout.
        features = frontend.fill_with_silence(features, paddings)
        x = self.encoder.subsample(features)
        for block in self.encoder.blocks[:num_blocks]:
            x = block(x)
        return x, paddings[:, ::2]

    def upper(
        self,
        activations: Tensor,
        paddings: Tensor,
        first_block: int,
        functions: sites.SiteFunctions = sites.NONE,
        training: bool = False,
    ) -> Tensor:
        del paddings, training

        def run(block: int, x: Tensor, inside: sites.SiteFunctions) -> Tensor:
            return self.encoder.blocks[block](x, functions=inside)

        return self.encoder.norm(
            self.run_blocks(activations, first_block, functions, run)
        )

    def blocks_of(self, stack: str) -> abc.Sequence[Any]:
        return {
            base_model.ENCODER: self.encoder.blocks,
            architecture.DECODER: self.decoder.blocks,
        }[stack]

    def prompts(self, batch: Any, languages: Tensor | None = None) -> Tensor:
        """The tokens that go before each text, `[batch, prompt_length]` int32.

        Args:
            batch: the number of rows.
            languages: see `loss`.

        Raises:
            ValueError: `languages` is None, and there are several.
        """
        table = ops.convert_to_tensor(self._prompts)
        if len(self.languages) == 1:
            return ops.broadcast_to(table, (batch, table.shape[1]))
        if languages is None:
            raise ValueError(
                "`languages` must say which of the base model's "
                f"{len(self.languages)} languages each row is in. Received: "
                "None."
            )
        return ops.take(table, ops.cast(languages, "int32"), axis=0)

    def loss(
        self,
        encoded: Tensor,
        paddings: Tensor,
        tokens: Tensor,
        token_lengths: Tensor,
        languages: Tensor | None = None,
        functions: sites.SiteFunctions = sites.NONE,
    ) -> Tensor:
        """The cross entropy of the tokens and of the end of the text.

        Teacher-forced, and averaged over the utterance's own tokens. `tokens`
        may be cut to any static length that holds the longest transcript of
        the batch: the cost grows with it, the result stays the same.
        """
        del paddings
        prompts = self.prompts(ops.shape(encoded)[0], languages)
        max_tokens = tokens.shape[1]
        token_lengths = ops.cast(token_lengths, "int32")
        valid = paddings_lib.to_mask(
            paddings_lib.from_lengths(token_lengths, max_tokens)
        )
        end = self.tokenizer.end_of_text
        tokens = ops.where(valid, ops.cast(tokens, "int32"), end)
        x = self.decoder.hidden_states(
            ops.concatenate([prompts, tokens], axis=1), encoded, functions
        )
        logits = self.decoder.logits(x[:, prompts.shape[1] - 1 :])
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

    def decode(
        self,
        encoded: Tensor,
        paddings: Tensor,
        beam_size: int = 1,
        limits: Tensor | None = None,
        languages: Tensor | None = None,
        functions: sites.SiteFunctions = sites.NONE,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if beam_size < 1:
            raise ValueError(
                f"`beam_size` must be at least 1. Received: {beam_size}."
            )
        batch = ops.shape(encoded)[0]
        prompts = self.prompts(batch, languages)
        decoder = encoder_decoder.SpecialisedDecoder(self.decoder, functions)
        # An encoder frame is two frames of the frontend.
        frames = ops.cast(paddings_lib.to_lengths(paddings), "float32")
        speakable = loops.most_speakable(
            frames * self.seconds(2 * frontend.STEP_SAMPLES)
        )
        if beam_size == 1:
            if limits is None:
                limits = ops.full((batch,), self.max_tokens, dtype="int32")
            limits = ops.minimum(ops.cast(limits, "int32"), self.max_tokens)
            search = greedy_search.GreedySearch(
                self._rules, self.max_tokens, limits
            )
        else:
            search = beam_search.BeamSearch(
                self._rules, self.max_tokens, beam_size
            )
        tokens, lengths, scores, ended = decoding.run(
            search, decoder, encoded, prompts, speakable
        )
        end = self.tokenizer.end_of_text
        tokens, lengths = ops.cond(
            ops.all(ended),
            lambda: (tokens, lengths),
            lambda: loops.without_loops(tokens, lengths, ended, end),
        )
        return tokens, lengths, scores, ended

    def label(self, text: str) -> str:
        return self.tokenizer.label(text)

    def tokenize(self, text: str) -> list[int]:
        return self.tokenizer.tokenize(self.label(text))

    def detokenize(self, tokens: Tensor, token_lengths: Tensor) -> Tensor:
        return self.tokenizer.detokenize(tokens, token_lengths)

    def description(self) -> dict[str, Any]:
        context: dict[str, Any] = {"name": self.audio_context}
        if self.audio_context == "short":
            context["tail_seconds"] = self.tail_seconds
        return {
            "model": "whisper",
            "dimensions": dataclasses.asdict(self.dimensions),
            "frontend": {
                "kind": "whisper_log_mel",
                "sample_rate": self.sample_rate,
                "window_samples": frontend.WINDOW_SAMPLES,
                "step_samples": frontend.STEP_SAMPLES,
                "num_bins": self.dimensions.num_bins,
            },
            "tokenizer": self.tokenizer.description(),
            "audio_context": context,
        }

    def named_weights(self) -> dict[str, keras.Variable]:
        return layer.named_weights(self, [self.encoder, self.decoder])

    def save(
        self, directory: str, beside: abc.Mapping[str, bytes] | None = None
    ) -> None:
        """Writes a Hugging Face directory; see `BaseModel.save`.

        Beside the weights, `submodels_base.json` records the audio context
        that they were made for.

        Args:
            beside: other files to write into it, by name.
        """
        record: dict[str, Any] = {"audio_context": self.audio_context}
        if self.audio_context == "short":
            record["tail_seconds"] = self.tail_seconds
        weights = {
            name: ops.convert_to_numpy(weight)
            for name, weight in self.named_weights().items()
        }
        checkpoints.write_huggingface(
            checkpoints.Checkpoint(
                directory, self.dimensions, weights, self.tokenizer, record
            ),
            beside,
        )


def load(
    path: str,
    audio_context: str | None = None,
    max_tokens: int | None = None,
    allow_unshortened: bool = False,
    **kwargs: Any,
) -> Whisper:
    """Loads a frozen Whisper.

    Args:
        path: see `checkpoints.read`.
        audio_context: "full" or "short"; None for the one that the weights
            were made for.
        allow_unshortened: runs weights that were made for 30 s on a short
            context, where they repeat themselves.
        **kwargs: more arguments of `Whisper`.

    Raises:
        ValueError: there is no checkpoint, it is damaged, or its weights were
            made for another audio context.
        OSError: a file of it cannot be read.
    """
    checkpoint = checkpoints.read(path)
    context = contexts.for_weights(
        path,
        checkpoint.record.get("audio_context", "full"),
        audio_context,
        allow_unshortened,
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
    base.assign(checkpoint.weights, checkpoint.path)
    base.trainable = False
    return base
