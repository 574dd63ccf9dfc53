import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.base_models.whisper import checkpoints, model as whisper
from tests.lingvo_like.base_models.whisper import whisper_bases

LENGTHS = (47000, 20000, 31111)


@pytest.fixture(scope="module")
def batch(base):
    """Features, paddings, tokens and token lengths of three utterances."""
    audio = whisper_bases.utterances(LENGTHS, whisper_bases.SAMPLES)
    features, paddings = base.features(audio, np.array(LENGTHS))
    tokens = np.array([[5, 6, 7, 0, 0], [9, 9, 8, 7, 6], [3, 0, 0, 0, 0]])
    return features, paddings, tokens, np.array([3, 5, 1])


@pytest.fixture(scope="module")
def base():
    return whisper_bases.small(
        languages=whisper_bases.LANGUAGES, max_tokens=12, scale=0.5
    )


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_row_of_mixed_languages_is_the_same_alone(base, batch, beam_size):
    features, paddings, tokens, token_lengths = batch
    languages = np.int32([2, 0, 1])
    encoded, out = base.encode(features, paddings)
    loss = base.loss(encoded, out, tokens, token_lengths, languages=languages)
    together = base.decode(encoded, out, beam_size, languages=languages)
    for row in range(3):
        here = slice(row, row + 1)
        alone, alone_out = base.encode(features[here], paddings[here])
        own = languages[here]
        np.testing.assert_allclose(
            base.loss(alone, alone_out, tokens[here], token_lengths[here], own),
            loss[here],
            atol=1e-5,
        )
        found = base.decode(alone, alone_out, beam_size, languages=own)
        np.testing.assert_array_equal(found[0], together[0][here])
        np.testing.assert_array_equal(found[1], together[1][here])
        np.testing.assert_allclose(found[2], together[2][here], atol=1e-5)


def test_each_language_has_a_loss_and_a_score_of_its_own(base, batch):
    features, paddings, tokens, token_lengths = batch
    encoded, out = base.encode(features, paddings)
    losses, scores = [], []
    for index in range(3):
        each = np.full([3], index, np.int32)
        losses.append(base.loss(encoded, out, tokens, token_lengths, each))
        scores.append(base.decode(encoded, out, languages=each)[2])
    for found in (losses, scores):
        assert np.min(np.abs(np.diff(np.sort(found, axis=0), axis=0))) > 1e-5


def test_the_loss_of_a_language_is_that_of_its_prompt(base, batch):
    features, paddings, tokens, token_lengths = batch
    encoded, out = base.encode(features, paddings)
    loss = base.loss(
        encoded, out, tokens, token_lengths, languages=np.int32([1, 2, 0])
    )
    end = base.tokenizer.end_of_text
    for row, index in enumerate([1, 2, 0]):
        own = tokens[row, : token_lengths[row]].tolist()
        prompt = base.tokenizer.prompts[index]
        states = base.decoder.hidden_states(
            np.array([prompt + own]), encoded[row : row + 1]
        )
        scores = tf.nn.log_softmax(base.decoder.logits(states))[0].numpy()
        scores = scores[len(prompt) - 1 :]
        expected = -np.mean(scores[np.arange(len(own) + 1), own + [end]])
        np.testing.assert_allclose(loss[row], expected, rtol=1e-5)


def test_several_languages_and_no_choice_are_an_error(base, batch):
    features, paddings, tokens, token_lengths = batch
    encoded, out = base.encode(features, paddings)
    with pytest.raises(ValueError, match="3 languages.*Received: None"):
        base.loss(encoded, out, tokens, token_lengths)
    with pytest.raises(ValueError, match="3 languages.*Received: None"):
        base.decode(encoded, out)


def test_a_saved_base_knows_the_same_languages(base, tmp_path):
    base.save(str(tmp_path / "base"))
    again = whisper.load(str(tmp_path / "base"))
    assert again.languages == ("en", "de", "fr")
    assert again.fingerprint() == base.fingerprint()
    known = checkpoints.known_languages(str(tmp_path / "base"))
    assert known == again.languages
