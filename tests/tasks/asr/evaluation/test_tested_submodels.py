"""Submodels that cannot be evaluated are refused and named."""

import shutil

import numpy as np
import pytest

from lingvo_like.submodel import file as submodel_file
from tasks.asr.evaluation import tested_submodels
from tasks.asr.training import model_directory
from tests import layouts

LAYOUT = layouts.adapters(model_dim=4, bottleneck_dim=2, blocks=(0, 1))
BASE = "0123456789abcdef" * 4


@pytest.fixture
def directory(tmp_path):
    made = model_directory.ModelDirectory(str(tmp_path / "run"))
    made.prepare()
    for index, speaker in enumerate(("ann", "bob")):
        save(made, speaker, index + 1.0)
    return made


def save(directory, speaker, value, layout=LAYOUT, base=BASE, **changes):
    vector = np.full(layout.num_values, value, np.float32)
    submodel_file.save(
        directory.submodel(speaker),
        submodel_file.create(
            layout,
            layout.unpack(vector),
            base_fingerprint=base,
            speaker=speaker,
            training={"train_seconds_of_speech": 90.0},
            **changes,
        ),
    )


def load(directory, *speakers):
    return tested_submodels.read(directory, speakers, BASE, LAYOUT, {})


def refusal(directory, *speakers):
    with pytest.raises(ValueError) as error:
        load(directory, *speakers)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_each_speaker_gets_its_own_submodel(directory):
    loaded = load(directory, "ann", "bob")
    stack = loaded.stack()
    up_bias = layouts.tensor_name(1, "up_bias")
    for speakers, values in ((("bob", "ann"), (2.0, 1.0)), (("bob",), (2.0,))):
        loaded.load(stack, speakers)
        for slot, value in enumerate(values):
            assert np.all(stack.read(slot)[up_bias] == value)
    assert loaded.train_minutes == {"ann": 1.5, "bob": 1.5}


def test_a_speaker_without_a_submodel_is_named(directory):
    message = refusal(directory, "ann", "cy")
    assert f"{directory.submodels}: no Submodel of cy, 1 of the 2 " in message
    assert "no Submodel of cy, 1 of the 1 speaker in" in refusal(
        directory, "cy"
    )


@pytest.mark.parametrize("how", ["cut", "altered", "empty", "other"])
def test_a_damaged_file_is_named(directory, how):
    path = directory.submodel("bob")
    with open(path, "rb") as file:
        data = file.read()
    damaged = {
        "cut": data[:-5],
        "altered": data[:-1] + bytes([data[-1] ^ 1]),
        "empty": b"",
        "other": b"not a Submodel at all",
    }[how]
    with open(path, "wb") as file:
        file.write(damaged)
    assert refusal(directory, "ann", "bob").startswith(f"{path}: ")


def test_a_submodel_of_another_base_is_named(directory):
    save(directory, "bob", 1.0, base="f" * 64)
    message = refusal(directory, "bob")
    assert message.startswith(directory.submodel("bob"))
    assert "another base model" in message


def test_a_submodel_of_another_shape_is_named(directory):
    wide = layouts.adapters(model_dim=4, bottleneck_dim=3, blocks=(0, 1))
    save(directory, "bob", 1.0, layout=wide)
    message = refusal(directory, "bob")
    assert message.startswith(directory.submodel("bob"))
    assert "must be adapter bottleneck_dim=2 " in message
    assert "Received: adapter bottleneck_dim=3 " in message


def test_a_renamed_file_never_serves_a_stranger(directory):
    shutil.copy(directory.submodel("ann"), directory.submodel("bob"))
    message = refusal(directory, "ann", "bob")
    assert message.startswith(directory.submodel("bob"))
    assert "is the Submodel of 'ann', not of 'bob'" in message


def test_submodels_of_runs_with_other_residual_weights_do_not_mix(directory):
    half = layouts.adapters(4, 2, (0, 1), residual_weight=0.5)
    save(directory, "bob", 1.0, layout=half)
    said = refusal(directory, "ann", "bob")
    assert said.startswith(directory.submodel("bob"))
    assert "must be adapter bottleneck_dim=2 residual_weight=1 at" in said
    assert "Received: adapter bottleneck_dim=2 residual_weight=0.5 at" in said


def test_a_submodel_that_changes_after_the_check_is_refused(directory):
    loaded = load(directory, "ann", "bob")
    save(directory, "bob", 3.0)
    stack = loaded.stack()
    loaded.load(stack, ["ann"])
    with pytest.raises(ValueError, match="changed during the evaluation"):
        loaded.load(stack, ["ann", "bob"])
