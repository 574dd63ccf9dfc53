"""A Submodel packs and saves exactly, and loading one fails closed."""

import dataclasses
import hashlib
import json
import os
import pickle

import hypothesis
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
from hypothesis import strategies

from lingvo_like.submodel import file as submodel_file, sites
from lingvo_like.submodel.kinds import adapter
from tests import layouts

LAYOUT = layouts.adapters(
    model_dim=4, bottleneck_dim=2, blocks=(0, 2), residual_weight=0.1
)
UP_BIAS = layouts.tensor_name(0, "up_bias")
NORM_BIAS = layouts.tensor_name(0, "norm_bias")
DOWN_KERNEL = layouts.tensor_name(0, "down_kernel")


def make(layout=LAYOUT, seed=0, **changes):
    values = np.random.default_rng(seed).standard_normal(layout.num_values)
    values = values.astype(np.float32)
    fields = {
        "base_fingerprint": "f" * 64,
        "speaker": "F01",
        "experiment": "whisper.TinyEnStacked",
        "base_description": {"num_bins": 80, "tokenizer": ["a", "b"]},
        "training": {"num_steps": 200, "loss": 0.1 + 0.2},
    }
    return submodel_file.create(
        layout, layout.unpack(values), **fields | changes
    )


def changed(model_dim=4, bottleneck_dim=2, blocks=(0, 2), residual_weight=0.1):
    """`LAYOUT` with other values."""
    return layouts.adapters(model_dim, bottleneck_dim, blocks, residual_weight)


# What the metadata of a file say of its layout, to be altered.
def parts(**changes):
    return list(changed(**changes).to_json())


(PART,) = parts()


def with_values(**changes):
    return [PART | {"values": PART["values"] | changes}]


def same(a, b):
    return a.metadata == b.metadata and all(
        a.tensors[name].tobytes() == b.tensors[name].tobytes()
        for name in a.tensors | b.tensors
    )


# A file, to be altered: its tensors and the fields of its metadata.
def taken_apart(data):
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    fields = json.loads(header["__metadata__"]["submodel"])
    return safetensors.numpy.load(data), fields


def put_together(tensors, fields):
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return safetensors.numpy.save(tensors, {"submodel": text})


def test_the_layout_is_that_of_the_adapters():
    kind = adapter.Adapter(bottleneck_dim=2)
    expected = {
        layouts.tensor_name(block, name): shape
        for block, piece in zip((0, 2), LAYOUT.pieces, strict=True)
        for name, shape in kind.weight_shapes(piece.site).items()
    }
    assert list(LAYOUT.shapes.items()) == list(expected.items())
    assert LAYOUT.num_values == 2 * (4 + 4 + 4 * 2 + 2 + 2 * 4 + 4)


@pytest.mark.parametrize(
    "fields, message",
    [
        ((0, 2, (0,)), "`output_dim` of at least 1. Received: .*=0"),
        ((4, -1, (0,)), "`bottleneck_dim` must be positive. Received: -1"),
        ((4, 2, ()), "adapter must have at least one site"),
        ((4, 2, (1, 1)), "at a site twice: encoder/block_01/output/adapter"),
    ],
)
def test_a_layout_without_sense_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        layouts.adapters(*fields)


@hypothesis.given(
    strategies.integers(1, 5),
    strategies.integers(1, 5),
    strategies.sets(strategies.integers(0, 120), min_size=1, max_size=4),
    strategies.integers(0, 2**32),
)
def test_packing_and_unpacking_are_exact(
    model_dim, bottleneck_dim, blocks, seed
):
    layout = layouts.adapters(model_dim, bottleneck_dim, sorted(blocks))
    bits = np.random.default_rng(seed).integers(
        0, 0x7F800000, layout.num_values, dtype=np.uint32
    )
    vector = bits.view(np.float32)
    tensors = layout.unpack(vector)
    assert {n: t.shape for n, t in tensors.items()} == layout.shapes
    made = submodel_file.create(
        layout, tensors, base_fingerprint="f", speaker="s"
    )
    assert made.vector.tobytes() == vector.tobytes()


def test_packing_does_not_depend_on_the_dicts_order():
    before = make()
    turned = dict(reversed(before.tensors.items()))
    after = submodel_file.create(
        LAYOUT, turned, base_fingerprint="f", speaker="s"
    )
    assert np.array_equal(before.vector, after.vector)


def test_a_graph_unpacks_a_batch_as_numpy_unpacks_each():
    vectors = np.stack([make(seed=seed).vector for seed in range(3)])
    spec = tf.TensorSpec([None, LAYOUT.num_values], tf.float32)
    unpack = tf.function(LAYOUT.unpack, input_signature=[spec])
    batch = unpack(vectors)
    for row, vector in enumerate(vectors):
        for name, tensor in LAYOUT.unpack(vector).items():
            assert batch[name][row].numpy().tobytes() == tensor.tobytes()
    assert unpack(vectors[:0])[DOWN_KERNEL].shape == (0, 4, 2)


@pytest.mark.parametrize(
    "vector",
    [np.zeros(3, np.float32), np.zeros(LAYOUT.num_values, np.float64)],
)
def test_a_vector_of_another_length_or_dtype_is_not_unpacked(vector):
    with pytest.raises(ValueError, match="must be \\[60\\]"):
        LAYOUT.unpack(vector)


def test_zeros_in_a_file_are_the_identity_bit_for_bit():
    zeros = submodel_file.create(
        LAYOUT,
        LAYOUT.unpack(np.zeros(LAYOUT.num_values, np.float32)),
        base_fingerprint="f",
        speaker="F01",
    )
    x = np.random.default_rng(0).standard_normal((1, 3, 4)).astype(np.float32)
    weights = LAYOUT.unpack(zeros.vector[None])
    functions = sites.site_functions(LAYOUT, weights)
    assert tuple(functions.names) == LAYOUT.site_names
    for name in functions.names:
        assert np.array_equal(np.asarray(functions.apply(name, x, x)), x)


def test_float32_files_round_trip_exactly(tmp_path):
    before = make()
    path = tmp_path / submodel_file.file_name("F01")
    saved = submodel_file.save(path, before)
    assert same(submodel_file.load(path, "f" * 64, LAYOUT), before)
    assert same(saved, before)
    assert same(submodel_file.load(path.read_bytes()), before)


def test_float16_files_hold_the_nearest_values(tmp_path):
    before = make()
    saved = submodel_file.save(tmp_path / "a", before, "float16")
    after = submodel_file.load(tmp_path / "a")
    assert same(saved, after)
    assert after.metadata.dtype == "float16"
    assert after.metadata.sha256 != before.metadata.sha256
    for name, tensor in before.tensors.items():
        expected = tensor.astype(np.float16).astype(np.float32)
        assert after.tensors[name].dtype == np.float32
        assert np.array_equal(after.tensors[name], expected)
    full = submodel_file.save(tmp_path / "full", before)
    assert (tmp_path / "a").stat().st_size < (tmp_path / "full").stat().st_size
    assert same(full, before)


def test_float16_refuses_what_would_become_infinite(tmp_path):
    tensors = {name: np.array(t) for name, t in make().tensors.items()}
    name = layouts.tensor_name(2, "up_kernel")
    tensors[name][1, 2] = 70_000
    large = submodel_file.create(
        LAYOUT, tensors, base_fingerprint="f", speaker="s"
    )
    message = f"{name}: values must fit float16.*65504.*70000"
    with pytest.raises(submodel_file.SubmodelError, match=message):
        submodel_file.save(tmp_path / "a", large, "float16")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "dtype, sha256",
    [
        (
            "float32",
            "d4d674e06292517dd8a72ada492ae2687256e7f662fb9461d4a6996e7c00e2de",
        ),
        (
            "float16",
            "ea045099e27e652c6122e71cdab2f2dd6322e0d02bc03ff6611afd80a8b20e84",
        ),
    ],
)
def test_the_same_submodel_gives_the_same_bytes_everywhere(dtype, sha256):
    data = submodel_file.to_bytes(submodel_file.rounded(make(), dtype))
    assert hashlib.sha256(data).hexdigest() == sha256


def test_other_programs_read_the_file_as_safetensors(tmp_path):
    before = make()
    submodel_file.save(tmp_path / "a", before)
    tensors = safetensors.numpy.load_file(tmp_path / "a")
    assert list(tensors) and all(
        np.array_equal(tensors[name], before.tensors[name])
        for name in before.tensors
    )


def test_a_submodel_does_not_change_with_the_arrays_it_was_made_of():
    tensors = {name: np.array(t) for name, t in make().tensors.items()}
    made = submodel_file.create(
        LAYOUT, tensors, base_fingerprint="f", speaker="s"
    )
    tensors[UP_BIAS][:] = 5
    assert not (made.tensors[UP_BIAS] == 5).any()
    with pytest.raises(ValueError, match="read-only"):
        made.tensors[UP_BIAS][0] = 5


DATA = submodel_file.to_bytes(make())
HALF = submodel_file.to_bytes(submodel_file.rounded(make(), "float16"))


def refused_or_equal(data, original):
    try:
        loaded = submodel_file.load(data)
    except submodel_file.SubmodelError:
        return
    assert same(loaded, submodel_file.load(original))


def with_header(change, data=DATA):
    """A file with another header in front of the same tensors."""
    end = 8 + int.from_bytes(data[:8], "little")
    text = change(data[8:end].decode()).encode()
    return len(text).to_bytes(8, "little") + text + data[end:]


def compact(value):
    return json.dumps(value, separators=(",", ":"))


def aligned(text):
    return text + " " * (-len(text) % 8)


def one_more_key(text):
    header = json.loads(text)
    header[UP_BIAS]["note"] = "x"
    return compact(header)


def one_more_space_in_the_metadata(text):
    header = json.loads(text)
    entry = header["__metadata__"]
    entry["submodel"] = entry["submodel"].replace(",", ", ", 1)
    return compact(header)


def reversed_names(text):
    return compact(dict(reversed(json.loads(text).items())))


def a_reversed_entry(text):
    header = json.loads(text)
    name, entry = header.popitem()
    return compact(header | {name: dict(reversed(entry.items()))})


@pytest.mark.parametrize(
    "change, message",
    [
        (reversed_names, "altered: the header has another order"),
        (a_reversed_entry, "the header must have .*'dtype', 'shape'"),
        (one_more_key, "the header must have .* 'note'"),
        (one_more_space_in_the_metadata, "altered: not as it was written"),
        (lambda text: text + " " * 8, "altered: the header has spaces"),
        (lambda text: text.replace(",", ", ", 1), "altered: the header has"),
        (
            lambda text: text.replace("adapter/up", "\\u0061dapter/up", 1),
            "altered: the",
        ),
    ],
)
def test_a_header_has_one_spelling(change, message):
    with pytest.raises(submodel_file.SubmodelError, match=message):
        submodel_file.load(with_header(lambda text: aligned(change(text))))
    assert same(submodel_file.load(with_header(str)), submodel_file.load(DATA))


def test_tensors_in_another_order_are_refused():
    def exchanged(text):
        header = json.loads(text)
        names = [layouts.tensor_name(block, "norm_bias") for block in (0, 2)]
        one, other = (header[name]["data_offsets"] for name in names)
        header[names[0]]["data_offsets"] = other
        header[names[1]]["data_offsets"] = one
        return aligned(compact(header))

    # Exchanged zeros are the same Submodel.
    zeros = LAYOUT.unpack(np.zeros(LAYOUT.num_values, np.float32))
    made = dataclasses.replace(make(), tensors=zeros)
    data = submodel_file.to_bytes(made)
    with pytest.raises(submodel_file.SubmodelError, match="another order"):
        submodel_file.load(with_header(exchanged, data))


@pytest.mark.parametrize("original", [DATA, HALF])
def test_no_flipped_bit_goes_unnoticed(original):
    for position in range(len(original)):
        altered = bytearray(original)
        altered[position] ^= 1 << (position % 8)
        refused_or_equal(altered, original)


@hypothesis.given(strategies.data())
@hypothesis.settings(max_examples=500)
def test_random_damage_is_always_refused(data):
    original = data.draw(strategies.sampled_from([DATA, HALF]))
    altered = bytearray(original)
    places = strategies.integers(0, len(original) - 1)
    for _ in range(data.draw(strategies.integers(1, 4))):
        altered[data.draw(places)] = data.draw(strategies.integers(0, 255))
    cut = data.draw(strategies.integers(0, len(original)))
    refused_or_equal(bytes(altered), original)
    refused_or_equal(bytes(altered[:cut]), original)
    refused_or_equal(bytes(altered[cut:]), original)
    refused_or_equal(bytes(altered) + original[cut:], original)


@hypothesis.given(strategies.binary(max_size=300))
def test_arbitrary_bytes_are_refused(data):
    for content in (data, len(data).to_bytes(8, "little") + data):
        with pytest.raises(submodel_file.SubmodelError):
            submodel_file.load(content)


def test_every_truncation_is_refused():
    for length in range(len(DATA)):
        with pytest.raises(submodel_file.SubmodelError):
            submodel_file.load(DATA[:length])


@pytest.mark.parametrize(
    "field, value",
    [
        ("speaker", "F02"),
        ("experiment", "other"),
        ("base_fingerprint", "0" * 64),
        ("parts", parts(residual_weight=0.2)),
        ("parts", parts(blocks=(2, 0))),
        ("base_description", {"num_bins": 81, "tokenizer": ["a", "b"]}),
        ("training", {}),
        ("sha256", "0" * 64),
        ("sha256", ""),
    ],
)
def test_altered_metadata_is_noticed(field, value):
    tensors, fields = taken_apart(DATA)
    with pytest.raises(
        submodel_file.SubmodelError, match="altered: the SHA-256"
    ):
        submodel_file.load(put_together(tensors, fields | {field: value}))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"format_version": 1}, "format version must be 2. Received: 1"),
        ({"format_version": 2.0}, "`format_version` must be an integer"),
        (
            {"parts": parts(model_dim=5)},
            "norm_scale: must be F32 \\[5\\].*F32 \\[4\\]",
        ),
        (
            {"parts": parts(bottleneck_dim=10**18)},
            "down_kernel: must be F32",
        ),
        (
            {"parts": with_values(bottleneck_dim=0)},
            "`bottleneck_dim` must be positive",
        ),
        (
            {"parts": parts(blocks=(0, 1))},
            "the tensor encoder/block_01/output/adapter/norm_scale is missing",
        ),
        (
            {"parts": parts(blocks=(0,))},
            "the tensor 'encoder/block_02/.*' is not expected",
        ),
        ({"parts": [PART | {"sites": []}]}, "must have at least one site"),
        ({"parts": [PART | {"sites": 3}]}, "metadata: .*sites"),
        ({"parts": [PART] * 2}, "a kind is at a site twice"),
        ({"parts": [PART | {"kind": "adaptor"}]}, "must be one of adapter, "),
        ({"parts": [PART | {"more": 1}]}, "must have `kind`, `values` and"),
        ({"parts": [3]}, "`parts\\[0\\]` must be a dict"),
        ({"parts": []}, "must have a kind at a site"),
        ({"dtype": "float16"}, "norm_scale: must be F16"),
        ({"dtype": "bfloat16"}, "`dtype` must be one of"),
        ({"speaker": ""}, "`speaker` must be a string, not empty"),
        ({"speaker": 3}, "`speaker` must be a string"),
        ({"base_fingerprint": ""}, "`base_fingerprint` must not be empty"),
        (
            {"parts": with_values(residual_weight="1")},
            "`residual_weight` must be a finite",
        ),
        (
            {"parts": with_values(residual_weight=float("nan"))},
            "NaN is not a JSON number",
        ),
        ({"unknown": 1}, "unknown key `unknown`"),
        ({"heard": "no"}, "`heard` must be hashes"),
    ],
)
def test_metadata_that_is_not_right_is_named(changes, message):
    tensors, fields = taken_apart(DATA)
    with pytest.raises(submodel_file.SubmodelError, match=message):
        submodel_file.load(put_together(tensors, fields | changes))


def test_missing_metadata_is_named():
    tensors, fields = taken_apart(DATA)
    del fields["training"]
    with pytest.raises(
        submodel_file.SubmodelError, match="missing keys: training"
    ):
        submodel_file.load(put_together(tensors, fields))
    for entries in (None, {"other": "x"}, {"submodel": "{}", "other": "x"}):
        data = safetensors.numpy.save(tensors, entries)
        with pytest.raises(submodel_file.SubmodelError, match="not a Submodel"):
            submodel_file.load(data)
    for text in ("", "[]", "3", "null", "[" * 100_000, '{"training": 1e999}'):
        data = safetensors.numpy.save(tensors, {"submodel": text})
        with pytest.raises(submodel_file.SubmodelError, match="metadata: "):
            submodel_file.load(data)


def test_deeply_nested_metadata_is_refused():
    tensors, fields = taken_apart(DATA)
    for depth in range(100, 1200, 50):
        nested = f'{{"a":{"[" * depth}{"]" * depth}}}'
        text = json.dumps(fields | {"training": {"x": 0}})
        text = text.replace('{"x": 0}', nested)
        with pytest.raises(submodel_file.SubmodelError):
            submodel_file.load(
                safetensors.numpy.save(tensors, {"submodel": text})
            )


def _broken(tensors, fields, name, tensor):
    if tensor is None:
        del tensors[name]
    else:
        tensors[name] = tensor
    return put_together(tensors, fields)


@pytest.mark.parametrize(
    "name, tensor, message",
    [
        (UP_BIAS, None, f"the tensor {UP_BIAS} is missing"),
        ("extra", np.zeros(1, np.float32), "'extra' is not expected"),
        (
            DOWN_KERNEL,
            np.zeros((2, 4), np.float32),
            f"{DOWN_KERNEL}: must be F32 \\[4, 2\\].*F32 \\[2, 4\\]",
        ),
        (
            NORM_BIAS,
            np.zeros(4, np.float64),
            f"{NORM_BIAS}: must be F32 \\[4\\].*F64 \\[4\\]",
        ),
        (
            NORM_BIAS,
            np.zeros(4, np.int32),
            f"{NORM_BIAS}: must be F32 \\[4\\].*I32 \\[4\\]",
        ),
        (
            UP_BIAS,
            np.array([0, np.nan, np.inf, 0], np.float32),
            f"{UP_BIAS}: 2 of 4 values are not finite",
        ),
        (
            UP_BIAS,
            np.zeros(4, np.float32),
            "altered: the SHA-256",
        ),
    ],
)
def test_a_tensor_that_is_not_right_is_named(name, tensor, message):
    data = _broken(*taken_apart(DATA), name, tensor)
    with pytest.raises(submodel_file.SubmodelError, match=message):
        submodel_file.load(data)


def test_what_cannot_be_saved_is_named(tmp_path):
    good = make()
    tensors = dict(good.tensors)
    tensors[UP_BIAS] = np.full(4, np.nan, np.float32)
    bad = dataclasses.replace(good, tensors=tensors)
    for dtype in ("float32", "float16"):
        with pytest.raises(submodel_file.SubmodelError, match=f"a: {UP_BIAS}"):
            submodel_file.save(tmp_path / "a", bad, dtype)
    with pytest.raises(
        submodel_file.SubmodelError, match="`dtype` must be one of"
    ):
        submodel_file.save(tmp_path / "a", good, "int8")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"speaker": ""}, "`speaker` must be a string, not empty"),
        ({"speaker": "\ud800"}, "`speaker` must be valid Unicode"),
        ({"base_fingerprint": ""}, "`base_fingerprint`"),
        ({"training": {"loss": float("nan")}}, "`training` must be JSON"),
        ({"training": {"loss": object()}}, "`training` must be JSON"),
        (
            {"layout": layouts.adapters(4, 2, (0, 2), float("inf"))},
            "`residual_weight` must be",
        ),
    ],
)
def test_a_submodel_is_not_made_of_wrong_values(changes, message):
    with pytest.raises(submodel_file.SubmodelError, match=message):
        make(**changes)


def test_another_base_or_layout_is_refused_and_both_are_named(tmp_path):
    path = tmp_path / "a"
    submodel_file.save(path, make())
    with pytest.raises(
        submodel_file.SubmodelError, match=f"{path}.*another base.*000.*fff"
    ):
        submodel_file.load(path, base_fingerprint="0" * 64)
    for layout, message in (
        (
            changed(model_dim=5),
            "base model, .*_00.*_dim=5.*Received: .*=4",
        ),
        (changed(bottleneck_dim=3), "bottleneck_dim=3 .*Received: .*_dim=2 "),
        (changed(blocks=(0,)), "other sites: .*not expected .*block_02/output"),
        (changed(residual_weight=1.0), "weight=1 .*Received: .*weight=0.1 "),
        (changed(blocks=(2, 0)), "in another order: .*block_02.*block_00"),
    ):
        with pytest.raises(submodel_file.SubmodelError, match=message):
            submodel_file.load(path, layout=layout)


def test_files_of_another_kind_are_refused_by_name(tmp_path):
    contents = {
        "empty": b"",
        "short": b"1234567",
        "pickle": pickle.dumps({"weights": np.zeros(3)}),
        "zip": b"PK\x03\x04" + bytes(100),
        "text": b"hello, world, this is not a Submodel\n",
        "huge header": (1 << 62).to_bytes(8, "little") + bytes(100),
        "all zeros": bytes(1000),
        "empty object": (2).to_bytes(8, "little") + b"{}",
        "not an object": (2).to_bytes(8, "little") + b"[]",
        "flat object": (7).to_bytes(8, "little") + b'{"a":1}',
    }
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(submodel_file.SubmodelError, match=str(path)):
            submodel_file.load(path)
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(submodel_file.SubmodelError, match=str(path)):
            submodel_file.load(path)


def test_a_header_over_the_limit_is_refused_before_it_is_parsed():
    size = submodel_file.MAX_HEADER_BYTES + 1
    data = size.to_bytes(8, "little") + b"[" * size
    with pytest.raises(
        submodel_file.SubmodelError, match="header must have at"
    ):
        submodel_file.load(data)


def test_a_file_over_the_limit_is_refused_unread(tmp_path):
    with open(tmp_path / "huge", "wb") as file:
        file.truncate(submodel_file.MAX_FILE_BYTES + 1)
    with pytest.raises(
        submodel_file.SubmodelError, match="huge: must have at most"
    ):
        submodel_file.load(tmp_path / "huge")


def test_metadata_too_large_to_load_is_not_saved():
    text = "x" * submodel_file.MAX_HEADER_BYTES
    with pytest.raises(submodel_file.SubmodelError, match="header must have"):
        submodel_file.to_bytes(make(training={"text": text}))


def test_a_failed_load_runs_no_pickled_code(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    (tmp_path / "trap").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(submodel_file.SubmodelError):
        submodel_file.load(tmp_path / "trap")
    assert not (tmp_path / "ran").exists()


@hypothesis.given(strategies.text(min_size=1))
@hypothesis.example("../../etc/passwd")
@hypothesis.example("話者 1\n")
@hypothesis.example("\x00")
def test_any_speaker_id_is_kept(speaker):
    try:
        before = make(speaker=speaker)
    except submodel_file.SubmodelError:
        with pytest.raises(UnicodeEncodeError):
            speaker.encode()
        return
    assert (
        submodel_file.load(submodel_file.to_bytes(before)).metadata.speaker
        == speaker
    )


@pytest.mark.parametrize(
    "speaker, expected",
    [
        ("F01", "F01.safetensors"),
        ("a b/c", "a%20b%2Fc.safetensors"),
        (".", "%2E.safetensors"),
        ("..", "%2E..safetensors"),
        ("-rf", "%2Drf.safetensors"),
        ("~", "%7E.safetensors"),
        ("%20", "%2520.safetensors"),
        ("é", "%C3%A9.safetensors"),
    ],
)
def test_file_names_are_safe_and_readable(speaker, expected):
    assert submodel_file.file_name(speaker) == expected


@hypothesis.given(
    strategies.lists(
        strategies.text(
            strategies.characters(exclude_categories=["Cs"]), min_size=1
        ),
        unique=True,
    )
)
def test_different_speakers_have_different_file_names(speakers):
    speakers += [speaker * 200 for speaker in speakers if len(speaker) > 1]
    speakers = list(dict.fromkeys(speakers))
    names = [submodel_file.file_name(speaker) for speaker in speakers]
    assert len(set(names)) == len(names)
    for name in names:
        assert name.isascii() and name.isprintable() and "/" not in name
        assert len(name) <= 200 and name[0] not in ".-"


def test_long_speaker_ids_differ_in_their_last_character():
    long = "話" * 500
    assert submodel_file.file_name(long + "1") != submodel_file.file_name(
        long + "2"
    )


def test_an_empty_speaker_has_no_file_name():
    with pytest.raises(submodel_file.SubmodelError, match="not empty"):
        submodel_file.file_name("")


def test_the_checksum_covers_the_metadata_and_then_the_tensors():
    layout = layouts.adapters(1, 1, (0,))
    zeros = submodel_file.create(
        layout,
        layout.unpack(np.zeros(layout.num_values, np.float32)),
        base_fingerprint="f",
        speaker="s",
    )
    content = (
        b'{"base_description":{},"base_fingerprint":"f","dtype":"float32",'
        b'"experiment":"","format_version":2,"heard":"","language":"",'
        b'"parts":[{"kind":"adapter",'
        b'"sites":[["encoder/block_00/output",0,1]],"values":'
        b'{"bottleneck_dim":1,"residual_weight":1.0}}],'
        b'"speaker":"s","started_from":{},"training":{}}'
    )
    fields = b"norm_scale norm_bias down_kernel down_bias up_kernel up_bias"
    for field in fields.split():
        name = b"encoder/block_00/output/adapter/" + field
        content += b"\n" + name + b"\n" + bytes(4)
    assert zeros.metadata.sha256 == hashlib.sha256(content).hexdigest()


def test_a_submodel_names_the_language_of_its_speaker():
    made = submodel_file.create(
        LAYOUT, make().tensors, base_fingerprint="f", speaker="s", language="de"
    )
    loaded = submodel_file.load(submodel_file.to_bytes(made))
    assert loaded.metadata.language == "de"
    assert make().metadata.language == ""
    for wrong in ("DE", "german", "de-at"):
        with pytest.raises(submodel_file.SubmodelError, match="`?language"):
            submodel_file.create(
                LAYOUT,
                make().tensors,
                base_fingerprint="f",
                speaker="s",
                language=wrong,
            )
