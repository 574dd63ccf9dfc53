import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from lingvo_like import files
from lingvo_like.base_models import conformer_ctc
from tests.lingvo_like.base_models import block_outputs

RATE = 8000
ARGUMENTS = {
    "model_dim": 16,
    "num_blocks": 3,
    "num_heads": 2,
    "kernel_size": 4,
    "feed_forward_expansion": 2,
    "dropout_rate": 0.1,
    "sample_rate": RATE,
    "num_bins": 20,
    "upper_edge_hertz": 3800.0,
    "buckets_seconds": (0.5, 1.0),
}
TOKENS = np.array([[3, 3, 5, 0], [7, 8, 0, 0]], "int32")
TOKEN_LENGTHS = np.array([3, 2], "int32")
RNG = np.random.default_rng(0)


def make(**changes):
    keras.utils.set_random_seed(1)
    return conformer_ctc.ConformerCtc(**{**ARGUMENTS, **changes})


@pytest.fixture(scope="module")
def model():
    model = make()
    # Biases and gains off their start, so that none is left out unseen.
    rng = np.random.default_rng(1)
    for weight in model.weights:
        value = weight.numpy()
        noise = rng.normal(size=value.shape, scale=0.1)
        weight.assign(value + noise.astype("float32"))
    model.trainable = False
    return model


def audio(batch=2, samples=4000):
    return RNG.normal(size=(batch, samples), scale=0.1).astype("float32")


def lengths(*values):
    return np.array(values, "int32")


def double(x):
    return 2.0 * x


def swap(x):
    # Not a shift: the layer norms downstream would cancel it.
    return x[:, :, ::-1]


def test_has_nothing_to_train_when_frozen(model):
    assert model.trainable_variables == []
    assert len(model.named_weights()) == len(model.weights) == 107


@pytest.mark.parametrize("garbage", [0.9, np.nan])
def test_padding_changes_no_loss_gradient_or_text(model, garbage):
    clean = audio()
    clean[1, 2500:] = 0.0
    dirty = clean.copy()
    dirty[1, 2500:] = garbage

    doubling = block_outputs.functions({1: double})

    def run(audio):
        features, paddings = model.features(audio, lengths(4000, 2500))
        activations, paddings = model.lower(features, paddings, 1)
        # What a cache on disk might hold where nothing was valid.
        if audio is dirty:
            activations = tf.where(
                paddings[:, :, None] > 0.5, garbage, activations
            )
        with tf.GradientTape() as tape:
            tape.watch(activations)
            encoded = model.upper(activations, paddings, 1, doubling)
            loss = model.loss(encoded, paddings, TOKENS, TOKEN_LENGTHS)
        gradient = tape.gradient(loss, activations)
        return loss, gradient, *model.decode(encoded, paddings)

    for actual, expected in zip(run(dirty), run(clean), strict=True):
        assert np.isfinite(actual).all()
        np.testing.assert_array_equal(actual, expected)


def test_rows_do_not_see_their_neighbours_or_their_bucket(model):
    recording = audio(batch=1, samples=3900)
    short = np.pad(recording, ((0, 0), (0, 100)))
    long = np.concatenate(
        [np.pad(recording, ((0, 0), (0, 4100))), audio(1, 8000)]
    )

    def run(audio, lengths):
        encoded, paddings = model.encode(*model.features(audio, lengths))
        loss = model.loss(
            encoded,
            paddings,
            np.repeat(TOKENS[:1], len(audio), axis=0),
            np.repeat(TOKEN_LENGTHS[:1], len(audio)),
        )
        return (
            encoded[0, :13],
            loss[0],
            *(output[0] for output in model.decode(encoded, paddings)),
        )

    alone, together = run(short, lengths(3900)), run(long, lengths(3900, 8000))
    for actual, expected in zip(together, alone, strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-4)


@pytest.mark.parametrize("split", [0, 1, 2, 3])
def test_lower_and_upper_make_the_whole_at_every_split(model, split):
    features, paddings = model.features(audio(), lengths(4000, 2500))
    functions = block_outputs.functions(
        {block: swap for block in range(split - 1, 3) if block >= 0}
    )
    expected, expected_paddings = model.encode(features, paddings, functions)
    activations, paddings = model.lower(features, paddings, split)
    actual = model.upper(activations, paddings, split, functions)
    np.testing.assert_array_equal(paddings, expected_paddings)
    np.testing.assert_array_equal(actual, expected)


def test_identity_functions_are_none_bit_for_bit(model):
    features, paddings = model.features(audio(), lengths(4000, 2500))
    bare, _ = model.encode(features, paddings)
    identity = {block: lambda x: x + 0.0 * x for block in range(3)}
    same, swapped = (
        model.encode(features, paddings, block_outputs.functions(by_block))[0]
        for by_block in (identity, {1: swap})
    )
    np.testing.assert_array_equal(same, bare)
    assert np.abs(swapped - bare).max() > 1e-3


def test_functions_of_unknown_sites_are_refused(model):
    features, paddings = model.features(audio(), lengths(4000, 2500))
    unknown = block_outputs.functions({3: swap})
    message = "no site 'encoder/block_03/output'. Did you mean encoder/block_0"
    with pytest.raises(ValueError, match=message):
        model.encode(features, paddings, unknown)


def test_buckets_are_the_shortest_that_hold_the_utterance(model):
    assert model.bucket_samples(1) == model.bucket_samples(4000) == 4000
    assert model.bucket_samples(4001) == model.max_samples == 8000
    with pytest.raises(ValueError, match="lasts 1.00 s; the longest.* 1 s"):
        model.bucket_samples(8001)


def test_a_text_of_a_token_for_each_frame_is_not_cut(model, monkeypatch):
    encoded, paddings = model.encode(
        *model.features(audio(1, 8000), lengths(8000))
    )
    frames = encoded.shape[1]
    # Another letter in each frame.
    letters = np.arange(frames) % 2 + 1
    logits = 10.0 * np.eye(30, dtype="float32")[letters][None]
    monkeypatch.setattr(model, "logits", lambda _: tf.constant(logits))
    for beam_size in (1, 2):
        tokens, count, _, ended = model.decode(encoded, paddings, beam_size)
        assert count.numpy().tolist() == [frames]
        assert tokens[0, :frames].numpy().tolist() == letters.tolist()
        assert ended.numpy().tolist() == [True]


def test_says_whether_a_transcript_fits_its_audio(model):
    frames = model.num_frames(2500)
    _, paddings = model.lower(*model.features(audio(1), lengths(2500)), 0)
    assert (1 - paddings).numpy().sum() == frames
    assert model.fits(2500, list(range(1, frames + 1)))
    assert not model.fits(2500, [1] * frames)


def test_the_loss_is_per_token_and_the_score_its_negative(model):
    encoded, paddings = model.encode(
        *model.features(audio(), lengths(4000, 2500))
    )
    for beam_size in (1, 3):
        tokens, token_lengths, scores, _ = model.decode(
            encoded, paddings, beam_size
        )
        assert tokens.shape == (2, model.max_tokens)
        assert token_lengths.shape == scores.shape == (2,)
        loss = model.loss(encoded, paddings, tokens, token_lengths)
        np.testing.assert_allclose(scores, -loss, rtol=1e-6)
    once = model.loss(encoded, paddings, TOKENS, lengths(1, 1))
    assert once.dtype == tf.float32


def test_texts_come_back_and_no_token_is_the_blank(model):
    tokens = model.tokenize("it's on")
    assert 0 not in tokens
    room = model.max_tokens - len(tokens)
    padded = np.array([tokens + [0] * room], "int32")
    text = model.detokenize(padded, lengths(len(tokens)))
    assert text.numpy().tolist() == [b"it's on"]


def test_dropout_acts_only_where_training_is_asked_for(model):
    features, paddings = model.features(audio(), lengths(4000, 2500))
    still = [model.encode(features, paddings)[0] for _ in range(2)]
    np.testing.assert_array_equal(*still)
    moving, _ = model.encode(features, paddings, training=True)
    assert np.abs(moving - still[0]).max() > 1e-3


def test_computes_in_bfloat16_with_losses_in_float32(model):
    half = make(dtype="mixed_bfloat16")
    for name, weight in half.named_weights().items():
        assert weight.dtype == "float32"
        weight.assign(model.named_weights()[name])
    assert half.fingerprint() == model.fingerprint()
    recording, valid = audio(), lengths(4000, 2500)
    features, paddings = half.features(recording, valid)
    encoded, reduced = half.encode(features, paddings)
    assert encoded.dtype == tf.bfloat16
    assert features.dtype == paddings.dtype == reduced.dtype == tf.float32
    loss = half.loss(encoded, reduced, TOKENS, TOKEN_LENGTHS)
    assert loss.dtype == tf.float32
    expected = model.loss(
        *model.encode(features, paddings), TOKENS, TOKEN_LENGTHS
    )
    np.testing.assert_allclose(loss, expected, rtol=0.03)


def test_each_bucket_is_traced_once(model):
    traced = []

    @tf.function
    def recognise(audio, lengths):
        traced.append(audio.shape)
        return model.encode(*model.features(audio, lengths))

    for _ in range(3):
        for samples in (4000, 8000):
            recognise(
                tf.constant(audio(samples=samples)),
                tf.constant(RNG.integers(1, samples, 2).astype("int32")),
            )
    assert len(traced) == 2


@pytest.mark.slow
def test_a_saved_model_answers_with_the_same_text(model, tmp_path):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 4000]),
            tf.TensorSpec([None], tf.int32),
        ]
    )
    def recognise(audio, lengths):
        encoded = model.encode(*model.features(audio, lengths))
        tokens, token_lengths, scores, _ = model.decode(*encoded)
        return model.detokenize(tokens, token_lengths), scores

    module = tf.Module()
    module.model, module.recognise = model, recognise
    tf.saved_model.save(module, str(tmp_path))
    recording, valid = audio(3), lengths(4000, 2500, 1)
    text, scores = recognise(recording, valid)
    served = tf.saved_model.load(str(tmp_path))
    again, other = served.recognise(recording, valid)
    np.testing.assert_array_equal(again, text)
    np.testing.assert_allclose(other, scores, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_learns_a_few_utterances_by_heart():
    model = make(num_blocks=2, model_dim=32, dropout_rate=0.0)
    texts = ["on", "off", "stop"]
    recordings = np.zeros((3, 4000), "float32")
    for row, text in enumerate(texts):
        for place, letter in enumerate(text):
            hertz = 300.0 + 120.0 * (ord(letter) - ord("a"))
            time = np.arange(800) / RATE
            recordings[row, place * 800 : place * 800 + 800] = 0.3 * np.sin(
                2 * np.pi * hertz * time
            )
    valid = lengths(*(800 * len(text) for text in texts))
    rows = [model.tokenize(text) for text in texts]
    tokens = np.array([row + [0] * (4 - len(row)) for row in rows], "int32")
    token_lengths = lengths(*map(len, rows))
    optimizer = keras.optimizers.Adam(3e-3)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            features = model.features(recordings, valid)
            encoded = model.encode(*features, training=True)
            loss = tf.reduce_mean(model.loss(*encoded, tokens, token_lengths))
        variables = model.trainable_variables
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    losses = [float(step()) for _ in range(80)]
    assert losses[-1] < 0.1 * losses[0]
    encoded = model.encode(*model.features(recordings, valid))
    for beam_size in (1, 4):
        decoded = model.decode(*encoded, beam_size)
        text = model.detokenize(*decoded[:2]).numpy()
        assert [t.decode() for t in text] == texts
        assert decoded[2].numpy().min() > -0.5


def test_saves_and_loads_the_same_model(model, tmp_path):
    directory = str(tmp_path / "base")
    model.save(directory)
    loaded = conformer_ctc.load(directory)
    assert loaded.fingerprint() == model.fingerprint()
    assert loaded.trainable_variables == []
    inputs = model.features(audio(), lengths(4000, 2500))
    np.testing.assert_array_equal(
        loaded.encode(*inputs)[0], model.encode(*inputs)[0]
    )
    assert [path.name for path in tmp_path.iterdir()] == ["base"]


def test_a_directory_is_never_rewritten(model, tmp_path):
    directory = str(tmp_path / "base")
    model.save(directory)
    with pytest.raises(FileExistsError, match="not an empty"):
        make().save(directory)
    assert conformer_ctc.load(directory).fingerprint() == model.fingerprint()


def test_the_fingerprint_is_of_what_decides_the_output(model):
    def fingerprint(**changes):
        return make(**changes).fingerprint()

    base = fingerprint()
    assert base == fingerprint(dropout_rate=0.5)
    assert base == fingerprint(buckets_seconds=(2.0,))
    assert base != fingerprint(lower_edge_hertz=90.0)
    assert base != model.fingerprint()
    json.dumps(make().description())


def altered_weight(directory):
    path = directory / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)


def truncated(directory):
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def altered_config(**changes):
    def alter(directory):
        path = directory / "config.json"
        config = json.loads(path.read_text())
        config["arguments"].update(changes)
        path.write_text(json.dumps(config))

    return alter


def not_json(directory):
    (directory / "config.json").write_text('{"arguments"')


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (altered_weight, "was altered: its weights"),
        (truncated, "model.safetensors is not a complete"),
        (altered_config(lower_edge_hertz=90.0), "was altered"),
        (altered_config(num_blocks=2), "unknown .*block_2"),
        (altered_config(model_dim=32), "asks for float32"),
        (altered_config(colour="red"), "does not describe.*colour"),
        (not_json, "config.json is not JSON"),
    ],
)
def test_altered_files_are_refused(model, tmp_path, alter, message):
    directory = tmp_path / "base"
    model.save(str(directory))
    alter(directory)
    with pytest.raises(ValueError, match=message):
        conformer_ctc.load(str(directory))


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(model, tmp_path, name):
    directory = tmp_path / "base"
    model.save(str(directory))
    (directory / name).unlink()
    with pytest.raises(OSError, match=name):
        conformer_ctc.load(str(directory))


def test_nothing_is_left_of_a_save_that_failed(model, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    monkeypatch.setattr(files, "write_atomically", fail)
    with pytest.raises(OSError, match="no space left"):
        model.save(str(tmp_path / "base"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_blocks": 0}, "must be positive. Received: 0"),
        ({"buckets_seconds": (2.0, 1.0)}, "ascending. Received:.*2.0, 1.0"),
        ({"buckets_seconds": ()}, "ascending"),
        ({"vocabulary": "words"}, "'words' is neither 'characters'"),
    ],
)
def test_arguments_out_of_range_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("blocks", "width", "heads", "millions"),
    [(16, 144, 4, 8.72), (16, 256, 4, 27.34), (17, 512, 8, 115.14)],
)
def test_has_the_parameters_of_the_papers_encoders(
    blocks, width, heads, millions
):
    # Gulati et al. 2020, table 1: 10.3, 30.7 and 118.8 million with an LSTM
    # decoder of one layer (1.6, 3.4 and 3.7 million), which CTC is without.
    model = conformer_ctc.ConformerCtc(width, blocks, heads)
    count = sum(np.prod(weight.shape) for weight in model.weights)
    assert count / 1e6 == pytest.approx(millions, abs=0.01)
