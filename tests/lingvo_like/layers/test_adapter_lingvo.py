"""StackedAdapter agrees with Lingvo's MultitaskAdapterEinsumLayer.

lingvo_adapter_golden.json holds weights, inputs and outputs of Lingvo itself;
tests/benchmarks/lingvo_agreement.py wrote it, and lists where the definitions
differ.
"""

import json
import pathlib

import numpy as np
import pytest

from lingvo_like.layers import adapter
from tests.benchmarks import lingvo_agreement

GOLDEN = json.loads(
    pathlib.Path(__file__)
    .with_name("lingvo_adapter_golden.json")
    .read_text(encoding="utf-8")
)
INPUTS = np.array(GOLDEN["inputs"], np.float32)
SAME = [name for name in GOLDEN["cases"] if name != "clip_task_ids"]


def stacked_adapter(residual_weight=1.0):
    layer = adapter.StackedAdapter(
        len(GOLDEN["weights"]["down_w"]),
        INPUTS.shape[-1],
        len(GOLDEN["weights"]["down_w"][0][0]),
        residual_weight=residual_weight,
        epsilon=GOLDEN["epsilon"],
    )
    lingvo_agreement.assign(layer, GOLDEN["weights"])
    return layer


@pytest.mark.parametrize("name", SAME)
def test_same_weights_give_the_same_output(name):
    case = GOLDEN["cases"][name]
    layer = stacked_adapter(case.get("residual_weight", 1.0))
    output = layer(INPUTS, layer.select(np.array(case["task_ids"])))
    np.testing.assert_allclose(output, case["output"], rtol=0, atol=1e-5)
    # Else an adapter that does nothing would agree with one that does little.
    assert np.abs(np.subtract(case["output"], INPUTS)).max() > 1


@pytest.mark.parametrize("name", SAME)
def test_one_hot_embeddings_give_lingvos_output_too(name):
    case = GOLDEN["cases"][name]
    layer = stacked_adapter(case.get("residual_weight", 1.0))
    one_hot = np.eye(layer.num_slots, dtype=np.float32)[case["task_ids"]]
    output = layer(INPUTS, layer.select(one_hot))
    np.testing.assert_allclose(output, case["output"], rtol=0, atol=1e-5)


def test_a_task_that_lingvo_repeats_is_one_speaker_with_several_utterances():
    case = GOLDEN["cases"]["multiply_and_select"]
    rows = [row for row, task in enumerate(case["task_ids"]) if task == 2]
    assert len(rows) == 2
    layer = stacked_adapter()
    output = layer(INPUTS[None, rows], layer.select(np.array([2])))
    expected = np.array(case["output"])[None, rows]
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5)


def test_an_id_that_lingvo_clips_is_refused():
    case = GOLDEN["cases"]["clip_task_ids"]
    layer = stacked_adapter()
    nearest = np.clip(case["task_ids"], 0, layer.num_slots - 1)
    output = layer(INPUTS, layer.select(nearest))
    np.testing.assert_allclose(output, case["output"], rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="slot ids must be in"):
        layer.select(np.array(case["task_ids"]))


def test_a_new_adapter_is_the_identity_where_lingvos_is_not():
    layer = adapter.StackedAdapter(3, INPUTS.shape[-1], 4)
    output = layer(INPUTS, layer.select(np.array([2, 0, 2, 1])))
    np.testing.assert_array_equal(output, INPUTS)
    assert GOLDEN["initial_max_change"] > 0.1
