import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.base_models.whisper import model as whisper
from tests.lingvo_like.base_models import block_outputs
from tests.lingvo_like.base_models.whisper import whisper_bases

LENGTHS = (47000, 20000, 31111)


@pytest.fixture(scope="module")
def base():
    return whisper_bases.small()


@pytest.fixture(scope="module")
def batch(base):
    """Features, paddings, tokens and token lengths of three utterances."""
    audio = whisper_bases.utterances(LENGTHS, whisper_bases.SAMPLES)
    features, paddings = base.features(audio, np.array(LENGTHS))
    tokens = np.array([[5, 6, 7, 0, 0], [9, 9, 8, 7, 6], [3, 0, 0, 0, 0]])
    return features, paddings, tokens, np.array([3, 5, 1])


def adapter(seed, dim=16):
    generator = np.random.default_rng(seed)
    down = tf.Variable(generator.standard_normal((dim, 4)).astype("float32"))
    up = tf.Variable(generator.standard_normal((4, dim)).astype("float32"))
    return lambda x: x + 0.1 * tf.nn.relu(x @ down) @ up, [down, up]


def run(base, audio, lengths, tokens, token_lengths):
    """Loss per utterance, an adapter's gradients, and text."""
    apply, variables = adapter(1)
    features, paddings = base.features(audio, lengths)
    functions = block_outputs.functions({1: apply})
    with tf.GradientTape() as tape:
        encoded, paddings = base.encode(features, paddings, functions)
        loss = base.loss(encoded, paddings, tokens, token_lengths)
        total = tf.reduce_sum(loss)
    decoded, decoded_lengths, scores, _ = base.decode(encoded, paddings)
    text = base.detokenize(decoded, decoded_lengths)
    gradients = tape.gradient(total, variables)
    return loss.numpy(), gradients, text.numpy().tolist(), scores.numpy()


def check_backbone(base, features, paddings, tokens):
    expected = whisper_bases.backbone(base)(
        {
            "encoder_features": features,
            "decoder_token_ids": tf.constant(tokens),
            "decoder_padding_mask": tf.ones_like(tokens),
        }
    )
    encoded, _ = base.encode(features, paddings)
    np.testing.assert_allclose(
        encoded, expected["encoder_sequence_output"], atol=1e-4
    )
    np.testing.assert_allclose(
        base.decoder.hidden_states(tokens, encoded),
        expected["decoder_sequence_output"],
        atol=1e-4,
    )


def test_layers_agree_with_kerashub(base, batch):
    features, paddings, tokens, _ = batch
    check_backbone(base, features, paddings, tokens)


@pytest.mark.slow
def test_real_weights_agree_with_kerashub():
    base = whisper_bases.real()
    audio = whisper_bases.utterances([30000], 32000)
    features, paddings = base.features(audio, np.array([30000]))
    tokens = np.array([[50257, 50362, 2425, 11]])
    check_backbone(base, features, paddings, tokens)


def test_lower_and_upper_make_encode_at_every_split(base, batch):
    features, paddings = batch[:2]
    apply, _ = adapter(2)
    functions = block_outputs.functions({1: apply, 2: apply})
    whole, whole_paddings = base.encode(features, paddings, functions)
    for split in range(3):
        x, below = base.lower(features, paddings, split)
        x = base.upper(x, below, split, functions)
        np.testing.assert_array_equal(x, whole)
        np.testing.assert_array_equal(below, whole_paddings)
    plain, _ = base.encode(features, paddings)
    x, below = base.lower(features, paddings, 3)
    np.testing.assert_array_equal(base.upper(x, below, 3), plain)


def test_functions_of_unknown_sites_are_refused(base, batch):
    message = "no site 'encoder/block_03/output'. Did you mean encoder/block_0"
    with pytest.raises(ValueError, match=message):
        base.encode(*batch[:2], block_outputs.functions({3: lambda x: x}))


def test_upper_applies_the_adapter_that_lower_left_out(base, batch):
    features, paddings = batch[:2]
    apply, _ = adapter(3)
    functions = block_outputs.functions({0: apply})
    whole, _ = base.encode(features, paddings, functions)
    x, below = base.lower(features, paddings, 1)
    np.testing.assert_array_equal(base.upper(x, below, 1, functions), whole)
    without = base.upper(x, below, 1)
    assert np.abs(np.asarray(whole) - np.asarray(without)).max() > 1e-3


def test_identity_functions_change_nothing(base, batch):
    features, paddings = batch[:2]
    identity = block_outputs.functions(
        {i: lambda x: x + 0.0 for i in range(base.num_blocks)}
    )
    np.testing.assert_array_equal(
        base.encode(features, paddings, identity)[0],
        base.encode(features, paddings)[0],
    )


def test_garbage_in_padded_audio_changes_nothing(base, batch):
    tokens, token_lengths = batch[2:]
    clean = whisper_bases.utterances(LENGTHS, whisper_bases.SAMPLES)
    dirty = clean.copy()
    for row, garbage in enumerate((9.0, np.nan, np.inf)):
        dirty[row, LENGTHS[row] :] = garbage
    expected = run(base, clean, np.array(LENGTHS), tokens, token_lengths)
    got = run(base, dirty, np.array(LENGTHS), tokens, token_lengths)
    np.testing.assert_array_equal(got[0], expected[0])
    for one, other in zip(got[1], expected[1], strict=True):
        np.testing.assert_array_equal(one, other)
    assert got[2] == expected[2]
    np.testing.assert_array_equal(got[3], expected[3])


@pytest.mark.parametrize("garbage", [9.0, np.nan])
def test_garbage_in_padded_frames_changes_nothing(base, batch, garbage):
    features, paddings = batch[:2]
    dirty = np.where(np.asarray(paddings)[..., None] > 0, garbage, features)
    np.testing.assert_array_equal(
        base.encode(dirty.astype("float32"), paddings)[0],
        base.encode(features, paddings)[0],
    )


@pytest.mark.parametrize("garbage", [-7, 10**6])
def test_padded_tokens_may_be_anything(base, batch, garbage):
    features, paddings, tokens, token_lengths = batch
    encoded, paddings = base.encode(features, paddings)
    loss = base.loss(encoded, paddings, tokens, token_lengths)
    longer = np.full((3, 8), garbage)
    for row, length in enumerate(token_lengths):
        longer[row, :length] = tokens[row, :length]
    np.testing.assert_allclose(
        base.loss(encoded, paddings, longer, token_lengths), loss, rtol=1e-6
    )


def test_loss_is_the_mean_over_own_tokens_and_the_end(base, batch):
    features, paddings, tokens, token_lengths = batch
    encoded, paddings = base.encode(features, paddings)
    loss = base.loss(encoded, paddings, tokens, token_lengths)
    for row, length in enumerate(token_lengths):
        own = tokens[row, :length].tolist()
        ids = np.array([base.tokenizer.prompts[0] + own])
        states = base.decoder.hidden_states(ids, encoded[row : row + 1])
        scores = tf.nn.log_softmax(base.decoder.logits(states))[0].numpy()
        labels = own + [base.tokenizer.end_of_text]
        scores = scores[len(base.tokenizer.prompts[0]) - 1 :]
        expected = -np.mean(scores[np.arange(length + 1), labels])
        np.testing.assert_allclose(loss[row], expected, rtol=1e-5)


@pytest.mark.parametrize("beam_size", [1, 3])
def test_a_row_is_the_same_alone_and_in_a_batch(base, batch, beam_size):
    features, paddings, tokens, token_lengths = batch
    encoded, out = base.encode(features, paddings)
    loss = base.loss(encoded, out, tokens, token_lengths)
    decoded, lengths, scores, _ = base.decode(encoded, out, beam_size)
    for row in range(3):
        here = slice(row, row + 1)
        alone, alone_out = base.encode(features[here], paddings[here])
        np.testing.assert_allclose(alone, encoded[here], atol=1e-5)
        np.testing.assert_allclose(
            base.loss(alone, alone_out, tokens[here], token_lengths[here]),
            loss[here],
            atol=1e-5,
        )
        result = base.decode(alone, alone_out, beam_size)
        np.testing.assert_array_equal(result[0], decoded[here])
        np.testing.assert_array_equal(result[1], lengths[here])
        np.testing.assert_allclose(result[2], scores[here], atol=1e-5)


def test_frozen_base_has_nothing_to_train_and_keeps_its_fingerprint(batch):
    base = whisper_bases.small()
    before = base.fingerprint()
    assert not base.trainable_variables
    audio = whisper_bases.utterances(LENGTHS, whisper_bases.SAMPLES)
    _, gradients, _, _ = run(base, audio, np.array(LENGTHS), *batch[2:])
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)
    assert base.fingerprint() == before


def test_fingerprint_depends_on_weights_and_context(base):
    other = whisper_bases.small()
    assert other.fingerprint() == base.fingerprint()
    bias = other.named_weights()["encoder/block_1/query_bias"]
    bias.assign(bias + 1e-6)
    assert other.fingerprint() != base.fingerprint()
    short = whisper_bases.small(audio_context="short")
    assert short.fingerprint() != base.fingerprint()


def test_unfrozen_weights_get_gradients(batch):
    base = whisper_bases.small()
    base.trainable = True
    features, paddings, tokens, token_lengths = batch
    with tf.GradientTape() as tape:
        encoded, out = base.encode(features, paddings)
        loss = tf.reduce_sum(base.loss(encoded, out, tokens, token_lengths))
    gradients = tape.gradient(loss, base.trainable_variables)
    assert len(gradients) == len(base.named_weights())
    assert all(gradient is not None for gradient in gradients)


def test_a_text_may_be_as_long_as_the_decoder_has_positions():
    base = whisper_bases.small(max_tokens=None, positions=40)
    assert base.max_tokens == 40 - len(base.tokenizer.prompts[0])


def test_full_context_has_one_bucket():
    base = whisper_bases.small()
    assert base.bucket_samples(1) == whisper_bases.SAMPLES
    assert base.bucket_samples(whisper_bases.SAMPLES) == whisper_bases.SAMPLES
    with pytest.raises(ValueError, match="longer than the 3 s"):
        base.bucket_samples(whisper_bases.SAMPLES + 1)


def test_short_context_rounds_utterance_and_tail_up_to_seconds():
    base = whisper_bases.small(audio_context="short")
    assert base.bucket_samples(8000) == 16000
    assert base.bucket_samples(8001) == 32000
    assert base.bucket_samples(47000) == whisper_bases.SAMPLES


def test_only_a_new_bucket_traces_again(base):
    traces = []

    @tf.function
    def recognise(audio, lengths):
        traces.append(audio.shape)
        features, paddings = base.features(audio, lengths)
        return base.encode(features, paddings)

    for seconds in (1, 2, 1, 2, 2):
        lengths = [16000 * seconds - 100 * i - 7 for i in range(2)]
        audio = whisper_bases.utterances(lengths, 16000 * seconds)
        recognise(tf.constant(audio), tf.constant(lengths))
    assert len(traces) == 2


@pytest.mark.slow
def test_saved_model_answers_with_the_same_text(base, tmp_path):
    class Recogniser(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, whisper_bases.SAMPLES]),
                tf.TensorSpec([None], tf.int32),
            ]
        )
        def recognise(self, audio, lengths):
            encoded = base.encode(*base.features(audio, lengths))
            tokens, token_lengths, scores, _ = base.decode(*encoded)
            return base.detokenize(tokens, token_lengths), scores

    module = Recogniser()
    module.base = base
    audio = whisper_bases.utterances(LENGTHS, whisper_bases.SAMPLES)
    arguments = tf.constant(audio), tf.constant(LENGTHS)
    expected = module.recognise(*arguments)
    tf.saved_model.save(module, str(tmp_path))
    served = tf.saved_model.load(str(tmp_path))
    loaded = served.recognise(*arguments)
    assert loaded[0].numpy().tolist() == expected[0].numpy().tolist()
    np.testing.assert_allclose(loaded[1], expected[1], atol=1e-5)


def test_mixed_precision_keeps_losses_and_scores_in_float32(batch):
    features, paddings, tokens, token_lengths = batch
    base = whisper_bases.small(dtype="mixed_bfloat16")
    encoded, out = base.encode(features, paddings)
    assert encoded.dtype == tf.bfloat16
    loss = base.loss(encoded, out, tokens, token_lengths)
    assert loss.dtype == base.decode(encoded, out)[2].dtype == tf.float32
    assert np.isfinite(loss).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"audio_context": "long"}, "audio_context"),
        ({"max_tokens": 29}, "from 1 to 28"),
        ({"max_tokens": 0}, "from 1 to 28"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        whisper.Whisper(
            whisper_bases.dimensions(),
            whisper_bases.tokenizer(),
            **arguments,
        )
