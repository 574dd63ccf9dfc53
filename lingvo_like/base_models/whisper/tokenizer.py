"""Whisper's byte-level BPE: text to tokens on the host, back in the graph."""

import functools
import hashlib
import json

import numpy as np
import tensorflow as tf
import tokenizers

END_OF_TEXT = "<|endoftext|>"
START = "<|startoftranscript|>"
TRANSCRIBE = "<|transcribe|>"
NO_TIMESTAMPS = "<|notimestamps|>"
# Of GPT-2's vocabulary, which the English-only models use.
ENGLISH_ONLY_END_OF_TEXT = 50256
REPLACEMENT_CHARACTER = 0xFFFD


@functools.cache
def _byte_of_character():
    """GPT-2's printable stand-in of each byte, reversed."""
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
        vocabulary: dict of a token's printable form to its id, with or without
            the special tokens.
        merges: list of pairs of tokens, best first.
        special: dict of a special token to its id.
        language: code such as "en"; a multilingual model is told it.

    Raises:
        ValueError: a special token is missing, the ids have gaps, or the
            language is not one that the model knows.
    """

    def __init__(self, vocabulary, merges, special, language="en"):
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
        self.multilingual = self.end_of_text != ENGLISH_ONLY_END_OF_TEXT
        self.language = language
        self.prompt = self._make_prompt()
        self._encoder = tokenizers.Tokenizer(
            tokenizers.models.BPE(self.vocabulary, self.merges)
        )
        self._encoder.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
            add_prefix_space=False
        )
        self._pieces = self._make_pieces()
        self.suppressed = self._make_suppressed()
        self.suppressed_first = sorted({*self._encode(" "), self.end_of_text})

    @property
    def pad(self):
        """The id that fills a row after its last token."""
        return self.end_of_text

    def _make_prompt(self):
        start = self.special[START]
        no_timestamps = self.special[NO_TIMESTAMPS]
        if not self.multilingual:
            if self.language != "en":
                raise ValueError(
                    "an English-only Whisper takes language 'en'. Received: "
                    f"{self.language!r}."
                )
            return [start, no_timestamps]
        language = self.special.get(f"<|{self.language}|>")
        if language is None:
            raise ValueError(
                "this Whisper knows no language "
                f"{self.language!r}; use a code such as 'en', 'de' or 'fr'"
            )
        return [start, language, self._transcribe_id(), no_timestamps]

    def _transcribe_id(self):
        # Whisper's layout: translate, transcribe, startoflm, startofprev,
        # nospeech, notimestamps.
        return self.special.get(TRANSCRIBE, self.special[NO_TIMESTAMPS] - 4)

    def _make_pieces(self):
        table = _byte_of_character()
        pieces = [b""] * self.end_of_text
        for token, index in self.vocabulary.items():
            pieces[index] = bytes(table[character] for character in token)
        return np.array([*pieces, b""], dtype=object)

    def _make_suppressed(self):
        """Ids that greedy decoding without timestamps never gives.

        OpenAI's non-speech symbols (whisper/tokenizer.py,
        `non_speech_tokens`), the task tokens and the transcript's start.
        """
        symbols = list('"#()*+/:;<=>@[\\]^_`{|}~「」『』')
        symbols += (
            "<< >> <<< >>> -- --- -( -[ (' (\" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪"
        ).split()
        # Several tokens may spell one of these; the first is theirs alone.
        notes = list("♩♪♫♬♭♮♯")
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

    def _encode(self, text):
        return self._encoder.encode(text, add_special_tokens=False).ids

    def tokenize(self, text):
        """Text to a list of ids, with the leading space Whisper expects."""
        text = text.strip()
        return self._encode(" " + text) if text else []

    def detokenize(self, tokens, lengths):
        """Ids `[batch, max_tokens]` to text, a string tensor `[batch]`.

        Ids past a row's length, and special tokens, are left out; bytes that
        are no UTF-8, such as a character cut in half, become U+FFFD.
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

    def description(self):
        """What decides the ids of a text and the text of ids, JSON-able."""
        ordered = sorted(self.vocabulary, key=self.vocabulary.get)
        content = json.dumps([ordered, self.merges])
        return {
            "sha256": hashlib.sha256(content.encode()).hexdigest(),
            "end_of_text": self.end_of_text,
            "prompt": self.prompt,
            "suppressed": self.suppressed,
            "suppressed_first": self.suppressed_first,
        }

    def to_json(self):
        """The whole tokenizer as a `tokenizer.json` of Hugging Face's."""
        whole = tokenizers.Tokenizer(
            tokenizers.models.BPE(
                {**self.vocabulary, END_OF_TEXT: self.end_of_text}, self.merges
            )
        )
        whole.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(
            add_prefix_space=False
        )
        whole.decoder = tokenizers.decoders.ByteLevel()
        by_id = sorted(self.special.items(), key=lambda item: item[1])
        document = json.loads(whole.to_str())
        document["added_tokens"] = [
            {
                "id": index,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for token, index in by_id
        ]
        return json.dumps(document, ensure_ascii=False)


def from_json(text, language="en"):
    """A tokenizer from the text of a Hugging Face `tokenizer.json`.

    Raises:
        ValueError: it is no JSON, or no byte-level BPE.
    """
    document = json.loads(text)
    model = document.get("model", {}) if isinstance(document, dict) else {}
    if "vocab" not in model or "merges" not in model:
        raise ValueError("it holds no BPE vocabulary and merges")
    merges = [
        tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair)
        for pair in model["merges"]
    ]
    special = {
        token["content"]: token["id"]
        for token in document.get("added_tokens", [])
    }
    special.update(
        {
            token: index
            for token, index in model["vocab"].items()
            if token.startswith("<|") and token.endswith("|>")
        }
    )
    return WhisperTokenizer(model["vocab"], merges, special, language)


def from_vocabulary(vocabulary, merges, added, language="en"):
    """A tokenizer from the contents of vocab.json, merges.txt and so on.

    Args:
        vocabulary: dict of token to id.
        merges: the lines of merges.txt.
        added: dict of special token to id, from added_tokens.json.
        language: as `WhisperTokenizer` takes it.
    """
    pairs = [
        tuple(line.split(" "))
        for line in merges
        if line.strip() and not line.startswith("#version")
    ]
    special = {
        token: index
        for token, index in {**vocabulary, **added}.items()
        if token.startswith("<|") and token.endswith("|>")
    }
    return WhisperTokenizer(vocabulary, pairs, special, language)
