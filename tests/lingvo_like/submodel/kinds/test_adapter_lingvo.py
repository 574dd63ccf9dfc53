"""Adapters agree with Lingvo's MultitaskAdapterEinsumLayer.

lingvo_adapter_golden.json holds weights, inputs and outputs of Lingvo itself;
tests/benchmarks/lingvo_agreement.py wrote it, and lists where the definitions
differ.
"""

import json
import pathlib

import numpy as np
import pytest

from tests.benchmarks import lingvo_agreement

GOLDEN = json.loads(
    pathlib.Path(__file__)
    .with_name("lingvo_adapter_golden.json")
    .read_text(encoding="utf-8")
)
INPUTS = np.array(GOLDEN["inputs"], np.float32)
NUM_TASKS = len(GOLDEN["weights"]["down_w"])
SAME = [name for name in GOLDEN["cases"] if name != "clip_task_ids"]


@pytest.mark.parametrize("name", SAME)
def test_same_weights_give_the_same_output(name):
    case = GOLDEN["cases"][name]
    ids = np.array(case["task_ids"])
    for selector in (ids, np.eye(NUM_TASKS, dtype=np.float32)[ids]):
        output = lingvo_agreement.adapted(GOLDEN, case, selector)
        np.testing.assert_allclose(output, case["output"], rtol=0, atol=1e-5)
    # Else an adapter that does nothing would agree with one that does little.
    assert np.abs(np.subtract(case["output"], INPUTS)).max() > 1


def test_an_id_that_lingvo_clips_is_refused():
    case = GOLDEN["cases"]["clip_task_ids"]
    nearest = np.clip(case["task_ids"], 0, NUM_TASKS - 1)
    output = lingvo_agreement.adapted(GOLDEN, case, nearest)
    np.testing.assert_allclose(output, case["output"], rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="row indices must be in"):
        lingvo_agreement.adapted(GOLDEN, case, np.array(case["task_ids"]))


def test_lingvos_new_adapter_is_not_the_identity():
    assert GOLDEN["initial_max_change"] > 0.1
