"""The one shared check of every layer: what a Keras layer has to keep.

`check(layer_class, init_kwargs, inputs, ...)` runs the config round trip, the
build, an eager and a symbolic call, a fit and both precision policies. It
fails with the name of what broke.
"""

import inspect
import json

import keras
import numpy as np

BASE_ARGUMENTS = {"self", "name", "dtype", "trainable", "autocast"}


def check(
    layer_class,
    init_kwargs,
    inputs,
    *,
    output_shape,
    num_weights,
    output_dtype=None,
    float32_sublayers=(),
    bfloat16_tolerance=0.05,
    dynamic_batch=True,
    run_fit=True,
):
    """Runs every check on one layer.

    Args:
        layer_class: a `keras.layers.Layer`.
        init_kwargs: the layer's own arguments, without name and dtype.
        inputs: tuple of the positional call arguments: NumPy arrays, or
            nested dicts and lists of them.
        output_shape: expected shape of the (first) output.
        num_weights: expected number of weights, all of them trainable.
        output_dtype: expected dtype of the (first) output whatever the
            policy; by default the policy's compute dtype.
        float32_sublayers: names of sublayers that stay float32 on purpose.
        bfloat16_tolerance: largest difference between the float32 and the
            mixed_bfloat16 output, over the largest absolute output.
        dynamic_batch: whether the symbolic call leaves the first axis open.
        run_fit: whether to train the layer for a few steps.
    """
    layer = layer_class(**init_kwargs, dtype="float32")
    output = first(layer(*inputs))
    assert tuple(output.shape) == tuple(output_shape)
    assert layer.built
    assert len(layer.weights) == num_weights, weight_names(layer)
    assert len(layer.trainable_weights) == num_weights, weight_names(layer)
    assert len(set(weight_names(layer))) == num_weights, weight_names(layer)
    check_config(layer, init_kwargs, inputs)
    check_frozen(layer)
    check_symbolic(layer, inputs, output_shape, dynamic_batch)
    for policy in ("float32", "mixed_bfloat16"):
        check_policy(
            layer,
            policy,
            inputs,
            output_dtype,
            set(float32_sublayers),
            bfloat16_tolerance,
        )
    if run_fit and num_weights:
        check_fit(layer, inputs)


def check_config(layer, init_kwargs, inputs):
    """The config is JSON, names every argument and rebuilds the layer."""
    config = layer.get_config()
    json.dumps(config)
    for name, parameter in inspect.signature(
        type(layer).__init__
    ).parameters.items():
        if name in BASE_ARGUMENTS or parameter.kind is parameter.VAR_KEYWORD:
            continue
        assert name in config, f"`{name}` is not in get_config()."
        assert hasattr(layer, name), f"`{name}` is not an attribute."
    for name, value in init_kwargs.items():
        assert as_plain(config[name]) == as_plain(value), name
    revived = type(layer).from_config(config)
    assert as_plain(revived.get_config()) == as_plain(config)
    revived(*inputs)
    revived.set_weights(layer.get_weights())
    np.testing.assert_array_equal(
        to_numpy(first(layer(*inputs))), to_numpy(first(revived(*inputs)))
    )


def check_frozen(layer):
    """A frozen layer has nothing left to train."""
    layer.trainable = False
    assert not layer.trainable_variables
    layer.trainable = True


def check_symbolic(layer, inputs, output_shape, dynamic_batch):
    """The layer traces on symbolic inputs to the shape it has when eager."""
    symbolic = symbolic_inputs(inputs, dynamic_batch)
    output = first(layer(*symbolic))
    assert len(output.shape) == len(output_shape)
    for traced, expected in zip(output.shape, output_shape, strict=True):
        assert traced in (None, expected), output.shape
    model = keras.Model(keras.tree.flatten(symbolic), output)
    np.testing.assert_allclose(
        to_numpy(model([keras.ops.array(x) for x in flat(inputs)])),
        to_numpy(first(layer(*inputs))),
        atol=1e-5,
        rtol=1e-5,
    )


def check_policy(
    layer, policy, inputs, output_dtype, float32_sublayers, tolerance
):
    """Computes in the policy's dtype, keeps float32 variables, agrees."""
    config = {**layer.get_config(), "dtype": policy}
    other = type(layer).from_config(config)
    output = first(other(*inputs))
    other.set_weights(layer.get_weights())
    output = first(other(*inputs))
    compute_dtype = keras.DTypePolicy(policy).compute_dtype
    actual = keras.backend.standardize_dtype(output.dtype)
    assert actual == (output_dtype or compute_dtype), (policy, actual)
    for weight in other.weights:
        assert weight.dtype == "float32", weight.path
    for sublayer in sublayers(other):
        expected = "float32" if sublayer.name in float32_sublayers else policy
        assert sublayer.dtype_policy.name == expected, (
            f"{sublayer.name} has policy {sublayer.dtype_policy.name}; "
            "sublayers take dtype=self.dtype_policy."
        )
    reference = to_numpy(first(layer(*inputs)))
    difference = np.abs(to_numpy(output) - reference).max()
    limit = tolerance if policy != "float32" else 1e-6
    assert difference <= limit * max(np.abs(reference).max(), 1e-6), (
        policy,
        difference,
    )


def check_fit(layer, inputs):
    """Training changes every weight and the loss stays finite."""
    fresh = type(layer).from_config(layer.get_config())
    symbolic = symbolic_inputs(inputs, dynamic_batch=False)
    output = first(fresh(*symbolic))
    model = keras.Model(keras.tree.flatten(symbolic), output)
    # Set at random: zero initialisers stop the gradient of what is beneath.
    rng = np.random.default_rng(0)
    for weight in fresh.weights:
        value = rng.normal(size=weight.shape, scale=0.1)
        weight.assign(to_numpy(weight) + value.astype("float32"))
    before = fresh.get_weights()
    model.compile(optimizer=keras.optimizers.Adam(1e-2), loss="mse")
    x = [keras.ops.array(value) for value in flat(inputs)]
    target = rng.normal(size=output.shape).astype("float32")
    losses = [float(model.train_on_batch(x, target)) for _ in range(3)]
    assert np.isfinite(losses).all(), losses
    for weight, old in zip(fresh.weights, before, strict=True):
        assert np.isfinite(to_numpy(weight)).all(), weight.path
        assert np.any(to_numpy(weight) != old), f"{weight.path} did not train"


def symbolic_inputs(inputs, dynamic_batch):
    """`keras.Input`s of the same structure as `inputs`."""

    def symbolic(value):
        value = np.asarray(value)
        batch = None if dynamic_batch else value.shape[0]
        return keras.Input(
            batch_shape=(batch, *value.shape[1:]), dtype=str(value.dtype)
        )

    return keras.tree.map_structure(symbolic, tuple(inputs))


def sublayers(layer):
    """Every layer below `layer`, at any depth."""
    return [
        sublayer
        for sublayer in layer._flatten_layers(include_self=False)
        if not isinstance(sublayer, keras.layers.InputLayer)
    ]


def weight_names(layer):
    return [weight.path for weight in layer.weights]


def first(output):
    """The first of several outputs, or the only one."""
    return output[0] if isinstance(output, (tuple, list)) else output


def flat(inputs):
    return keras.tree.flatten(tuple(inputs))


def to_numpy(value):
    return keras.ops.convert_to_numpy(keras.ops.cast(value, "float32"))


def as_plain(value):
    """A config as JSON sees it, so that tuples equal lists."""
    return json.loads(json.dumps(value, sort_keys=True))
