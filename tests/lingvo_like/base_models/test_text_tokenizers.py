import io

import numpy as np
import pytest

from lingvo_like.base_models import text_tokenizers

TEXTS = ["turn the lights off", "it's 7 o'clock", "", "a"]


def round_trip(tokenizer, texts):
    rows = [tokenizer.tokenize(text) for text in texts]
    lengths = np.array([len(row) for row in rows], "int32")
    tokens = np.full((len(rows), 30), 3, "int32")
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = row
    return [
        text.decode() for text in tokenizer.detokenize(tokens, lengths).numpy()
    ]


@pytest.fixture(scope="module")
def sentence_piece_file(tmp_path_factory):
    sentencepiece = pytest.importorskip(
        "sentencepiece", reason="makes the model that is read here"
    )
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS[:2] * 20),
        model_writer=model,
        vocab_size=30,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    path = tmp_path_factory.mktemp("vocabulary") / "words.model"
    path.write_bytes(model.getvalue())
    return str(path)


def test_characters_come_back_as_they_went():
    tokenizer = text_tokenizers.load("characters")
    assert round_trip(tokenizer, TEXTS) == TEXTS
    ids = tokenizer.tokenize(text_tokenizers.SYMBOLS)
    assert max(ids) == tokenizer.vocabulary_size - 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Turn   LEFT, please! ", "turn left please"),
        ("Café — don’t", "cafe don't"),
        ("well-known\tway", "well known way"),
        ("?!", ""),
    ],
)
def test_characters_normalise(text, expected):
    tokenizer = text_tokenizers.Characters()
    assert round_trip(tokenizer, [text]) == [expected]


def test_characters_name_the_letter_they_lack():
    with pytest.raises(ValueError, match="'ж'.*SentencePiece"):
        text_tokenizers.Characters().tokenize("жук")


def test_sentence_piece_comes_back_as_it_went(sentence_piece_file):
    tokenizer = text_tokenizers.load(sentence_piece_file)
    assert round_trip(tokenizer, TEXTS[:3]) == TEXTS[:3]
    assert max(tokenizer.tokenize(TEXTS[0])) < tokenizer.vocabulary_size
    again = text_tokenizers.load(sentence_piece_file)
    assert again.description() == tokenizer.description()


def test_files_that_are_no_vocabulary_are_named(tmp_path):
    missing = str(tmp_path / "none.model")
    with pytest.raises(ValueError, match="none.model"):
        text_tokenizers.load(missing)
    broken = tmp_path / "broken.model"
    broken.write_bytes(b"not a model")
    with pytest.raises(ValueError, match="broken.model is not a Sentence"):
        text_tokenizers.load(str(broken))
