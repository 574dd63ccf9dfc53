"""All but plain LoRA of a base model is refused by name."""

import numpy as np
import pytest

from lingvo_like.submodel import file as submodel_file, peft
from tests.lingvo_like.base_models.whisper import whisper_bases
from tests.lingvo_like.submodel import peft_folders

QUERY = "base_model.model.model.encoder.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def base():
    return whisper_bases.small()


@pytest.fixture
def folder(base, tmp_path):
    made = peft_folders.submodel(base)
    contents = peft.to_files(made, peft_folders.modules(base))
    return peft_folders.write(tmp_path / "adapter", contents)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"peft_type": "IA3"}, "peft_type='IA3'; only LoRA can be taken"),
        ({"peft_type": None}, "peft_type=None; only LoRA"),
        ({"use_dora": True}, "use_dora=True; DoRA is another function"),
        ({"bias": "lora_only"}, "bias='lora_only'; it was trained with"),
        ({"lora_bias": True}, "lora_bias=True; it has biases"),
        ({"modules_to_save": ["proj_out"]}, "whole modules were trained"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out=True"),
        ({"init_lora_weights": "pissa_niter_4"}, "pissa.*path_initial_model"),
        ({"init_lora_weights": "olora"}, "began with other weights"),
        ({"init_lora_weights": "corda"}, "began with other weights"),
        ({"init_lora_weights": "loftq"}, "began with other weights"),
        ({"trainable_token_indices": [1]}, "embeddings of tokens"),
        ({"layer_replication": [[0, 2]]}, "layer_replication.*not known here"),
        ({"use_new_thing": True}, "use_new_thing=True; what that does"),
        ({"r": 0}, "'r' must be a positive integer. Received: 0"),
        ({"r": True}, "'r' must be a positive integer. Received: True"),
        ({"r": 3}, r"lora_A.weight must be \[3, 16\].*Received: \[2, 16\]"),
        ({"rank_pattern": {"q_proj": "2"}}, "'rank_pattern.q_proj' must be"),
        ({"rank_pattern": [1]}, "'rank_pattern' must be an object"),
        ({"lora_alpha": 0}, "'lora_alpha' must be a number, and not zero"),
        ({"lora_alpha": "4"}, "'lora_alpha' must be a number"),
        ({"alpha_pattern": {"[": 2}}, "not a regular expression"),
        ({"target_modules": None}, "'target_modules' must name modules"),
        ({"target_modules": [1]}, "must be a pattern or a list of names"),
        (
            {"target_modules": ["encoder.layers.0.self_attn.q_proj", "fc1"]},
            r"layers\.0\.fc1 has no tensors, though its configuration targets",
        ),
        ({"target_modules": "all-linear"}, r"0\.self_attn\.k_proj has no tens"),
        ({"target_modules": ["q_proj", "conv1"]}, "it changes 'conv1', where"),
        (
            {"target_modules": ["model.encoder.layers.0.self_attn.q_proj"]},
            r"layers\.1.*q_proj has tensors, but its configuration does not",
        ),
    ],
)
def test_what_is_not_plain_lora_is_refused_by_name(
    base, tmp_path, changes, message
):
    folder = peft_folders.of_queries(base, tmp_path, **changes)
    with pytest.raises(submodel_file.SubmodelError, match=message) as raised:
        peft_folders.read(folder, base)
    assert str(raised.value).startswith(str(folder))
    assert "\n" not in str(raised.value)


def without(name):
    return lambda tensors: {k: v for k, v in tensors.items() if k != name}


def with_tensor(name, value):
    return lambda tensors: tensors | {name: value}


@pytest.mark.parametrize(
    "change, message",
    [
        (without(f"{QUERY}.lora_A.weight"), "q_proj.lora_A.weight is missing"),
        (without(f"{QUERY}.lora_B.weight"), "q_proj.lora_B.weight is missing"),
        (
            with_tensor(
                "base_model.model.model.encoder.conv1.lora_A.weight",
                np.zeros((2, 16), "f4"),
            ),
            "it changes 'model.encoder.conv1', where .* fc1, fc2, k_proj,",
        ),
        (
            with_tensor(
                "base_model.model.proj_out.lora_A.weight",
                np.zeros((2, 16), "f4"),
            ),
            "it changes 'proj_out'",
        ),
        (
            with_tensor(f"{QUERY}.lora_magnitude_vector", np.ones(16, "f4")),
            "lora_magnitude_vector' is not a tensor of plain LoRA",
        ),
        (
            with_tensor(f"{QUERY}.lora_B.bias", np.ones(16, "f4")),
            "lora_B.bias' is not a tensor of plain LoRA",
        ),
        (
            with_tensor(f"{QUERY}.lora_B.weight", np.zeros((15, 2), "f4")),
            r"lora_B.weight must be \[16, 2\].*Received: \[15, 2\]",
        ),
        (
            with_tensor(
                f"{QUERY}.lora_B.weight", np.full((16, 2), np.nan, "f4")
            ),
            "lora_B.weight has values that are not finite",
        ),
        (
            with_tensor(f"{QUERY}.lora_B.weight", np.full((16, 2), 1e300)),
            "lora_B.weight has values that are not finite",
        ),
        (
            with_tensor(f"{QUERY}.lora_B.weight", np.ones((16, 2), "i4")),
            "has the type I32; expected floats",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(
    base, tmp_path, change, message
):
    folder = peft_folders.of_queries(base, tmp_path)
    peft_folders.change_tensors(folder, change)
    with pytest.raises(submodel_file.SubmodelError, match=message):
        peft_folders.read(folder, base)


def test_a_pickle_is_refused_with_advice(base, folder):
    path = folder / peft.TENSORS_FILE
    path.rename(folder / "adapter_model.bin")
    with pytest.raises(
        submodel_file.SubmodelError,
        match="adapter_model.safetensors is missing. It has adapter_model.bin, "
        "a pickle, which can run any program; .*save_pretrained",
    ):
        peft_folders.read(folder, base)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("adapter_config.json", None, "is missing; name a folder that"),
        ("adapter_config.json", b"[1]", "must be a JSON object"),
        ("adapter_config.json", b"\xff", "adapter_config.json: .*decode"),
        ("adapter_config.json", b"{", "adapter_config.json: "),
        ("adapter_model.safetensors", None, "safetensors is missing$"),
        ("adapter_model.safetensors", b"", "truncated or damaged"),
        ("submodel.json", b"{", "submodel.json: "),
        ("submodel.json", b'{"speaker": "F01"}', "submodel.json: must have"),
    ],
)
def test_damaged_files_are_named(base, folder, name, content, message):
    path = folder / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(submodel_file.SubmodelError, match=message):
        peft_folders.read(folder, base)


def test_a_folder_that_is_none_is_named(base, folder):
    for path in (folder / "nothing", folder / "adapter_config.json"):
        with pytest.raises(submodel_file.SubmodelError, match="is missing"):
            peft_folders.read(path, base)
