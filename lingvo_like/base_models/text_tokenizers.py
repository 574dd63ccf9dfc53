"""Tokenizers of CTC models: ids on the host, and text in the graph."""

import abc
import hashlib
import unicodedata
from typing import Any

import tensorflow as tf
import tensorflow_text as tf_text

from lingvo_like import files, text_folding
from lingvo_like.base_models import labels

CHARACTERS = "characters"
SYMBOLS = " '0123456789abcdefghijklmnopqrstuvwxyz"


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
    def label(self, text: str) -> str:
        """A transcript as the vocabulary spells it.

        Raises:
            UnwritableError: the vocabulary cannot spell it.
        """

    @abc.abstractmethod
    def tokenize(self, text: str) -> list[int]:
        """The ids of a text's label.

        Raises:
            UnwritableError: the vocabulary cannot spell it.
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

    def label(self, text: str) -> str:
        """A transcript as these characters spell it; see `Tokenizer.label`.

        Letters become lower case and lose their accents. Punctuation goes: it
        parts a word that it stands in, and an abbreviation stays one word.
        """
        text = text_folding.fold(text)
        labels.check_speech(text)
        letters = unicodedata.normalize("NFD", text).lower()
        letters = labels.without_single_quotes(
            "".join(
                each
                for each in letters
                if unicodedata.category(each)[0] not in "MC"
            )
        )
        try:
            return labels.without_marks(letters, self._lacks)
        except labels.UnwritableError as error:
            raise labels.UnwritableError(
                error.reason,
                f"{error.detail}, or take a SentencePiece vocabulary",
            ) from None

    def _lacks(self, symbol: str) -> bool:
        return symbol not in self._ids

    def tokenize(self, text: str) -> list[int]:
        return [self._ids[symbol] for symbol in self.label(text)]

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
        self._unknown = self._unknown_id()

    def _unknown_id(self) -> int | None:
        """The id of characters that are no piece; None if bytes spell all."""
        # Of private use: no vocabulary has it.
        ids = self._tokenizer.tokenize("\ue000")
        text = self._tokenizer.detokenize(ids).numpy().decode("utf-8")
        return None if "\ue000" in text else int(ids[-1])

    def description(self) -> dict[str, Any]:
        return {
            "kind": "sentencepiece",
            "sha256": hashlib.sha256(self.model).hexdigest(),
        }

    def label(self, text: str) -> str:
        text = text_folding.fold(text)
        for word in text.split():
            if self._unknown in self._ids(word):
                raise labels.UnwritableError(
                    labels.UNWRITABLE,
                    f"{word[:40]!r}: its SentencePiece vocabulary lacks a "
                    "character of it; write the words as they are said",
                )
        return text

    def tokenize(self, text: str) -> list[int]:
        return self._ids(self.label(text))

    def _ids(self, text: str) -> list[int]:
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
