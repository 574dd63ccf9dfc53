"""The interface of a base model: all that training and serving know of one."""

import abc
import collections.abc
import hashlib
import json
from typing import Any, TypeAlias

import keras
import numpy as np

from lingvo_like import (
    hyperparams,
    languages as languages_lib,
    tensor_types,
)
from lingvo_like.layers import sites as sites_lib

Tensor: TypeAlias = tensor_types.Tensor

ENCODER = "encoder"
# The site after a block.
OUTPUT = "output"


def block_name(stack: str, block: int) -> str:
    """Such as `encoder/block_02`."""
    return f"{stack}/block_{block:02d}"


def first_block(
    site_names: collections.abc.Iterable[str], num_blocks: int
) -> int:
    """The number of encoder blocks below the lowest of some sites.

    Nothing below depends on what acts at these sites.
    """
    lowest = num_blocks
    for name in site_names:
        for block in range(lowest):
            inside = block_name(ENCODER, block) + "/"
            if name.startswith(inside):
                lowest = block + (name == inside + OUTPUT)
                break
    return lowest


class BaseModel(keras.layers.Layer, abc.ABC):
    """A pretrained recogniser that Submodels specialise.

    It turns audio into features, features into encoder activations, and
    activations into a loss or a text. On the way it calls the functions that
    the caller has for its sites. Every method treats each row of a batch by
    itself.

    A subclass implements the abstract methods, sets the attributes below in
    its constructor, and creates all its weights there.

    Attributes:
        model_dim: width of the encoder's activations.
        num_blocks: number of encoder blocks.
        sites: the places where a Submodel may act, by name, in the order in
            which the model comes to them.
        sample_rate: audio samples per second.
        max_samples: length of the longest utterance, in samples.
        max_tokens: the most tokens of a text that `decode` finds and `loss`
            takes; the model's own limit.
        languages: that it can write, codes such as "en"; `("",)` where it has
            none to choose.
    """

    model_dim: int
    num_blocks: int
    sites: collections.abc.Mapping[str, sites_lib.Site]
    sample_rate: int
    max_samples: int
    max_tokens: int
    languages: tuple[str, ...] = languages_lib.NONE

    def num_samples(self, seconds: float) -> int:
        """The length of so many seconds of audio, rounded to a sample."""
        return round(seconds * self.sample_rate)

    def language_index(self, code: str) -> int:
        """The index of a language in `languages`; see `languages.index`.

        Raises:
            ValueError: it is not there, or has to be said and is not.
        """
        return languages_lib.index(self.languages, code)

    def seconds(self, num_samples: int) -> float:
        """The duration of so many samples of audio."""
        return num_samples / self.sample_rate

    @abc.abstractmethod
    def bucket_samples(self, num_samples: int) -> int:
        """The length to pad a minibatch to, given its longest utterance.

        There is a small fixed set of lengths.

        Raises:
            ValueError: `num_samples` exceeds `max_samples`.
        """

    @abc.abstractmethod
    def features(self, audio: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel features, whatever the samples past each length hold.

        Args:
            audio: `[batch, samples]` float32 in [-1, 1], padded to a bucket.
            lengths: `[batch]` int32, valid samples of each row.

        Returns:
            features `[batch, time, num_bins]` float32 and paddings
            `[batch, time]` float32, 1 where a frame holds no signal.
        """

    @abc.abstractmethod
    def lower(
        self,
        features: Tensor,
        paddings: Tensor,
        num_blocks: int,
        training: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Subsampling and the first `num_blocks` blocks, as they are.

        Args:
            features, paddings: from `features`.
            num_blocks: 0 for the subsampling alone.
            training: turns on the base model's own dropout, if it has any;
                False while Submodels are trained.

        Returns:
            activations `[batch, subsampled_time, model_dim]` and their
            paddings `[batch, subsampled_time]`.
        """

    @abc.abstractmethod
    def upper(
        self,
        activations: Tensor,
        paddings: Tensor,
        first_block: int,
        functions: sites_lib.SiteFunctions = sites_lib.NONE,
        training: bool = False,
    ) -> Tensor:
        """The rest of the encoder after `lower(..., num_blocks=first_block)`.

        First applies the function at the output of block `first_block - 1`, if
        there is one, because `lower` leaves it out.

        Args:
            activations, paddings: from `lower`.
            first_block: index of the first block that has not run yet.
            functions: those of the encoder's sites; others are ignored.
            training: see `lower`.

        Returns:
            the encoder's output `[batch, subsampled_time, model_dim]`.
        """

    def encode(
        self,
        features: Tensor,
        paddings: Tensor,
        functions: sites_lib.SiteFunctions = sites_lib.NONE,
        training: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """The whole encoder: its output and the output's paddings."""
        activations, paddings = self.lower(features, paddings, 0, training)
        encoded = self.upper(activations, paddings, 0, functions, training)
        return encoded, paddings

    def run_blocks(
        self,
        x: Tensor,
        first_block: int,
        functions: sites_lib.SiteFunctions,
        run: collections.abc.Callable[
            [int, Tensor, sites_lib.SiteFunctions], Tensor
        ],
    ) -> Tensor:
        """The blocks of `upper`, each with the functions of its sites.

        `run` takes a block's index, its input and the functions inside of it.

        Raises:
            ValueError: a function is for a site that is not there.
        """
        unknown = [name for name in functions.names if name not in self.sites]
        if unknown:
            raise ValueError(
                f"the base model has no site {unknown[0]!r}. "
                f"{hyperparams.did_you_mean(unknown[0], self.sites)}"
            )
        for block in range(max(first_block - 1, 0), self.num_blocks):
            inside = functions.within(block_name(ENCODER, block))
            if block >= first_block:
                x = run(block, x, inside)
            x = inside.apply(OUTPUT, x, x)
        return x

    def kernel(self, site: str) -> np.ndarray:
        """The kernel `[input_dim, output_dim]` of a projection.

        Raises:
            ValueError: there is no such projection.
        """
        if site not in self.sites or not self.sites[site].is_projection:
            raise ValueError(
                f"there is no projection {site!r}. "
                f"{hyperparams.did_you_mean(site, self.sites)}"
            )
        stack, block, name = site.split("/", 2)
        layer = self.blocks_of(stack)[int(block.removeprefix("block_"))]
        return keras.ops.convert_to_numpy(layer.kernel(name))

    @abc.abstractmethod
    def blocks_of(self, stack: str) -> collections.abc.Sequence[Any]:
        """The blocks of a part of the model, such as `ENCODER`.

        Each has a method `kernel` of the names of its own projections.
        """

    @abc.abstractmethod
    def loss(
        self,
        encoded: Tensor,
        paddings: Tensor,
        tokens: Tensor,
        token_lengths: Tensor,
        languages: Tensor | None = None,
        functions: sites_lib.SiteFunctions = sites_lib.NONE,
    ) -> Tensor:
        """The training loss of each utterance.

        Args:
            encoded, paddings: from `encode`.
            tokens: `[batch, max_tokens]` int32, from `tokenize`.
            token_lengths: `[batch]` int32.
            languages: `[batch]` int32, indices into the attribute of that
                name. May be None where there is one language alone.
            functions: those of the decoder's sites; others are ignored.

        Returns:
            `[batch]` float32, divided by the utterance's own number of tokens.
        """

    @abc.abstractmethod
    def decode(
        self,
        encoded: Tensor,
        paddings: Tensor,
        beam_size: int = 1,
        limits: Tensor | None = None,
        languages: Tensor | None = None,
        functions: sites_lib.SiteFunctions = sites_lib.NONE,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Recognises each utterance, by greedy search or beam search.

        Args:
            encoded, paddings: from `encode`.
            beam_size: 1 for greedy search.
            limits: `[batch]` int32, the number of tokens after which a row may
                stop; a search that saves nothing by it ignores them. None
                means `max_tokens`.
            languages: see `loss`.
            functions: those of the decoder's sites; others are ignored.

        Returns:
            tokens `[batch, max_tokens]` int32; lengths `[batch]` int32; scores
            `[batch]` float32, the mean log probability of a token; and
            `[batch]` bool, whether the text ended by itself. If not, it met
            its limit or repeated itself, and was cut.
        """

    @abc.abstractmethod
    def label(self, text: str) -> str:
        """A transcript as the base writes it: folded, and without other marks.

        Raises:
            labels.UnwritableError: it has what the base never writes.
        """

    @abc.abstractmethod
    def tokenize(self, text: str) -> list[int]:
        """The token ids of a text's label; not for graphs.

        Special tokens are not among them.

        Raises:
            labels.UnwritableError: see `label`.
        """

    @abc.abstractmethod
    def detokenize(self, tokens: Tensor, token_lengths: Tensor) -> Tensor:
        """Tokens `[batch, max_tokens]` to text, a string tensor `[batch]`."""

    def fits(self, num_samples: int, tokens: list[int]) -> bool:
        """Whether the loss is defined for so many samples and these tokens."""
        del num_samples, tokens
        return True

    @abc.abstractmethod
    def description(self) -> dict[str, Any]:
        """The architecture, frontend and tokenizer, as JSON values.

        With the weights, it decides the output.
        """

    @abc.abstractmethod
    def named_weights(self) -> dict[str, keras.Variable]:
        """Every weight, by a name that depends on the architecture alone."""

    @abc.abstractmethod
    def save(self, directory: str) -> None:
        """Writes the model, complete or not at all, to a new or empty folder.

        Raises:
            FileExistsError: the folder is not empty.
            OSError: it cannot be written.
        """

    def fingerprint(self) -> str:
        """SHA-256, in hex, of the weights and of `description()`.

        Base models of the same fingerprint give the same output, so that a
        Submodel of one fits the other.
        """
        digest = hashlib.sha256(
            json.dumps(self.description(), sort_keys=True).encode()
        )
        for name, weight in sorted(self.named_weights().items()):
            value = np.ascontiguousarray(keras.ops.convert_to_numpy(weight))
            digest.update(f"{name} {value.dtype} {value.shape}".encode())
            digest.update(value.tobytes())
        return digest.hexdigest()

    def assign(
        self, weights: collections.abc.Mapping[str, np.ndarray], path: str
    ) -> None:
        """Sets every weight, float32, after checking all of them.

        `path` is the file they come from, for messages.

        Raises:
            ValueError: a weight is missing, unknown, not finite, or of
                another shape or dtype.
        """
        named = self.named_weights()
        missing = sorted(set(named) - set(weights))
        unknown = sorted(set(weights) - set(named))
        if missing or unknown:
            raise ValueError(
                f"{path} does not fit the model: missing {missing[:5]}, "
                f"unknown {unknown[:5]}."
            )
        for name, weight in named.items():
            value, shape = weights[name], tuple(weight.shape)
            if value.shape != shape or value.dtype != np.float32:
                raise ValueError(
                    f"{path}: {name} is {value.dtype} of shape {value.shape}, "
                    f"but the configuration asks for float32 of shape {shape}."
                )
            if not np.isfinite(value).all():
                raise ValueError(
                    f"{path}: {name} holds values that are not finite."
                )
        for name, weight in named.items():
            weight.assign(weights[name])
