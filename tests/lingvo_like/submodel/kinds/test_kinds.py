"""Laws of every kind of Submodel, at every site of a base model."""

import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.base_models import base_model
from lingvo_like.base_models.whisper import (
    decoding,
    encoder_decoder,
    greedy_search,
)
from lingvo_like.layers import sites as sites_lib
from lingvo_like.submodel import (
    layout as submodel_layout,
    sites as submodel_sites,
)
from lingvo_like.submodel.kinds import (
    adapter,
    by_name,
    lora,
    rotation,
    vectors,
)
from tests.lingvo_like.base_models.whisper import whisper_bases

KINDS = {
    "adapter": (adapter.Adapter(3, 0.7), ["*/*/output"]),
    "lora": (lora.Lora(2, 6.0), ["*/*/*attention/*", "*/*/*/contract"]),
    "rotation": (rotation.Rotation(4), ["*/*/*attention/*", "*/*/*/expand"]),
    "bias": (vectors.Bias(), ["*/*/*", "*/*/*/*"]),
    "scale": (vectors.Scale(), ["*/*/*", "*/*/*/*"]),
}
every_kind = pytest.mark.parametrize("name", KINDS)
LENGTHS = (47000, 20000, 31000)
# Each row in a language of its own.
LANGUAGES = np.array([2, 0, 1])


@pytest.fixture(scope="module")
def base():
    return whisper_bases.small(1)


def layout_of(base, *names):
    parts = []
    for name in names:
        kind, patterns = KINDS[name]
        found = submodel_layout.matching_sites(base.sites, patterns)
        parts.append(submodel_layout.Part(kind, found))
    return submodel_layout.Layout(tuple(parts))


def random_weights(layout, speakers, seed=0, size=0.3):
    draw = np.random.default_rng(seed)
    return {
        name: tf.constant(
            (size * draw.standard_normal((speakers, *shape))).astype("float32")
        )
        for name, shape in layout.shapes.items()
    }


def initial_weights(layout, speakers):
    """Those of a new Submodel: what is drawn, and zeros."""
    drawn = random_weights(layout, speakers, size=1.0)
    return {
        name: value * layout.initial_deviations.get(name, 0.0)
        for name, value in drawn.items()
    }


def functions_of(base, layout, weights):
    constants = layout.constants(base.kernel)
    return submodel_sites.site_functions(layout, weights, constants)


def speech(base):
    audio = whisper_bases.utterances(LENGTHS, whisper_bases.SAMPLES)
    return base.features(audio, np.array(LENGTHS))


def losses(base, functions, rows=slice(None), speech_of=speech):
    features, paddings = speech_of(base)
    features, paddings = features[rows], paddings[rows]
    count = features.shape[0]
    encoded, paddings = base.encode(features, paddings, functions)
    tokens = np.array([[5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]])[rows]
    lengths = np.array([4, 2, 3])[rows]
    assert len(tokens) == count
    return base.loss(
        encoded, paddings, tokens, lengths, LANGUAGES[rows], functions
    )


def texts(base, functions, rows=slice(None), **kwargs):
    features, paddings = speech(base)
    encoded, paddings = base.encode(features[rows], paddings[rows], functions)
    tokens, _, scores, _ = base.decode(
        encoded,
        paddings,
        languages=LANGUAGES[rows],
        functions=functions,
        **kwargs,
    )
    return tokens.numpy(), scores.numpy()


@every_kind
def test_a_new_submodel_is_the_base_bit_for_bit(name, base):
    layout = layout_of(base, name)
    weights = initial_weights(layout, 3)
    functions = functions_of(base, layout, weights)
    np.testing.assert_array_equal(
        losses(base, functions), losses(base, sites_lib.NONE)
    )
    tokens, scores = texts(base, functions)
    same_tokens, same_scores = texts(
        base, sites_lib.unchanged(layout.site_names)
    )
    np.testing.assert_array_equal(tokens, same_tokens)
    np.testing.assert_array_equal(scores, same_scores)
    # A search of the base alone need not compute keys and values.
    plain_tokens, plain_scores = texts(base, sites_lib.NONE)
    np.testing.assert_array_equal(tokens, plain_tokens)
    np.testing.assert_allclose(scores, plain_scores, atol=1e-6)
    one = {key: value[0].numpy() for key, value in weights.items()}
    assert layout.is_identity(one)
    assert not layout.is_identity(
        {key: np.ones_like(value) for key, value in one.items()}
    )


@every_kind
def test_zeros_are_the_base_bit_for_bit(name, base):
    layout = layout_of(base, name)
    zeros = {key: tf.zeros([3, *shape]) for key, shape in layout.shapes.items()}
    functions = functions_of(base, layout, zeros)
    np.testing.assert_array_equal(
        losses(base, functions), losses(base, sites_lib.NONE)
    )


@every_kind
def test_every_weight_learns_something(name, base):
    """Each weight changes the loss of its own speaker, and of no other."""
    layout = layout_of(base, name)
    weights = random_weights(layout, 3, seed=3)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        second = losses(base, functions_of(base, layout, weights))[1]
    for key, gradient in tape.gradient(second, weights).items():
        assert np.isfinite(gradient).all(), key
        assert not np.any(gradient[0]) and not np.any(gradient[2]), key
        # The base adds no bias to keys, since the softmax ignores it; neither
        # does anything that is the same for all keys.
        if key.endswith("attention/key/bias/bias"):
            np.testing.assert_allclose(gradient[1], 0.0, atol=1e-5)
        else:
            assert np.any(gradient[1]), key


@every_kind
def test_a_new_submodel_can_begin_to_learn(name, base):
    layout = layout_of(base, name)
    weights = initial_weights(layout, 3)
    with tf.GradientTape() as tape:
        tape.watch(weights)
        total = tf.reduce_sum(losses(base, functions_of(base, layout, weights)))
    gradients = tape.gradient(total, weights)
    for piece in layout.pieces:
        found = layout.weights_of(piece, gradients)
        assert any(np.any(each) for each in found.values()), piece.name


@every_kind
@pytest.mark.parametrize("beam_size", [1, 2])
def test_a_row_of_a_mixed_batch_is_as_alone(name, beam_size, base):
    layout = layout_of(base, name)
    weights = random_weights(layout, 3, seed=5)
    tokens, scores = texts(
        base, functions_of(base, layout, weights), beam_size=beam_size
    )
    for row in range(3):
        own = {key: value[row : row + 1] for key, value in weights.items()}
        alone_tokens, alone_scores = texts(
            base,
            functions_of(base, layout, own),
            slice(row, row + 1),
            beam_size=beam_size,
        )
        np.testing.assert_array_equal(tokens[row], alone_tokens[0])
        np.testing.assert_allclose(scores[row], alone_scores[0], atol=1e-5)
    assert len({row.tobytes() for row in tokens}) > 1


@every_kind
def test_a_search_sees_what_training_sees(name, base):
    """The score of a found text is that of the loss on this text."""
    layout = layout_of(base, name)
    weights = random_weights(layout, 3, seed=7)
    functions = functions_of(base, layout, weights)
    features, paddings = speech(base)
    encoded, paddings = base.encode(features, paddings, functions)
    # Below `decode`, which cuts loops.
    limits = np.full(3, base.max_tokens, "int32")
    found = decoding.run(
        greedy_search.GreedySearch(
            decoding.Rules(base.tokenizer, base.dimensions.vocabulary_size),
            base.max_tokens,
            limits,
        ),
        encoder_decoder.SpecialisedDecoder(base.decoder, functions),
        encoded,
        base.prompts(3, LANGUAGES),
        speakable=limits,
    )
    tokens, lengths, scores, ended = (np.asarray(each) for each in found)
    states = base.decoder.hidden_states(
        np.concatenate([base.prompts(3, LANGUAGES), tokens], 1),
        encoded,
        functions,
    )
    logits = base.decoder.logits(states).numpy()
    prompt = base.prompts(3, LANGUAGES).shape[1]
    for row in range(3):
        count = lengths[row] + ended[row]
        total = 0.0
        for step in range(count):
            allowed = logits[row, prompt - 1 + step].copy()
            allowed[base.tokenizer.suppressed] = -1e9
            if step == 0:
                allowed[base.tokenizer.suppressed_first] = -1e9
            distribution = tf.nn.log_softmax(allowed).numpy()
            total += distribution[tokens[row, step]]
            assert np.argmax(distribution) == tokens[row, step]
        np.testing.assert_allclose(scores[row], total / count, atol=1e-5)


@every_kind
def test_utterances_of_a_speaker_share_the_weights(name, base):
    layout = layout_of(base, name)
    one = random_weights(layout, 1, seed=9)
    repeated = {key: tf.repeat(value, 3, axis=0) for key, value in one.items()}
    np.testing.assert_allclose(
        losses(base, functions_of(base, layout, one)),
        losses(base, functions_of(base, layout, repeated)),
        atol=1e-5,
    )


def test_kinds_act_at_one_site_in_the_order_of_the_parts(base):
    (site,) = submodel_layout.matching_sites(
        base.sites, ["encoder/block_00/output"]
    )
    x = np.ones((1, 4, site.output_dim), np.float32)
    found = {}
    for order in (("bias", "scale"), ("scale", "bias")):
        layout = submodel_layout.Layout(
            tuple(submodel_layout.Part(KINDS[k][0], (site,)) for k in order)
        )
        ones = {key: tf.ones([1, *s]) for key, s in layout.shapes.items()}
        functions = submodel_sites.site_functions(layout, ones)
        found[order] = np.asarray(functions.apply(site.name, x, x))
    np.testing.assert_array_equal(found["bias", "scale"], 4.0 * x)
    np.testing.assert_array_equal(found["scale", "bias"], 3.0 * x)


def test_all_kinds_together_are_the_base_at_the_start(base):
    layout = layout_of(base, *KINDS)
    weights = initial_weights(layout, 3)
    functions = functions_of(base, layout, weights)
    np.testing.assert_array_equal(
        losses(base, functions), losses(base, sites_lib.NONE)
    )


@every_kind
def test_a_layout_comes_back_from_json(name, base):
    layout = layout_of(base, name)
    assert submodel_layout.from_json(layout.to_json()) == layout


@every_kind
def test_half_precision_of_the_base_changes_no_type(name):
    base = whisper_bases.small(1, dtype="mixed_bfloat16")
    layout = layout_of(base, name)
    weights = random_weights(layout, 3)
    features, paddings = speech(base)
    functions = functions_of(base, layout, weights)
    encoded, _ = base.encode(features, paddings, functions)
    assert encoded.dtype == tf.bfloat16
    assert np.isfinite(losses(base, functions)).all()


@pytest.mark.parametrize(
    "kind, site, message",
    [
        (adapter.Adapter(2), "attention/query", "adapter acts on activations"),
        (lora.Lora(2, 2.0), "output", "lora acts on projections"),
        (rotation.Rotation(2), "feed_forward/inner", "rotation acts on proj"),
        (rotation.Rotation(17), "attention/query", "at most 16. Received: 17"),
    ],
)
def test_a_kind_at_a_site_where_it_cannot_act_is_refused(
    kind, site, message, base
):
    found = base.sites[f"decoder/block_01/{site}"]
    with pytest.raises(ValueError, match=message):
        submodel_layout.Part(kind, (found,))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: lora.Lora(0, 1.0), "`rank` must be positive. Received: 0"),
        (lambda: lora.Lora(1, 0.0), "`alpha` must be finite, and not zero"),
        (lambda: lora.Lora(1, float("nan")), "`alpha` must be finite"),
        (lambda: rotation.Rotation(1), "`rank` must be at least 2"),
        (lambda: adapter.Adapter(0), "`bottleneck_dim` must be positive"),
        (lambda: by_name.make("dora", {}), "one of adapter, lora, rotation"),
        (lambda: by_name.make("lora", {"rank": 2}), "missing keys: alpha"),
        (lambda: by_name.make("lora", {"rank": 2, "alpha": 1.0, "x": 1}), "x"),
    ],
)
def test_wrong_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_first_blocks(base):
    def first(*patterns):
        found = submodel_layout.matching_sites(base.sites, patterns)
        return base_model.first_block(
            [site.name for site in found], base.num_blocks
        )

    assert first("encoder/*/output") == 1
    assert first("encoder/block_01/output") == 2
    assert first("encoder/block_01/attention/key") == 1
    assert first("encoder/block_00/*", "decoder/*/output") == 1
    assert first("encoder/block_00/feed_forward/inner") == 0
    assert first("decoder/*/*/*") == base.num_blocks


@every_kind
def test_frozen_blocks_may_run_before(name, base):
    """`lower` and `upper` from any block give what the whole encoder gives."""
    layout = layout_of(base, name)
    functions = functions_of(base, layout, random_weights(layout, 3))
    features, paddings = speech(base)
    whole, _ = base.encode(features, paddings, functions)
    first = base_model.first_block(layout.site_names, base.num_blocks)
    x, below = base.lower(features, paddings, first)
    np.testing.assert_array_equal(base.upper(x, below, first, functions), whole)
