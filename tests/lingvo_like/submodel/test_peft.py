"""PEFT's folders have the function of the Submodel, or are refused."""

import json
import math
import struct

import numpy as np
import pytest
import safetensors.numpy

from lingvo_like.base_models.whisper import model as whisper
from lingvo_like.submodel import (
    file as submodel_file,
    layout as submodel_layout,
    peft,
)
from lingvo_like.submodel.kinds import bias, lora
from tests.lingvo_like.base_models.whisper import whisper_bases
from tests.lingvo_like.submodel import peft_folders

QUERY = "base_model.model.model.encoder.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def base():
    return whisper_bases.small()


@pytest.fixture(scope="module")
def made(base):
    return peft_folders.submodel(base)


@pytest.fixture
def folder(base, made, tmp_path):
    contents = peft.to_files(made, peft_folders.modules(base))
    return peft_folders.write(tmp_path / "adapter", contents)


def read(folder, base):
    return peft.read(folder, base.sites, peft_folders.modules(base))


def queries(base, rank=2, alpha=4.0):
    """A layout of two sites."""
    sites = submodel_layout.matching_sites(
        base.sites, ["encoder/block_0[01]/attention/query"]
    )
    part = submodel_layout.Part(lora.Lora(rank, alpha), sites)
    return submodel_layout.Layout((part,))


def of_queries(base, tmp_path, **changes):
    """A folder whose configuration is another one than was written."""
    made = peft_folders.submodel(base, queries(base))
    contents = peft.to_files(made, peft_folders.modules(base))
    folder = peft_folders.write(tmp_path / "queries", contents)
    peft_folders.change_config(folder, **changes)
    return folder


def test_folding_a_folder_into_the_base_gives_the_logits(
    base, made, folder, tmp_path
):
    base.save(str(tmp_path / "base"))
    weights_path = tmp_path / "base" / "model.safetensors"
    weights = safetensors.numpy.load(weights_path.read_bytes())
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = safetensors.numpy.load(
        (folder / "adapter_model.safetensors").read_bytes()
    )
    assert len(tensors) == 2 * len(config["target_modules"])
    for module in config["target_modules"]:
        rank = config["rank_pattern"].get(module, config["r"])
        alpha = config["alpha_pattern"].get(module, config["lora_alpha"])
        down = tensors[f"base_model.model.{module}.lora_A.weight"]
        up = tensors[f"base_model.model.{module}.lora_B.weight"]
        assert down.shape[0] == up.shape[1] == rank
        weights[f"{module}.weight"] += alpha / rank * up @ down
    weights_path.write_bytes(safetensors.numpy.save(weights))
    (tmp_path / "base" / "submodels_base.json").unlink()
    folded = whisper.load(str(tmp_path / "base"))
    expected = peft_folders.logits(base, made)
    assert np.abs(expected - peft_folders.logits(base)).max() > 0.5
    received = peft_folders.logits(folded)
    np.testing.assert_allclose(received, expected, atol=1e-4)


def test_a_folder_comes_back_as_it_was_to_the_bit(base, made, folder):
    found = read(folder, base)
    wanted = {site.name for part in made.layout.parts for site in part.sites}
    assert set(found.layout.site_names) == wanted
    assert list(found.layout.shapes) == list(found.tensors)
    for piece in found.layout.pieces:
        assert piece in made.layout.pieces
    for name, tensor in made.tensors.items():
        np.testing.assert_array_equal(found.tensors[name], tensor)
    assert found.record["base_fingerprint"] == base.fingerprint()
    assert found.record["speaker"] == "F01"


def test_float16_stays_float16(base, made, tmp_path):
    half = submodel_file.rounded(made, "float16")
    contents = peft.to_files(half, peft_folders.modules(base))
    folder = peft_folders.write(tmp_path / "half", contents)
    (header,) = struct.unpack("<Q", contents[peft.TENSORS_FILE][:8])
    entries = json.loads(contents[peft.TENSORS_FILE][8 : 8 + header])
    del entries["__metadata__"]
    assert {entry["dtype"] for entry in entries.values()} == {"F16"}
    for name, tensor in read(folder, base).tensors.items():
        np.testing.assert_array_equal(tensor, half.tensors[name])


def test_the_configuration_names_whole_modules(base, tmp_path):
    folder = of_queries(base, tmp_path)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["target_modules"] == [
        "model.encoder.layers.0.self_attn.q_proj",
        "model.encoder.layers.1.self_attn.q_proj",
    ]
    assert (config["r"], config["lora_alpha"]) == (2, 4)
    assert config["rank_pattern"] == config["alpha_pattern"] == {}
    assert config["peft_type"] == "LORA"
    assert config["base_model_name_or_path"] is None


def test_other_kinds_are_refused_by_name(base):
    sites = submodel_layout.matching_sites(base.sites, ["encoder/*/output"])
    mixed = submodel_layout.Layout(
        (
            *queries(base).parts,
            submodel_layout.Part(bias.Bias(), sites),
        )
    )
    made = peft_folders.submodel(base, mixed)
    with pytest.raises(
        submodel_file.SubmodelError,
        match="lora alone. Received: bias, lora; .*block_00/output/bias",
    ):
        peft.to_files(made, peft_folders.modules(base))


@pytest.mark.parametrize(
    "changes, kinds",
    [
        ({"lora_alpha": 3}, [lora.Lora(2, 3.0)]),
        # rsLoRA scales with alpha / sqrt(rank).
        ({"use_rslora": True}, [lora.Lora(2, 4 * math.sqrt(2))]),
        (
            {"alpha_pattern": {r"layers\.1\.self_attn\.q_proj": 6}},
            [lora.Lora(2, 4.0), lora.Lora(2, 6.0)],
        ),
        # A pattern matches to the end, from a dot or the beginning.
        ({"alpha_pattern": {"proj": 6, "q_proj.x": 7}}, [lora.Lora(2, 4.0)]),
        (
            {"r": 64, "rank_pattern": {"^model.encoder.*q_proj": 2}},
            [lora.Lora(2, 4.0)],
        ),
        (
            {
                "target_modules": ["self_attn.q_proj"],
                "layers_to_transform": [0, 1],
                "exclude_modules": ".*decoder.*",
            },
            None,
        ),
        ({"target_modules": r".*encoder\.layers\.[01]\..*q_proj"}, None),
        (
            {
                "target_modules": ["q_proj"],
                "exclude_modules": r".*(decoder|layers\.2).*",
            },
            None,
        ),
        ({"init_lora_weights": "gaussian", "lora_dropout": 0.3}, None),
        ({"loftq_config": {}, "modules_to_save": None, "new": False}, None),
    ],
)
def test_configurations_of_plain_lora_are_taken_right(
    base, tmp_path, changes, kinds
):
    found = read(of_queries(base, tmp_path, **changes), base)
    expected = kinds or [lora.Lora(2, 4.0)]
    assert [part.kind for part in found.layout.parts] == expected
    assert len(found.layout.pieces) == 2


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
    folder = of_queries(base, tmp_path, **changes)
    with pytest.raises(submodel_file.SubmodelError, match=message) as raised:
        read(folder, base)
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
    folder = of_queries(base, tmp_path)
    peft_folders.change_tensors(folder, change)
    with pytest.raises(submodel_file.SubmodelError, match=message):
        read(folder, base)


def test_bfloat16_is_taken_as_float32(base, tmp_path):
    folder = of_queries(base, tmp_path)
    path = folder / peft.TENSORS_FILE
    tensors = safetensors.numpy.load(path.read_bytes())
    header, data = {}, b""
    for name, value in tensors.items():
        raw = (value.view("u4") >> 16).astype("u2").tobytes()
        header[name] = {
            "dtype": "BF16",
            "shape": value.shape,
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    found = read(folder, base).tensors
    name = "encoder/block_01/attention/query/lora/down_kernel"
    theirs = tensors[f"{QUERY.replace('.0.', '.1.')}.lora_A.weight"]
    expected = (theirs.view("u4") & 0xFFFF0000).view("f4").T
    assert found[name].dtype == np.float32
    np.testing.assert_array_equal(found[name], expected)


def test_a_pickle_is_refused_with_advice(base, folder):
    path = folder / peft.TENSORS_FILE
    path.rename(folder / "adapter_model.bin")
    with pytest.raises(
        submodel_file.SubmodelError,
        match="adapter_model.safetensors is missing. It has adapter_model.bin, "
        "a pickle, which can run any program; .*save_pretrained",
    ):
        read(folder, base)


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
        read(folder, base)


def test_a_folder_that_is_none_is_named(base, folder):
    for path in (folder / "nothing", folder / "adapter_config.json"):
        with pytest.raises(submodel_file.SubmodelError, match="is missing"):
            read(path, base)
