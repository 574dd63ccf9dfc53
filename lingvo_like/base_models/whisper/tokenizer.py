"""Whisper's byte-level BPE: text to tokens on the host, back in the graph."""

import functools
import hashlib
import json
from collections import abc
from typing import Any

import numpy as np
import tensorflow as tf
import tokenizers

from lingvo_like import text_folding
from lingvo_like.base_models import labels
from lingvo_like.base_models.whisper import languages

END_OF_TEXT = languages.END_OF_TEXT
START = "<|startoftranscript|>"
TRANSCRIBE = "<|transcribe|>"
NO_TIMESTAMPS = "<|notimestamps|>"
REPLACEMENT_CHARACTER = 0xFFFD
# Symbols that decoding never writes by themselves.
_NEVER_WRITTEN = '"#()*+/:;<=>@[\\]^_`{|}~「」『』'
_NOTES = "♩♪♫♬♭♮♯"


@functools.cache
def byte_of_character() -> dict[str, int]:
    """The byte that each of GPT-2's 256 printable characters stands for."""
    printable = [
        *range(ord("!"), ord("~") + 1),
        *range(0xA1, 0xAC + 1),
        *range(0xAE, 0xFF + 1),
    ]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable}
    table.update({chr(256 + i): byte for i, byte in enumerate(others)})
    return table


class WhisperTokenizer:
    """Byte-level BPE with Whisper's special tokens.

    Args:
        vocabulary: ids by the tokens' printable forms, with or without the
            special tokens.
        merges: pairs of tokens, best first.
        special: ids by special token.

    Attributes:
        languages: codes that the model can be told to write.
        prompts: for each language the tokens before a text; of one length.

    Raises:
        ValueError: a special token is missing, or the ids have gaps.
    """

    def __init__(
        self,
        vocabulary: abc.Mapping[str, int],
        merges: abc.Iterable[abc.Sequence[str]],
        special: abc.Mapping[str, int],
    ) -> None:
        self.special = dict(special)
        for token in (END_OF_TEXT, START, NO_TIMESTAMPS):
            if token not in self.special:
                raise ValueError(f"the tokenizer has no special token {token}")
        self.end_of_text = self.special[END_OF_TEXT]
        self.merges = [tuple(pair) for pair in merges]
        self.vocabulary = {
            token: index
            for token, index in vocabulary.items()
            if index < self.end_of_text
        }
        if sorted(self.vocabulary.values()) != list(range(self.end_of_text)):
            raise ValueError(
                f"the tokenizer's vocabulary must hold every id below "
                f"{END_OF_TEXT}, {self.end_of_text}; it holds "
                f"{len(self.vocabulary)} of them"
            )
        self.multilingual = languages.is_multilingual(self.special)
        self.languages = languages.of(self.special)
        self.prompts = [self._prompt(code) for code in self.languages]
        self._encoder = tokenizers.Tokenizer(
            tokenizers.models.BPE(self.vocabulary, self.merges)
        )
        self._encoder.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
            add_prefix_space=False
        )
        self._pieces = self._make_pieces()
        self.suppressed = self._make_suppressed()
        self._never_in_labels = self._find_never_in_labels()
        self.suppressed_first = sorted({*self._encode(" "), self.end_of_text})

    def _prompt(self, language: str) -> list[int]:
        start = self.special[START]
        no_timestamps = self.special[NO_TIMESTAMPS]
        if not self.multilingual:
            return [start, no_timestamps]
        token = self.special[languages.token(language)]
        # Whisper's layout: translate, transcribe, startoflm, startofprev,
        # nospeech, notimestamps.
        transcribe = self.special.get(TRANSCRIBE, no_timestamps - 4)
        return [start, token, transcribe, no_timestamps]

    def _make_pieces(self) -> np.ndarray:
        table = byte_of_character()
        pieces = [b""] * self.end_of_text
        for token, index in self.vocabulary.items():
            pieces[index] = bytes(table[character] for character in token)
        return np.array([*pieces, b""], dtype=object)

    def _make_suppressed(self) -> list[int]:
        """Ids that decoding without timestamps never returns.

        OpenAI's non-speech symbols (whisper/tokenizer.py,
        `non_speech_tokens`), the task tokens and the transcript's start.
        """
        symbols = [*_NEVER_WRITTEN]
        symbols += (
            "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪"
        ).split()
        # Several tokens may spell one of these notes; only they use the first.
        notes = [*_NOTES]
        ids = {self._encode(" -")[0], self._encode(" '")[0]}
        for symbol in symbols + notes:
            for text in (symbol, " " + symbol):
                tokens = self._encode(text)
                if len(tokens) == 1 or symbol in notes:
                    ids.add(tokens[0])
        no_timestamps = self.special[NO_TIMESTAMPS]
        ids.update(range(no_timestamps - 5, no_timestamps))
        ids.add(self.special[START])
        return sorted(ids)

    def _encode(self, text: str) -> list[int]:
        return self._encoder.encode(text, add_special_tokens=False).ids

    def label(self, text: str) -> str:
        """A transcript as the model writes it; see `BaseModel.label`.

        Quotation marks, colons and other symbols that decoding never returns
        go, where they say nothing.

        Raises:
            UnwritableError: they say something, or the letters are those of
                another script than an English-only model's.
        """
        text = text_folding.fold(text)
        labels.check_speech(text)
        if not self.multilingual:
            labels.check_latin(text)
        if self._is_writable(text):
            return text
        lacking = _NEVER_WRITTEN + _NOTES
        written = labels.without_marks(text, lacking.__contains__)
        if not self._is_writable(written):
            written = labels.without_single_quotes(written)
            written = labels.without_leading_marks(written)
        if not self._is_writable(written):
            raise labels.UnwritableError(
                labels.UNWRITABLE,
                f"{text[:40]!r}: write the words as they are said",
            )
        return written

    def _is_writable(self, text: str) -> bool:
        return self._never_in_labels.isdisjoint(
            self.tokenize(text)
        ) and not set(_NOTES).intersection(text)

    def _find_never_in_labels(self) -> frozenset[int]:
        """Suppressed ids of whole symbols: a part of one may begin others."""
        found = set()
        for index in self.suppressed:
            if index < self.end_of_text:
                piece = self._pieces[index].decode("utf-8", "ignore")
                if piece.strip():
                    found.add(index)
        return frozenset(found)

    def tokenize(self, text: str) -> list[int]:
        """The ids of a text, with the leading space that Whisper expects."""
        text = text.strip()
        return self._encode(" " + text) if text else []

    def detokenize(self, tokens: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """Ids `[batch, max_tokens]` to text, a string tensor `[batch]`.

        Ids past a row's length, and special tokens, are left out. Bytes that
        are not UTF-8, such as half a character, become U+FFFD.
        """
        tokens = tf.cast(tokens, tf.int32)
        valid = tf.sequence_mask(lengths, tf.shape(tokens)[1])
        spoken = valid & (tokens >= 0) & (tokens < self.end_of_text)
        tokens = tf.where(spoken, tokens, self.end_of_text)
        joined = tf.strings.reduce_join(
            tf.gather(tf.constant(self._pieces), tokens), axis=-1
        )
        return tf.strings.strip(
            tf.strings.unicode_transcode(
                joined,
                "UTF-8",
                "UTF-8",
                errors="replace",
                replacement_char=REPLACEMENT_CHARACTER,
            )
        )

    def description(self) -> dict[str, Any]:
        """Everything that decides ids and texts, as JSON values."""
        ordered = sorted(self.vocabulary, key=self.vocabulary.__getitem__)
        prompts = list(zip(self.languages, self.prompts, strict=True))
        content = json.dumps([ordered, self.merges, prompts])
        return {
            "sha256": hashlib.sha256(content.encode()).hexdigest(),
            "end_of_text": self.end_of_text,
            "suppressed": self.suppressed,
            "suppressed_first": self.suppressed_first,
        }

    def to_json(self) -> str:
        """The tokenizer as the text of a Hugging Face `tokenizer.json`."""
        whole = tokenizers.Tokenizer(
            tokenizers.models.BPE(
                {**self.vocabulary, END_OF_TEXT: self.end_of_text}, self.merges
            )
        )
        whole.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
            add_prefix_space=False
        )
        whole.decoder = tokenizers.decoders.ByteLevel()
        document = json.loads(whole.to_str())
        document["added_tokens"] = [
            {
                "id": self.special[token],
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for token in sorted(self.special, key=self.special.__getitem__)
        ]
        return json.dumps(document, ensure_ascii=False)


def from_json(text: str | bytes) -> WhisperTokenizer:
    """A tokenizer from the text of a Hugging Face `tokenizer.json`.

    Raises:
        ValueError: the text is no JSON, or no byte-level BPE.
    """
    model, special = _parts(text)
    pairs = [
        pair.split(" ") if isinstance(pair, str) else pair
        for pair in model["merges"]
    ]
    return WhisperTokenizer(model["vocab"], pairs, special)


def special_tokens(text: str | bytes) -> dict[str, int]:
    """The special tokens of a `tokenizer.json`; raises as `from_json`."""
    return _parts(text)[1]


def _parts(text: str | bytes) -> tuple[dict[str, Any], dict[str, int]]:
    """The model of a `tokenizer.json`, and its special tokens."""
    document = json.loads(text)
    model = document.get("model", {}) if isinstance(document, dict) else {}
    if "vocab" not in model or "merges" not in model:
        raise ValueError("it holds no BPE vocabulary and merges")
    added = {
        token["content"]: token["id"]
        for token in document.get("added_tokens", [])
    }
    return model, {**added, **_special(model["vocab"])}


def from_vocabulary(
    vocabulary: abc.Mapping[str, int],
    merges: abc.Iterable[str],
    added: abc.Mapping[str, int],
) -> WhisperTokenizer:
    """A tokenizer from the contents of vocab.json and of the files beside it.

    `merges` are the lines of merges.txt, `added` is added_tokens.json.
    """
    pairs = [
        line.split(" ")
        for line in merges
        if line.strip() and not line.startswith("#version")
    ]
    special = _special({**vocabulary, **added})
    return WhisperTokenizer(vocabulary, pairs, special)


def _special(vocabulary: abc.Mapping[str, int]) -> dict[str, int]:
    return {
        token: index
        for token, index in vocabulary.items()
        if token.startswith("<|") and token.endswith("|>")
    }
