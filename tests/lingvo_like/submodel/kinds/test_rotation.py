"""Rotations of singular directions."""

import numpy as np
import tensorflow as tf

from lingvo_like.layers import sites
from lingvo_like.submodel.kinds import rotation

SITE = sites.projection("encoder/block_00/attention/query", 6, 8)


def kernel(_):
    return np.random.default_rng(0).standard_normal((6, 8)).astype("float32")


def changed_kernel(kind, angles, offsets):
    """The kernel that the whole projection amounts to, for one speaker."""
    weights = {
        "angles": tf.constant([angles], tf.float32),
        "offsets": tf.constant([offsets], tf.float32),
    }
    constants = kind.constants(SITE, kernel)
    eye = np.eye(6, dtype="float32")[None]
    y = eye @ kernel("")
    return np.asarray(kind.apply(eye, y, kind.prepare(weights, constants)))[0]


def test_only_the_chosen_directions_change_and_keep_their_lengths():
    kind = rotation.Rotation(3)
    changed = changed_kernel(kind, [0.3, -0.2, 0.5], [0.0] * 3)
    u, values, v = np.linalg.svd(kernel("").astype("float64"), False)
    # The outputs of the strongest directions mix among themselves.
    mixed = u.T @ changed @ v.T
    np.testing.assert_allclose(mixed[3:, 3:], np.diag(values[3:]), atol=1e-5)
    np.testing.assert_allclose(mixed[3:, :3], 0.0, atol=1e-5)
    np.testing.assert_allclose(mixed[:3, 3:], 0.0, atol=1e-5)
    turned = mixed[:3, :3] / values[:3]
    np.testing.assert_allclose(turned @ turned.T, np.eye(3), atol=1e-5)
    assert np.linalg.det(turned) > 0 and abs(turned[0, 1]) > 0.1


def test_offsets_change_gains():
    kind = rotation.Rotation(2)
    changed = changed_kernel(kind, [0.0], [0.5, -0.25])
    u, values, v = np.linalg.svd(kernel("").astype("float64"), False)
    values[:2] += [0.5, -0.25]
    np.testing.assert_allclose(changed, (u * values) @ v, atol=1e-5)


def test_an_angle_is_the_tangent_of_half_of_the_turn():
    kind = rotation.Rotation(2)
    changed = changed_kernel(kind, [np.tan(0.4 / 2)], [0.0, 0.0])
    u, values, v = np.linalg.svd(kernel("").astype("float64"), False)
    turned = (u.T @ changed @ v.T)[:2, :2] / values[:2]
    np.testing.assert_allclose(np.diag(turned), np.cos(0.4), atol=1e-5)
    assert abs(abs(turned[0, 1]) - np.sin(0.4)) < 1e-5


def test_a_rotation_is_solved_in_float32():
    kind = rotation.Rotation(2)
    constants = kind.constants(SITE, kernel)

    def change(dtype):
        weights = {
            "angles": tf.constant([[0.25]], dtype),
            "offsets": tf.constant([[0.5, -0.25]], dtype),
        }
        return kind.prepare(weights, constants)["change"]

    assert change(tf.bfloat16).dtype == tf.bfloat16
    np.testing.assert_allclose(
        tf.cast(change(tf.bfloat16), tf.float32),
        change(tf.float32),
        atol=0.05,
    )


def test_singular_directions_have_one_sign_on_every_machine():
    kind = rotation.Rotation(3)
    plain = kind.constants(SITE, kernel)

    def flipped(name):
        # The same kernel, from a decomposition with other signs.
        u, values, v = np.linalg.svd(kernel(name).astype("float64"), False)
        signs = np.array([1, -1, -1, 1, -1, 1])
        return (u * signs * values) @ (v * signs[:, None])

    again = kind.constants(SITE, flipped)
    for name, value in plain.items():
        np.testing.assert_allclose(again[name], value, atol=1e-5)
    largest = np.argmax(np.abs(plain["inputs"]), axis=0)
    assert (plain["inputs"][largest, range(3)] > 0).all()
