"""What a base model is: the one interface that the tasks train and serve.

A base model is frozen. It turns audio into features, features into encoder
activations (with any adapters that the caller passes in), and activations into
a loss or into text. Everything below is a function of the utterance alone:
rows of a batch never see each other.
"""

import abc
import hashlib
import json

import keras
import numpy as np


class BaseModel(keras.layers.Layer, abc.ABC):
    """A pretrained recogniser that adapters specialise.

    Attributes:
        model_dim: width of the encoder's activations.
        num_blocks: number of encoder blocks that an adapter may follow.
        sample_rate: samples per second of the audio it takes.
        max_samples: longest utterance it takes, in samples.
        max_tokens: most tokens of one transcript.
    """

    model_dim: int
    num_blocks: int
    sample_rate: int
    max_samples: int
    max_tokens: int

    @abc.abstractmethod
    def bucket_samples(self, num_samples):
        """The static padded length for an utterance of `num_samples`.

        Args:
            num_samples: int, the longest utterance of a minibatch, in samples.

        Returns:
            int, the bucket to pad to; one of a fixed, small set.

        Raises:
            ValueError: the utterance is longer than `max_samples`.
        """

    @abc.abstractmethod
    def features(self, audio, lengths):
        """Log-mel features, whatever the samples past each length hold.

        Args:
            audio: `[batch, samples]` float32 in [-1, 1], padded to a bucket.
            lengths: `[batch]` int32, valid samples of each row.

        Returns:
            features `[batch, time, num_bins]` float32 and paddings
            `[batch, time]` float32, 1 where a frame holds no signal.
        """

    @abc.abstractmethod
    def lower(self, features, paddings, num_blocks):
        """Subsampling and the first `num_blocks` blocks, without adapters.

        Args:
            features: `[batch, time, num_bins]`.
            paddings: `[batch, time]`.
            num_blocks: int, 0 for the subsampling alone.

        Returns:
            activations `[batch, subsampled_time, model_dim]` and their
            paddings `[batch, subsampled_time]`.
        """

    @abc.abstractmethod
    def upper(self, activations, paddings, first_block, adapters):
        """Everything above `lower(..., num_blocks=first_block)`.

        The adapter of block `first_block - 1`, if there is one, is applied to
        `activations` first, since `lower` leaves it out.

        Args:
            activations: `[batch, subsampled_time, model_dim]`.
            paddings: `[batch, subsampled_time]`.
            first_block: int, the first block that is still to run.
            adapters: mapping of block index to a function of activations
                `[batch, subsampled_time, model_dim]` that returns the same
                shape; it runs after that block.

        Returns:
            the encoder's output `[batch, subsampled_time, model_dim]`.
        """

    def encode(self, features, paddings, adapters=None, training=False):
        """The whole encoder. Returns its output and the output's paddings.

        `training` turns on a base model's own dropout, if it has any, while
        the base itself is trained; for Submodels it stays off.
        """
        del training
        activations, paddings = self.lower(features, paddings, 0)
        return self.upper(activations, paddings, 0, adapters or {}), paddings

    @abc.abstractmethod
    def loss(self, encoded, paddings, tokens, token_lengths):
        """The training loss of each utterance, on the frozen decoder or head.

        Args:
            encoded: `[batch, subsampled_time, model_dim]`.
            paddings: `[batch, subsampled_time]`.
            tokens: `[batch, max_tokens]` int32, as `tokenize` gives them.
            token_lengths: `[batch]` int32.

        Returns:
            `[batch]` float32, normalised by the utterance's own tokens.
        """

    @abc.abstractmethod
    def decode(self, encoded, paddings, beam_size=1, limits=None):
        """Recognise; greedy for `beam_size=1`, else beam search.

        Args:
            encoded: `[batch, subsampled_time, model_dim]`.
            paddings: `[batch, subsampled_time]`.
            beam_size: int.
            limits: `[batch]` int32, tokens after which a row's text need not go
                on; a search that gains nothing by stopping goes on. None for
                `max_tokens`.

        Returns:
            tokens `[batch, max_tokens]` int32, lengths `[batch]` int32, and
            scores `[batch]` float32: the mean log probability of a token.
        """

    @abc.abstractmethod
    def tokenize(self, text):
        """Text to a list of token ids, on the host. No special tokens."""

    def fits(self, num_samples, tokens):
        """Whether so much audio can carry these tokens; a CTC may refuse."""
        del num_samples, tokens
        return True

    @abc.abstractmethod
    def detokenize(self, tokens, token_lengths):
        """Tokens `[batch, max_tokens]` to text, a string tensor `[batch]`."""

    @abc.abstractmethod
    def description(self):
        """Architecture, frontend and tokenizer as a JSON-able dict."""

    @abc.abstractmethod
    def named_weights(self):
        """A dict of every weight by a stable name, as variables."""

    def fingerprint(self):
        """SHA-256, in hex, of the weights and of `description()`.

        Two base models with one fingerprint give the same output, so a
        Submodel of the one fits the other.
        """
        digest = hashlib.sha256(
            json.dumps(self.description(), sort_keys=True).encode()
        )
        for name, weight in sorted(self.named_weights().items()):
            value = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
            digest.update(f"{name} {value.dtype} {value.shape}".encode())
            digest.update(value.tobytes())
        return digest.hexdigest()
