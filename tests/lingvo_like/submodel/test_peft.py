"""PEFT's folders have the function of the Submodel."""

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
from lingvo_like.submodel.kinds import lora, vectors
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
    found = peft_folders.read(folder, base)
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
    for name, tensor in peft_folders.read(folder, base).tensors.items():
        np.testing.assert_array_equal(tensor, half.tensors[name])


def test_the_configuration_names_whole_modules(base, tmp_path):
    folder = peft_folders.of_queries(base, tmp_path)
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
            *peft_folders.queries(base).parts,
            submodel_layout.Part(vectors.Bias(), sites),
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
    found = peft_folders.read(
        peft_folders.of_queries(base, tmp_path, **changes), base
    )
    expected = kinds or [lora.Lora(2, 4.0)]
    assert [part.kind for part in found.layout.parts] == expected
    assert len(found.layout.pieces) == 2


def test_bfloat16_is_taken_as_float32(base, tmp_path):
    folder = peft_folders.of_queries(base, tmp_path)
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
    found = peft_folders.read(folder, base).tensors
    name = "encoder/block_01/attention/query/lora/down_kernel"
    theirs = tensors[f"{QUERY.replace('.0.', '.1.')}.lora_A.weight"]
    expected = (theirs.view("u4") & 0xFFFF0000).view("f4").T
    assert found[name].dtype == np.float32
    np.testing.assert_array_equal(found[name], expected)
