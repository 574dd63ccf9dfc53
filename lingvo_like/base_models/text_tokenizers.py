"""Tokenizers of CTC models: ids on the host, and text in the graph."""

import abc
import hashlib
import unicodedata
from typing import Any

import tensorflow as tf
import tensorflow_text as tf_text

from lingvo_like import files

CHARACTERS = "characters"
SYMBOLS = " '0123456789abcdefghijklmnopqrstuvwxyz"
# Punctuation that is written as one of `SYMBOLS`.
REPLACEMENTS = {"’": "'", "‘": "'", "`": "'", "-": " ", "–": " ", "—": " "}


class Tokenizer(tf.Module, abc.ABC):
    """Turns text into token ids and back.

    Attributes:
        vocabulary_size: the number of token ids, which start at 0.
    """

    vocabulary_size: int

    @abc.abstractmethod
    def description(self) -> dict[str, Any]:
        """Everything that decides ids and texts, as JSON values."""

    @abc.abstractmethod
    def tokenize(self, text: str) -> list[int]:
        """The ids of a text.

        Raises:
            ValueError: the vocabulary cannot spell it.
        """

    @abc.abstractmethod
    def detokenize(
        self, tokens: tf.Tensor, token_lengths: tf.Tensor
    ) -> tf.Tensor:
        """Ids `[batch, max_tokens]` to text, a string tensor `[batch]`."""


class Characters(Tokenizer):
    """Lower-case Latin letters, digits, the apostrophe and the space."""

    def __init__(self) -> None:
        super().__init__(name="characters")
        self.vocabulary_size = len(SYMBOLS)
        self._ids = {symbol: i for i, symbol in enumerate(SYMBOLS)}

    def description(self) -> dict[str, Any]:
        return {"kind": CHARACTERS, "symbols": SYMBOLS}

    def tokenize(self, text: str) -> list[int]:
        """The ids of a text; see `Tokenizer.tokenize`.

        Letters become lower case and lose their accents, other punctuation is
        dropped, and runs of space become one.
        """
        kept = []
        for symbol in unicodedata.normalize("NFKD", text).lower():
            symbol = REPLACEMENTS.get(symbol, symbol)
            if symbol in self._ids:
                kept.append(symbol)
            elif symbol.isspace():
                kept.append(" ")
            elif unicodedata.category(symbol)[0] in "LN":
                raise ValueError(
                    f"{text!r} has {symbol!r}, which the character vocabulary "
                    f"lacks; it has {SYMBOLS!r}. Rewrite the transcript or "
                    "use a SentencePiece vocabulary."
                )
        return [self._ids[s] for s in " ".join("".join(kept).split())]

    def detokenize(
        self, tokens: tf.Tensor, token_lengths: tf.Tensor
    ) -> tf.Tensor:
        valid = tf.sequence_mask(token_lengths, tf.shape(tokens)[1])
        symbols = tf.gather(tf.constant(list(SYMBOLS)), tf.maximum(tokens, 0))
        text = tf.strings.reduce_join(tf.where(valid, symbols, ""), axis=-1)
        return tf.strings.strip(tf.strings.regex_replace(text, " +", " "))


class SentencePiece(Tokenizer):
    """A serialised SentencePiece model (Kudo & Richardson 2018)."""

    def __init__(self, model: bytes) -> None:
        super().__init__(name="sentence_piece")
        self.model = model
        # Untyped: TensorFlow Text's hints are wrong.
        make: Any = tf_text.SentencepieceTokenizer
        self._tokenizer = make(model=model, out_type=tf.int32)
        self.vocabulary_size = int(self._tokenizer.vocab_size())

    def description(self) -> dict[str, Any]:
        return {
            "kind": "sentencepiece",
            "sha256": hashlib.sha256(self.model).hexdigest(),
        }

    def tokenize(self, text: str) -> list[int]:
        return self._tokenizer.tokenize(text).numpy().tolist()

    def detokenize(
        self, tokens: tf.Tensor, token_lengths: tf.Tensor
    ) -> tf.Tensor:
        valid = tf.sequence_mask(token_lengths, tf.shape(tokens)[1])
        return self._tokenizer.detokenize(tf.ragged.boolean_mask(tokens, valid))


def load(vocabulary: str) -> Tokenizer:
    """The tokenizer "characters", or the one of a SentencePiece model's path.

    Raises:
        ValueError: the file is missing or is no SentencePiece model.
    """
    if vocabulary == CHARACTERS:
        return Characters()
    if not tf.io.gfile.exists(vocabulary):
        raise ValueError(
            f"vocabulary {vocabulary!r} is neither {CHARACTERS!r} nor a file; "
            "give the path of a SentencePiece model."
        )
    try:
        return SentencePiece(files.read(vocabulary))
    except (tf.errors.OpError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{vocabulary} is not a SentencePiece model: {error}"
        ) from error
