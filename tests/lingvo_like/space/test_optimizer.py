"""AdamW over a space: embeddings one by one, the basis by all of a step."""

import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.space import embedding_space, optimizer as space_optimizer
from lingvo_like.stack import adamw, slot_adamw
from tests import layouts

LAYOUT = layouts.adapters(model_dim=6, bottleneck_dim=3, blocks=(0,))
NAME = embedding_space.EMBEDDING
UP_BIAS = layouts.tensor_name(0, "up_bias")


def make(num_speakers=4, frozen=False, **values):
    space = embedding_space.EmbeddingSpace(
        [f"s{i}" for i in range(num_speakers)],
        LAYOUT,
        5,
        basis_trainable=not frozen,
    )
    space.initialize(seed=0)
    values = {"num_steps": 50, "learning_rate": 0.1} | values
    rule = adamw.AdamW(**values)
    embeddings = slot_adamw.SlotAdamW({NAME: space.embeddings}, rule)
    basis = None
    if not frozen:
        basis = slot_adamw.SlotAdamW(space.basis.variables_by_name, rule)
    return space, space_optimizer.SpaceAdamW(space, embeddings, basis)


def step(space, opt, slots, seed=0, active=None, loud=None):
    """One update by random gradients, a speaker's the same in any place."""
    trainables = space.trainables(slots)
    gradients = {
        name: tf.random.stateless_normal(value.shape, [seed, i])
        for i, (name, value) in enumerate(trainables.items())
    }
    gradients[NAME] = tf.stack(
        [
            tf.random.stateless_normal([5], [seed, slot])
            * (np.nan if slot == loud else 1.0)
            for slot in slots
        ]
    )
    active = [True] * len(slots) if active is None else active
    return opt.update(
        tf.constant(slots), tf.constant(active), trainables, gradients
    )


def snapshot(space, opt, slot):
    state = {
        name: value.numpy()[slot]
        for name, value in opt.state_by_name.items()
        if name.startswith("embedding/")
    }
    return state | {NAME: space.embeddings.numpy()[slot]}


def basis_of(space):
    return {k: v.numpy() for k, v in space.basis.variables_by_name.items()}


def assert_same(before, after):
    assert before.keys() == after.keys()
    for name in before:
        np.testing.assert_array_equal(before[name], after[name], err_msg=name)


def test_absent_speakers_keep_embedding_moments_and_count_bit_for_bit():
    space, opt = make(weight_decay=0.1)
    step(space, opt, [0, 1, 2, 3])
    before = snapshot(space, opt, 2)
    for seed in range(3):
        step(space, opt, [0, 3], seed)
    assert_same(before, snapshot(space, opt, 2))
    assert opt.steps.numpy().tolist() == [4, 1, 1, 4]


def test_an_empty_place_hands_its_speaker_back_as_it_was():
    space, opt = make(weight_decay=0.1)
    step(space, opt, [0, 1])
    before = snapshot(space, opt, 1)
    basis = basis_of(space)
    step(space, opt, [0, 1], active=[True, False])
    assert_same(before, snapshot(space, opt, 1))
    assert np.any(basis[UP_BIAS] != basis_of(space)[UP_BIAS])


def test_a_step_of_empty_places_moves_nothing():
    space, opt = make(weight_decay=0.1)
    step(space, opt, [0, 1])
    before = {k: v.numpy() for k, v in opt.state_by_name.items()}
    basis = basis_of(space)
    step(space, opt, [0, 1], active=[False, False])
    assert_same(before, {k: v.numpy() for k, v in opt.state_by_name.items()})
    assert_same(basis, basis_of(space))


def test_the_basis_moves_by_the_mean_of_the_active_speakers():
    moved = []
    for slots, active in (([0, 1], [True, True]), ([0, 1], [True, False])):
        space, opt = make(clip_norm=0.0)
        step(space, opt, slots, active=active)
        moved.append(opt.state_by_name[f"basis/first_moment/{UP_BIAS}"])
    np.testing.assert_allclose(2 * moved[0].numpy(), moved[1], rtol=1e-6)


def test_the_basis_follows_the_speakers_steps_and_not_the_jobs():
    space, opt = make(num_steps=3, decay="linear", weight_decay=0.0)
    for _ in range(3):
        for slots in ([0, 1], [2, 3]):
            step(space, opt, slots)
    before = basis_of(space)
    # A step past the end of the schedule, and one of a speaker before it.
    step(space, opt, [0, 1])
    assert_same(before, basis_of(space))
    late, opt = make(num_steps=3, decay="linear", weight_decay=0.0)
    for _ in range(5):
        step(late, opt, [0])
    before = basis_of(late)
    step(late, opt, [1])
    assert np.any(before[UP_BIAS] != basis_of(late)[UP_BIAS])


def test_a_frozen_space_keeps_its_basis_and_its_mean():
    space, opt = make(frozen=True)
    basis, mean = basis_of(space), space.mean_embedding.numpy()
    before = space.embeddings.numpy()
    step(space, opt, [0, 1])
    assert_same(basis, basis_of(space))
    np.testing.assert_array_equal(mean, space.mean_embedding)
    assert np.all(before[:2] != space.embeddings.numpy()[:2])
    assert not any(name.startswith("basis/") for name in opt.state_by_name)


def test_with_a_frozen_basis_a_speaker_moves_the_same_in_any_company():
    together, opt = make(frozen=True, weight_decay=0.1)
    for seed in range(3):
        step(together, opt, [2, 0], seed)
    alone, opt = make(frozen=True, weight_decay=0.1)
    for seed in range(3):
        step(alone, opt, [3, 0], seed)
    np.testing.assert_array_equal(
        together.embeddings.numpy()[0], alone.embeddings.numpy()[0]
    )


def test_the_mean_embedding_is_kept_up_to_date():
    space, opt = make()
    for seed in range(5):
        step(space, opt, [seed % 4, (seed + 1) % 4], seed)
    np.testing.assert_allclose(
        space.mean_embedding, space.embeddings.numpy().mean(axis=0), atol=1e-6
    )


def test_a_speaker_whose_gradient_is_not_finite_is_skipped_and_counted():
    space, opt = make()
    before = space.embeddings.numpy()
    step(space, opt, [0, 1], loud=1)
    assert opt.skipped.numpy().tolist() == [0, 1, 0, 0]
    np.testing.assert_array_equal(before[1], space.embeddings[1])
    assert np.all(np.isfinite(space.mean_embedding))


def test_an_added_speaker_costs_its_embedding_two_moments_and_two_counts():
    def num_bytes(num_speakers):
        space, opt = make(num_speakers)
        state = [*space.variables_by_name.values()]
        state += opt.state_by_name.values()
        return sum(v.shape.num_elements() * v.dtype.size for v in state)

    assert num_bytes(9) - num_bytes(4) == 5 * (12 * 5 + 8)


def test_the_steps_program_does_not_depend_on_the_number_of_speakers():
    """Its operations and what they compute: shapes of all but the table."""

    def shapes(num_speakers):
        space, opt = make(num_speakers)

        @tf.function
        def run():
            return step(space, opt, [0, 1])

        graph = run.get_concrete_function().graph
        return [
            (op.type, [str(output.shape) for output in op.outputs])
            for op in graph.get_operations()
        ]

    assert shapes(7) == shapes(1000)


def test_a_basis_without_its_optimizer_is_refused():
    space, _ = make()
    rule = adamw.AdamW(num_steps=5)
    embeddings = slot_adamw.SlotAdamW({NAME: space.embeddings}, rule)
    with pytest.raises(ValueError, match="unless it is frozen"):
        space_optimizer.SpaceAdamW(space, embeddings)
