"""The Conformer-CTC base model (Gulati et al. 2020, arXiv 2005.08100)."""

import inspect
import itertools
from collections import abc
from typing import Any, TypeAlias

import keras
import tensorflow as tf
from keras import ops

from lingvo_like import paddings as paddings_lib, tensor_types
from lingvo_like.base_models import (
    base_model,
    ctc,
    text_tokenizers,
    weight_files,
)
from lingvo_like.layers import conformer, frontend, sites, subsampling

Tensor: TypeAlias = tensor_types.Tensor

FORMAT_VERSION = 1
TOKENIZER_MODEL = "tokenizer.model"
# Changing these does not make another base model.
WITHOUT_EFFECT = ("dropout_rate", "buckets_seconds")


def all_sites(
    num_blocks: int, model_dim: int, feed_forward_expansion: int
) -> dict[str, sites.Site]:
    """Every site of such a Conformer, by name."""
    found = [
        site
        for block in range(num_blocks)
        for site in conformer.block_sites(
            base_model.block_name(base_model.ENCODER, block),
            model_dim,
            feed_forward_expansion,
        )
    ]
    return {site.name: site for site in found}


class ConformerCtc(base_model.BaseModel):
    """Log-mel frontend, Conformer encoder, and a linear head for CTC.

    The constructor creates every weight. Set `trainable = False` to freeze it.

    `ConformerBlock` and `LogMelFrontend` explain their arguments.

    Args:
        buckets_seconds: padded lengths, ascending.
        vocabulary: "characters", or the path of a SentencePiece model.

    Raises:
        ValueError: an argument is out of range, or the vocabulary is unusable.
    """

    def __init__(
        self,
        model_dim: int = 144,
        num_blocks: int = 16,
        num_heads: int = 4,
        kernel_size: int = 32,
        feed_forward_expansion: int = 4,
        dropout_rate: float = 0.1,
        sample_rate: int = 16000,
        num_bins: int = 80,
        frame_length_ms: float = 25.0,
        frame_step_ms: float = 10.0,
        lower_edge_hertz: float = 80.0,
        upper_edge_hertz: float = 7600.0,
        buckets_seconds: tuple[float, ...] = (4.0, 8.0, 12.0, 16.0, 24.0, 35.0),
        vocabulary: str = text_tokenizers.CHARACTERS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if num_blocks < 1:
            raise ValueError(
                f"`num_blocks` must be positive. Received: {num_blocks}."
            )
        buckets_seconds = tuple(float(seconds) for seconds in buckets_seconds)
        if not buckets_seconds or any(
            low >= high
            for low, high in itertools.pairwise((0.0, *buckets_seconds))
        ):
            raise ValueError(
                "`buckets_seconds` must be positive and ascending. Received: "
                f"{buckets_seconds}."
            )
        self.model_dim = model_dim
        self.num_blocks = num_blocks
        self.sites = all_sites(num_blocks, model_dim, feed_forward_expansion)
        self.num_heads = num_heads
        self.kernel_size = kernel_size
        self.feed_forward_expansion = feed_forward_expansion
        self.dropout_rate = dropout_rate
        self.sample_rate = sample_rate
        self.num_bins = num_bins
        self.frame_length_ms = frame_length_ms
        self.frame_step_ms = frame_step_ms
        self.lower_edge_hertz = lower_edge_hertz
        self.upper_edge_hertz = upper_edge_hertz
        self.buckets_seconds = buckets_seconds
        self.vocabulary = vocabulary
        self.max_samples = self.num_samples(buckets_seconds[-1])
        self.tokenizer = text_tokenizers.load(vocabulary)
        self._make_layers()
        # CTC writes at most one token for each frame, so no text is ever cut.
        self.max_tokens = self.num_frames(self.max_samples)
        self.build()

    def _make_layers(self) -> None:
        self.frontend = frontend.LogMelFrontend(
            self.sample_rate,
            self.num_bins,
            self.frame_length_ms,
            self.frame_step_ms,
            self.lower_edge_hertz,
            self.upper_edge_hertz,
            name="frontend",
        )
        self.subsampling = subsampling.ConvSubsampling(
            self.model_dim,
            self.dropout_rate,
            dtype=self.dtype_policy,
            name="subsampling",
        )
        self.blocks = [
            conformer.ConformerBlock(
                self.model_dim,
                self.num_heads,
                self.kernel_size,
                self.feed_forward_expansion,
                self.dropout_rate,
                dtype=self.dtype_policy,
                name=f"block_{block}",
            )
            for block in range(self.num_blocks)
        ]
        # Float32 under any policy, because its logits enter the loss.
        self.head = keras.layers.Dense(
            1 + self.tokenizer.vocabulary_size, dtype="float32", name="head"
        )

    def build(self) -> None:
        self.subsampling.build((None, None, self.num_bins))
        for layer in (*self.blocks, self.head):
            layer.build((None, None, self.model_dim))
        self.built = True

    def bucket_samples(self, num_samples: int) -> int:
        for seconds in self.buckets_seconds:
            if num_samples <= self.num_samples(seconds):
                return self.num_samples(seconds)
        raise ValueError(
            f"The utterance lasts {self.seconds(num_samples):.2f} s; the "
            f"longest bucket is {self.buckets_seconds[-1]:g} s. Cut it, or "
            "add a longer bucket to `buckets_seconds`."
        )

    def num_frames(self, num_samples: int) -> int:
        """The number of encoder frames of an utterance."""
        frames = self.frontend.num_frames(num_samples)
        return -(-frames // subsampling.FACTOR)

    def fits(self, num_samples: int, tokens: list[int]) -> bool:
        """Whether there are frames enough to spell the transcript.

        The loss of an utterance that does not fit is 0 and teaches nothing.
        """
        return ctc.frames_needed(tokens) <= self.num_frames(num_samples)

    def features(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return self.frontend(audio, lengths)

    def lower(
        self,
        features: Tensor,
        paddings: Tensor,
        num_blocks: int,
        training: bool = False,
    ) -> tuple[Tensor, Tensor]:
        x = self.subsampling(features, paddings, training=training)
        paddings = subsampling.subsample_paddings(paddings)
        for block in self.blocks[:num_blocks]:
            x = block(x, paddings, training=training)
        return paddings_lib.zero_padded(x, paddings), paddings

    def upper(
        self,
        activations: Tensor,
        paddings: Tensor,
        first_block: int,
        functions: sites.SiteFunctions = sites.NONE,
        training: bool = False,
    ) -> Tensor:
        def run(block: int, x: Tensor, inside: sites.SiteFunctions) -> Tensor:
            return self.blocks[block](
                x, paddings, functions=inside, training=training
            )

        x = ops.cast(activations, self.compute_dtype)
        x = paddings_lib.zero_padded(x, paddings)
        x = self.run_blocks(x, first_block, functions, run)
        return paddings_lib.zero_padded(x, paddings)

    def blocks_of(self, stack: str) -> abc.Sequence[Any]:
        return {base_model.ENCODER: self.blocks}[stack]

    def logits(self, encoded: Tensor) -> Tensor:
        """Logits `[batch, subsampled_time, 1 + vocabulary]`, blank first."""
        return self.head(ops.cast(encoded, "float32"))

    def loss(
        self,
        encoded: Tensor,
        paddings: Tensor,
        tokens: Tensor,
        token_lengths: Tensor,
        languages: Tensor | None = None,
        functions: sites.SiteFunctions = sites.NONE,
    ) -> Tensor:
        """The CTC loss of each utterance, divided by its number of tokens.

        0 for an utterance that does not fit (see `fits`).
        """
        del languages, functions  # There is no decoder.
        return _loss_per_token(
            self.logits(encoded),
            paddings_lib.to_lengths(paddings),
            tokens,
            token_lengths,
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
        """See `BaseModel.decode`; a score is log p(tokens | audio) / tokens."""
        del limits, languages, functions
        logits = self.logits(encoded)
        lengths = paddings_lib.to_lengths(paddings)
        tokens, token_lengths = (
            ctc.greedy_decode(logits, lengths, self.max_tokens)
            if beam_size == 1
            else ctc.beam_decode(logits, lengths, self.max_tokens, beam_size)
        )
        scores = -_loss_per_token(logits, lengths, tokens, token_lengths)
        ended = ops.ones_like(token_lengths, dtype="bool")
        return tokens, token_lengths, scores, ended

    def label(self, text: str) -> str:
        return self.tokenizer.label(text)

    def tokenize(self, text: str) -> list[int]:
        return [1 + token for token in self.tokenizer.tokenize(text)]

    def detokenize(self, tokens: Tensor, token_lengths: Tensor) -> Tensor:
        return self.tokenizer.detokenize(tokens - 1, token_lengths)

    def arguments(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON values."""
        parameters = inspect.signature(ConformerCtc).parameters
        return {n: getattr(self, n) for n in parameters if n != "kwargs"}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.arguments()}

    def description(self) -> dict[str, Any]:
        arguments = {
            name: value
            for name, value in self.arguments().items()
            if name not in WITHOUT_EFFECT and name != "vocabulary"
        }
        return {
            "model": "conformer_ctc",
            "format_version": FORMAT_VERSION,
            "arguments": arguments,
            "tokenizer": self.tokenizer.description(),
        }

    def named_weights(self) -> dict[str, keras.Variable]:
        prefix = f"{self.name}/"
        return {
            weight.path.rpartition(prefix)[2]: weight for weight in self.weights
        }

    def save(self, directory: str) -> None:
        arguments, vocabulary = self.arguments(), {}
        if isinstance(self.tokenizer, text_tokenizers.SentencePiece):
            arguments["vocabulary"] = TOKENIZER_MODEL
            vocabulary[TOKENIZER_MODEL] = self.tokenizer.model
        weight_files.save(self, arguments, directory, vocabulary)


def load(directory: str, dtype: Any = None, **changes: Any) -> ConformerCtc:
    """Loads the model that `ConformerCtc.save` wrote, frozen.

    `changes` are other values of arguments `WITHOUT_EFFECT`.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: a file is truncated or altered, or a change would make
            another base model.
    """
    for name in changes:
        if name not in WITHOUT_EFFECT:
            raise ValueError(
                f"only {', '.join(WITHOUT_EFFECT)} may change. Received: {name}"
            )

    def make(arguments: dict[str, Any]) -> ConformerCtc:
        vocabulary = arguments["vocabulary"]
        if vocabulary != text_tokenizers.CHARACTERS:
            vocabulary = tf.io.gfile.join(directory, vocabulary)
        return ConformerCtc(
            **{**arguments, **changes, "vocabulary": vocabulary}, dtype=dtype
        )

    return weight_files.load(make, directory)


def _loss_per_token(logits, lengths, tokens, token_lengths):
    total = ctc.negative_log_likelihood(logits, lengths, tokens, token_lengths)
    return total / ops.cast(ops.maximum(token_lengths, 1), "float32")
