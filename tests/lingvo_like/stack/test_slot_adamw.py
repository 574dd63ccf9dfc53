"""Per-slot AdamW: each slot an optimiser of its own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.stack import adamw, rows as slot_rows, slot_adamw

SLOTS = 4


def make(**kwargs):
    draw = np.random.default_rng(0)
    variables = {
        "a": tf.Variable(draw.standard_normal((SLOTS, 3, 2)).astype("float32")),
        "b": tf.Variable(draw.standard_normal((SLOTS, 5)).astype("float32")),
    }
    values = {"num_steps": 50, "learning_rate": 0.1, "decay": "constant"}
    rule = adamw.AdamW(**(values | kwargs))
    return variables, slot_adamw.SlotAdamW(variables, rule)


def gradients(slots, seed, scale=1.0):
    draw = np.random.default_rng(seed)
    return {
        "a": tf.constant(
            scale * draw.standard_normal((len(slots), 3, 2)), tf.float32
        ),
        "b": tf.constant(
            scale * draw.standard_normal((len(slots), 5)), tf.float32
        ),
    }


def step(variables, opt, slots, grads, active=None):
    active = [True] * len(slots) if active is None else active
    weights = {k: tf.gather(v, slots) for k, v in variables.items()}
    return opt.update(
        tf.constant(slots, tf.int32), tf.constant(active), weights, grads
    )


def snapshot(variables, opt, slot):
    both = {**variables, **opt.state_by_name}
    return {name: value.numpy()[slot].copy() for name, value in both.items()}


def assert_same(before, after):
    for name in before:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)


def test_agrees_with_keras_adamw_on_a_slot_of_its_own():
    variables, opt = make(weight_decay=0.01, clip_norm=0.0)
    ours = [keras.Variable(v[1].numpy()) for v in variables.values()]
    theirs = keras.optimizers.AdamW(
        0.1, weight_decay=0.01, beta_1=0.9, beta_2=0.98, epsilon=1e-8
    )
    for i in range(6):
        grads = gradients([1], seed=i)
        step(variables, opt, [1], grads)
        theirs.apply([grads["a"][0], grads["b"][0]], ours)
    for variable, expected in zip(variables.values(), ours, strict=True):
        np.testing.assert_allclose(
            variable[1].numpy(), expected.numpy(), rtol=1e-4, atol=1e-5
        )


def test_absent_slots_keep_weights_moments_and_count_bit_for_bit():
    variables, opt = make(weight_decay=0.1)
    step(variables, opt, [0, 1, 2, 3], gradients(range(4), 0))
    before = snapshot(variables, opt, 2)
    for i in range(3):
        step(variables, opt, [0, 3], gradients([0, 3], i))
    assert_same(before, snapshot(variables, opt, 2))
    assert opt.steps.numpy().tolist() == [4, 1, 1, 4]


def test_an_empty_place_hands_its_slot_back_as_it_was():
    variables, opt = make(weight_decay=0.1)
    step(variables, opt, [0, 1], gradients([0, 1], 0))
    before = snapshot(variables, opt, 1)
    step(variables, opt, [0, 1], gradients([0, 1], 1), active=[True, False])
    assert_same(before, snapshot(variables, opt, 1))


def test_zero_gradient_of_a_present_slot_is_still_an_update():
    variables, opt = make(weight_decay=0.0)
    step(variables, opt, [0], gradients([0], 0))
    before = snapshot(variables, opt, 0)
    step(variables, opt, [0], gradients([0], 0, scale=0.0))
    assert np.any(before["a"] != variables["a"].numpy()[0])


def test_clipping_looks_at_one_slot_alone():
    grads = gradients([0, 1], 0)
    loud = {k: tf.concat([g[:1], 1e6 * g[1:]], 0) for k, g in grads.items()}
    results = []
    for pair in (grads, loud):
        variables, opt = make(clip_norm=1.0)
        norms = step(variables, opt, [0, 1], pair)
        results.append((variables["a"].numpy()[0], norms.numpy()))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    expected = np.sqrt(sum(np.sum(g.numpy()[0] ** 2) for g in grads.values()))
    np.testing.assert_allclose(results[0][1][0], expected, rtol=1e-5)


def test_schedule_goes_by_the_slots_own_steps():
    variables, opt = make(num_steps=10, warmup_steps=4, decay="linear")
    rates = opt.rule.learning_rate_at(tf.range(1, 12)).numpy()
    np.testing.assert_allclose(rates[:4], [0.025, 0.05, 0.075, 0.1], rtol=1e-5)
    assert rates[9] > 0.0
    np.testing.assert_allclose(rates[10], 0.0, atol=1e-8)
    before = variables["a"].numpy()
    for _ in range(2):
        step(variables, opt, [1], gradients([1], 5))
    early = variables["a"].numpy()[0] - before[0]
    assert np.all(early == 0.0)


def test_gradient_that_is_not_finite_is_skipped_and_counted():
    variables, opt = make()
    grads = gradients([0, 1], 0)
    grads["a"] = tf.tensor_scatter_nd_update(grads["a"], [[1, 0, 0]], [np.nan])
    before = snapshot(variables, opt, 1)
    step(variables, opt, [0, 1], grads)
    after = snapshot(variables, opt, 1)
    for name in ("a", "b", "first_moment/a", "second_moment/b"):
        np.testing.assert_array_equal(before[name], after[name])
    assert opt.skipped.numpy().tolist() == [0, 1, 0, 0]
    assert opt.steps.numpy().tolist() == [1, 1, 0, 0]


def test_reset_forgets_one_slot_only():
    variables, opt = make()
    step(variables, opt, [0, 1], gradients([0, 1], 0))
    kept = snapshot(variables, opt, 1)
    opt.reset(slot_rows.SlotRows(4), [0])
    assert_same(kept, snapshot(variables, opt, 1))
    assert opt.steps.numpy()[0] == 0
    assert np.all(opt.first_moments["a"].numpy()[0] == 0.0)


def test_unknown_decay_is_named():
    with pytest.raises(ValueError, match="Received: 'exponential'"):
        make(decay="exponential")
