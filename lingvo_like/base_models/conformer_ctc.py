"""The Conformer-CTC base model (Gulati et al. 2020, arXiv 2005.08100)."""

import itertools

import keras
import tensorflow as tf
from keras import ops

from lingvo_like import paddings as paddings_lib
from lingvo_like.base_models import (
    base_model,
    ctc,
    text_tokenizers,
    weight_files,
)
from lingvo_like.layers import conformer, frontend, subsampling

FORMAT_VERSION = 1
TOKENIZER_MODEL = "tokenizer.model"
ARGUMENTS = (
    "model_dim",
    "num_blocks",
    "num_heads",
    "kernel_size",
    "feed_forward_expansion",
    "dropout_rate",
    "sample_rate",
    "num_bins",
    "frame_length_ms",
    "frame_step_ms",
    "lower_edge_hertz",
    "upper_edge_hertz",
    "buckets_seconds",
    "vocabulary",
    "max_tokens",
)
# These may change without making another base of it.
WITHOUT_EFFECT = ("dropout_rate", "buckets_seconds", "max_tokens")


class ConformerCtc(base_model.BaseModel):
    """Log-mel frontend, Conformer encoder, linear head over tokens and blank.

    Built when constructed: every weight is there at once. Set
    `trainable = False` to freeze it.

    Args:
        model_dim: int, width of the encoder.
        num_blocks: int, Conformer blocks.
        num_heads: int, attention heads.
        kernel_size: int, frames of the depthwise convolutions.
        feed_forward_expansion: int, width inside the feed-forwards over
            `model_dim`.
        dropout_rate: float, used where `training=True` is passed.
        sample_rate: int, in hertz.
        num_bins: int, mel filters.
        frame_length_ms: float, window of the frontend.
        frame_step_ms: float, distance between windows.
        lower_edge_hertz: float, lower edge of the lowest mel filter.
        upper_edge_hertz: float, upper edge of the highest mel filter.
        buckets_seconds: ascending padded lengths, in seconds.
        vocabulary: "characters", or the path of a SentencePiece model.
        max_tokens: int, most tokens of one transcript.

    Raises:
        ValueError: an argument is out of range; the vocabulary is unusable.
    """

    def __init__(
        self,
        model_dim=144,
        num_blocks=16,
        num_heads=4,
        kernel_size=32,
        feed_forward_expansion=4,
        dropout_rate=0.1,
        sample_rate=16000,
        num_bins=80,
        frame_length_ms=25.0,
        frame_step_ms=10.0,
        lower_edge_hertz=80.0,
        upper_edge_hertz=7600.0,
        buckets_seconds=(4.0, 8.0, 12.0, 16.0, 24.0, 35.0),
        vocabulary=text_tokenizers.CHARACTERS,
        max_tokens=400,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_blocks < 1 or max_tokens < 1:
            raise ValueError(
                "`num_blocks` and `max_tokens` must be positive. Received: "
                f"{num_blocks}, {max_tokens}."
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
        self.max_tokens = max_tokens
        self.max_samples = round(buckets_seconds[-1] * sample_rate)
        self.tokenizer = text_tokenizers.load(vocabulary)
        self._make_layers()
        self.build()

    def _make_layers(self):
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
        # Float32 under any policy: its logits go into the loss.
        self.head = keras.layers.Dense(
            1 + self.tokenizer.vocabulary_size, dtype="float32", name="head"
        )

    def build(self):
        self.subsampling.build((None, None, self.num_bins))
        for block in self.blocks:
            block.build((None, None, self.model_dim))
        self.head.build((None, None, self.model_dim))
        self.built = True

    def bucket_samples(self, num_samples):
        for seconds in self.buckets_seconds:
            if num_samples <= round(seconds * self.sample_rate):
                return round(seconds * self.sample_rate)
        raise ValueError(
            f"The utterance lasts {num_samples / self.sample_rate:.2f} s; the "
            f"longest bucket is {self.buckets_seconds[-1]:g} s. Cut it, or "
            "add a longer one to `buckets_seconds`."
        )

    def num_frames(self, num_samples):
        """Encoder frames of an utterance of `num_samples`."""
        frames = self.frontend.num_frames(num_samples)
        return -(-frames // subsampling.FACTOR)

    def fits(self, num_samples, tokens):
        """Whether the audio has frames enough to spell the transcript.

        Where it has not, the loss is 0 and teaches nothing, so reject the
        utterance.

        Args:
            num_samples: int, valid samples of the utterance.
            tokens: list of ids, as `tokenize` gives them.
        """
        return ctc.frames_needed(tokens) <= self.num_frames(num_samples)

    def features(self, audio, lengths):
        return self.frontend(audio, lengths)

    def lower(self, features, paddings, num_blocks, training=False):
        x = self.subsampling(features, paddings, training=training)
        paddings = subsampling.subsample_paddings(paddings)
        for block in self.blocks[:num_blocks]:
            x = block(x, paddings, training=training)
        return paddings_lib.zero_padded(x, paddings), paddings

    def upper(
        self, activations, paddings, first_block, adapters, training=False
    ):
        unknown = sorted(set(adapters) - set(range(self.num_blocks)))
        if unknown:
            raise ValueError(
                f"`adapters` names blocks {unknown}; the base model has "
                f"blocks 0 to {self.num_blocks - 1}."
            )
        x = ops.cast(activations, self.compute_dtype)
        x = paddings_lib.zero_padded(x, paddings)
        for block in range(first_block - 1, self.num_blocks):
            if block >= first_block:
                x = self.blocks[block](x, paddings, training=training)
            if block in adapters:
                x = adapters[block](x)
        return paddings_lib.zero_padded(x, paddings)

    def encode(self, features, paddings, adapters=None, training=False):
        """As `BaseModel.encode`; `training=True` turns the dropouts on."""
        activations, paddings = self.lower(features, paddings, 0, training)
        encoded = self.upper(activations, paddings, 0, adapters or {}, training)
        return encoded, paddings

    def logits(self, encoded):
        """Logits `[batch, subsampled_time, 1 + vocabulary]`, blank first."""
        return self.head(ops.cast(encoded, "float32"))

    def loss(self, encoded, paddings, tokens, token_lengths):
        """The CTC loss of each utterance over its number of tokens.

        0 for an utterance that does not fit (see `fits`).
        """
        return _loss_per_token(
            self.logits(encoded),
            paddings_lib.to_lengths(paddings),
            tokens,
            token_lengths,
        )

    def decode(self, encoded, paddings, beam_size=1, limits=None):
        """As `BaseModel.decode`; a score is log p(tokens | audio) a token."""
        del limits
        logits = self.logits(encoded)
        lengths = paddings_lib.to_lengths(paddings)
        if beam_size == 1:
            tokens, token_lengths = ctc.greedy_decode(
                logits, lengths, self.max_tokens
            )
        else:
            tokens, token_lengths = ctc.beam_decode(
                logits, lengths, self.max_tokens, beam_size
            )
        scores = -_loss_per_token(logits, lengths, tokens, token_lengths)
        return tokens, token_lengths, scores

    def tokenize(self, text):
        return [1 + token for token in self.tokenizer.tokenize(text)]

    def detokenize(self, tokens, token_lengths):
        return self.tokenizer.detokenize(tokens - 1, token_lengths)

    def arguments(self):
        """The constructor's arguments, as a JSON-able dict."""
        return {name: getattr(self, name) for name in ARGUMENTS}

    def get_config(self):
        return {**super().get_config(), **self.arguments()}

    def description(self):
        """What decides the output, as a JSON-able dict."""
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

    def named_weights(self):
        prefix = f"{self.name}/"
        return {
            weight.path.rpartition(prefix)[2]: weight for weight in self.weights
        }

    def save(self, directory):
        """Writes `config.json` and `model.safetensors`, all or nothing.

        Args:
            directory: path, local or `gs://`, where nothing is yet.

        Returns:
            the fingerprint. Where the directory already holds this very
            model, nothing is written.

        Raises:
            FileExistsError: the directory holds something else.
        """
        files = {}
        arguments = self.arguments()
        if arguments["vocabulary"] != text_tokenizers.CHARACTERS:
            arguments["vocabulary"] = TOKENIZER_MODEL
            files[TOKENIZER_MODEL] = self.tokenizer.model
        return weight_files.save(self, arguments, directory, files)


def load(directory, dtype=None, **changes):
    """The model that `ConformerCtc.save` wrote, frozen.

    Args:
        directory: path, local or `gs://`.
        dtype: a dtype policy; the global one by default.
        **changes: other values of arguments `WITHOUT_EFFECT`.

    Returns:
        `ConformerCtc`, with `trainable = False`.

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: a file is truncated or altered, or a change would make
            another base of it.
    """
    for name in changes:
        if name not in WITHOUT_EFFECT:
            raise ValueError(
                f"only {', '.join(WITHOUT_EFFECT)} may change. Received: {name}"
            )

    def make(arguments):
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
