"""A Submodel here and PEFT on Hugging Face's Whisper give the same logits.

Needs an environment with peft, torch and transformers: this one, or that of the
interpreter which the variable PEFT_PYTHON names.
"""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from lingvo_like.submodel import file as submodel_file, peft
from tests.lingvo_like.base_models.whisper import whisper_bases
from tests.lingvo_like.submodel import peft_folders

PYTHON = os.environ.get("PEFT_PYTHON", sys.executable)
PROGRAM = pathlib.Path(__file__).with_name("peft_program.py")
# The largest difference of a logit here, in float32, from PEFT's in float64. In
# float32 PEFT's own are up to 7e-5 from those, where logits are up to 30.
ATOL = 1e-4
pytestmark = pytest.mark.slow


def _has_peft():
    found = subprocess.run(
        [PYTHON, "-c", "import peft, torch, transformers"],
        capture_output=True,
    )
    return found.returncode == 0


@pytest.fixture(scope="module", params=["small", "tiny.en"])
def work(request, tmp_path_factory):
    """A base model, and a folder with it as Hugging Face's and its input."""
    if not _has_peft():
        pytest.skip(
            "needs peft, torch and transformers; PEFT_PYTHON may name the "
            "interpreter of an environment that has them"
        )
    folder = tmp_path_factory.mktemp("work")
    base = (
        whisper_bases.small(scale=0.15)
        if request.param == "small"
        else whisper_bases.real()
    )
    base.save(str(folder / "base"))
    features, _, tokens = peft_folders.inputs(base)
    np.savez(folder / "inputs.npz", features=features, tokens=tokens)
    return base, folder


def theirs(folder, adapter, **training):
    """Logits of the base model and of an adapter on it, from PEFT.

    With `training`, the arguments of a LoraConfig, the adapter is trained first
    and written to its folder.
    """
    command = [PYTHON, str(PROGRAM), str(folder), str(adapter)]
    done = subprocess.run(
        [*command, json.dumps(training)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.load(folder / "logits.npz")
    return found["base"], found["adapted"]


def assert_the_same(base, made, from_peft):
    for theirs_, ours in zip(
        from_peft,
        (peft_folders.logits(base), peft_folders.logits(base, made)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs_, rtol=0, atol=ATOL)
    # What is compared is not the base model twice.
    assert np.abs(from_peft[1] - from_peft[0]).max() > 100 * ATOL


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_submodel_has_its_logits_in_peft(work, dtype):
    base, folder = work
    made = submodel_file.rounded(peft_folders.submodel(base, scale=0.05), dtype)
    adapter = folder / dtype
    peft_folders.write(adapter, peft.to_files(made, peft_folders.modules(base)))
    assert_the_same(base, made, theirs(folder, adapter))


@pytest.mark.parametrize(
    "name, training",
    [
        ("plain", {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}),
        (
            "patterns",
            {
                "r": 4,
                "lora_alpha": 8,
                "use_rslora": True,
                "target_modules": r".*layers\.[12]\..*(proj|fc\d)",
                "rank_pattern": {"fc1": 2, r"encoder\..*\.out_proj": 6},
                "alpha_pattern": {"decoder.layers.1.encoder_attn.k_proj": 3},
                "init_lora_weights": "gaussian",
            },
        ),
        (
            "layers",
            {
                "r": 2,
                "target_modules": ["fc2", "v_proj"],
                "layers_to_transform": [0, 2],
                "exclude_modules": ["encoder_attn.v_proj"],
                "lora_dropout": 0.1,
            },
        ),
    ],
)
def test_an_adapter_that_peft_trained_has_its_logits_here(work, name, training):
    base, folder = work
    adapter = folder / name
    from_peft = theirs(folder, adapter, **training)
    found = peft.read(adapter, base.sites, peft_folders.modules(base))
    made = submodel_file.create(
        found.layout,
        found.tensors,
        base_fingerprint=base.fingerprint(),
        speaker="F01",
    )
    assert_the_same(base, made, from_peft)
