"""Compares Lingvo's stacked adapter with ours: same weights, same output.

    python3.11 -m venv lingvo_venv
    lingvo_venv/bin/pip install lingvo==0.14.2
    lingvo_venv/bin/python -m tests.benchmarks.lingvo_agreement

Run it from the root. Lingvo pins its dependencies, so it needs an environment
of its own, which has everything that this program needs. The program runs
`MultitaskAdapterEinsumLayer` on small random inputs and weights, and writes
these and the outputs to `lingvo_adapter_golden.json` in
tests/lingvo_like/submodel/kinds. A test beside that file holds this project's
adapters to it, without Lingvo. The last line is a JSON object;
`max_difference` is that of the outputs. `--check` writes nothing, and compares
Lingvo's outputs with those in the file.

The definitions agree in these points: a residual bottleneck, layer norm first,
ReLU, a residual weight, gains stored as offsets from one (`direct_scale` off),
and a task id for each row of the batch. They differ in these:

- Lingvo has one layer norm for all tasks, this project one in each slot. Here
  its norm is copied to every slot; training would make them differ.
- Lingvo's default epsilon in the norm is 1e-6, this project's is 1e-5.
- Lingvo draws the up projection at random, so a new adapter changes the base
  model (`initial_max_change`); this project's is zero.
- Lingvo's `clip_task_ids` gives an unknown task the weights of another one;
  this project rejects the id.
- Lingvo takes ids per frame and no embeddings, this project embeddings and no
  ids per frame.
- `multiply_and_select`, Lingvo's default, multiplies with the weights of all
  tasks before it selects; this project always gathers first.
"""

import argparse
import json
import os
import pathlib
import sys
import types
from importlib import metadata

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402

GOLDEN = (
    pathlib.Path(__file__).parents[1]
    / "lingvo_like/submodel/kinds/lingvo_adapter_golden.json"
)
TASKS, MODEL_DIM, BOTTLENECK_DIM, BATCH, TIME = 3, 6, 4, 4, 5
CASES = {
    "multiply_and_select": {"task_ids": [2, 0, 2, 1]},
    "select_and_multiply": {
        "task_ids": [0, 1, 1, 2],
        "einsum_order": "select_and_multiply",
    },
    "residual_weight": {"task_ids": [1, 1, 0, 2], "residual_weight": 0.3},
    "clip_task_ids": {"task_ids": [-1, 1, 3, 99], "clip_task_ids": True},
}


class _Anything:
    """Stands for a custom op: has every attribute, and can be called."""

    def __getattr__(self, name):
        return _Anything()

    def __call__(self, *args, **kwargs):
        return _Anything()


def stub_custom_ops():
    """Replaces Lingvo's custom ops, which the adapter does not use.

    Their library wants a newer C library than Debian 12 has.
    """
    package = "lingvo.core.ops"
    names = ("gen_x_ops", "py_x_ops", "record_pb2", "hyps_pb2", "x_ops")
    for name in ("", *(f".{each}" for each in names)):
        module = types.ModuleType(package + name)
        module.__getattr__ = lambda attribute: _Anything()
        module.__path__ = []
        sys.modules[package + name] = module
        if name:
            setattr(sys.modules[package], name[1:], module)


def run_lingvo():
    """The golden file's content: weights, inputs and Lingvo's outputs."""
    stub_custom_ops()
    from absl import flags

    flags.FLAGS(["lingvo_agreement"])
    import lingvo.compat as tf
    from lingvo.core import layers, py_utils

    py_utils.SetEagerMode(True)
    tf.random.set_seed(0)
    draw = np.random.default_rng(0)

    def normal(*shape):
        return draw.standard_normal(shape).astype(np.float32)

    inputs = normal(BATCH, TIME, MODEL_DIM)
    weights = {
        "layer_norm.scale": 0.5 * normal(MODEL_DIM),
        "layer_norm.bias": 0.5 * normal(MODEL_DIM),
        "down_w": normal(TASKS, MODEL_DIM, BOTTLENECK_DIM),
        "down_b": normal(TASKS, BOTTLENECK_DIM),
        "up_w": normal(TASKS, BOTTLENECK_DIM, MODEL_DIM),
        "up_b": normal(TASKS, MODEL_DIM),
    }
    outputs, changes = {}, []
    for name, case in CASES.items():
        options = dict(case)
        ids = tf.constant(options.pop("task_ids"), tf.int32)
        params = layers.MultitaskAdapterEinsumLayer.Params().Set(
            name=name,
            num_tasks=TASKS,
            input_dim=MODEL_DIM,
            bottleneck_dim=BOTTLENECK_DIM,
            **options,
        )
        epsilon = params.layer_norm_tpl.epsilon
        layer = params.Instantiate()
        before = layer.FProp(layer.theta, tf.constant(inputs), ids)
        changes.append(np.abs(before.numpy() - inputs).max())
        theta = layer.theta.Transform(tf.convert_to_tensor)
        if {key for key, _ in theta.FlattenItems()} != weights.keys():
            raise ValueError(f"Lingvo's weights are {theta.FlattenItems()}")
        for key, value in weights.items():
            theta.Set(key, tf.constant(value))
        outputs[name] = layer.FProp(theta, tf.constant(inputs), ids).numpy()
    return {
        "lingvo": metadata.version("lingvo"),
        "epsilon": epsilon,
        "initial_max_change": numbers(max(changes)),
        "inputs": numbers(inputs),
        "weights": {key: numbers(value) for key, value in weights.items()},
        "cases": {
            name: {**case, "output": numbers(outputs[name])}
            for name, case in CASES.items()
        },
    }


def numbers(array):
    """Nested lists with as many digits as float32 has."""
    array = np.asarray(array)
    if array.ndim:
        return [numbers(each) for each in array]
    return float(f"{array:.9g}")


def largest_difference(one, other):
    """Between the outputs of two contents of the golden file."""
    return max(
        float(np.abs(np.subtract(case["output"], twin["output"])).max())
        for case, twin in zip(
            one["cases"].values(), other["cases"].values(), strict=True
        )
    )


def ours(golden):
    """The golden file's content with this project's outputs."""
    # TensorFlow is set up as Lingvo wants it, so Keras computes in NumPy.
    os.environ["KERAS_BACKEND"] = "numpy"
    cases = {}
    for name, case in golden["cases"].items():
        ids = np.clip(case["task_ids"], 0, TASKS - 1)
        cases[name] = {"output": adapted(golden, case, ids)}
    return {"cases": cases}


def adapted(golden, case, selector):
    """The inputs as this project's adapters change them.

    Args:
        golden: dict, the golden file's content.
        case: dict, one of its cases.
        selector: `[batch]` task ids or `[batch, tasks]` embeddings.
    """
    from lingvo_like.submodel import selection
    from lingvo_like.submodel.kinds import adapter

    class Adapter(adapter.Adapter):
        epsilon = golden["epsilon"]

    kind = Adapter(
        len(golden["weights"]["down_w"][0][0]),
        case.get("residual_weight", 1.0),
    )
    weights = selection.select(stacked(golden["weights"]), selector)
    inputs = np.float32(golden["inputs"])
    return np.asarray(kind.apply(inputs, inputs, kind.prepare(weights, {})))


def stacked(weights):
    """Lingvo's weights as a stack of adapters, the norm in each slot."""
    arrays = {name: np.float32(value) for name, value in weights.items()}
    tasks = len(arrays["down_w"])
    return {
        "norm_scale": np.tile(arrays["layer_norm.scale"], (tasks, 1)),
        "norm_bias": np.tile(arrays["layer_norm.bias"], (tasks, 1)),
        "down_kernel": arrays["down_w"],
        "down_bias": arrays["down_b"],
        "up_kernel": arrays["up_w"],
        "up_bias": arrays["up_b"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    golden = run_lingvo()
    result = {
        "lingvo": golden["lingvo"],
        "max_difference": largest_difference(golden, ours(golden)),
        "initial_max_change": golden["initial_max_change"],
    }
    if check:
        committed = json.loads(GOLDEN.read_text(encoding="utf-8"))
        result["max_difference_of_file"] = largest_difference(golden, committed)
    else:
        GOLDEN.write_text(json.dumps(golden) + "\n", encoding="utf-8")
        print(f"Written to {GOLDEN}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
