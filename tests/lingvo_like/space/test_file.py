"""A space's file: what it holds, and that nothing else is taken for it."""

import hashlib
import json
import os

import numpy as np
import pytest
import safetensors.numpy

from lingvo_like import choices, tensor_file
from lingvo_like.space import (
    embedding_space,
    encoder as space_encoder,
    file as space_file,
)
from tests import layouts

LAYOUT = layouts.adapters(6, 3, blocks=(0, 2), residual_weight=0.5)
FINGERPRINT = "f" * 64


def trained(encoder=True, **values):
    """An `EmbeddingSpace` with something in all of its tensors."""
    space = embedding_space.EmbeddingSpace(
        ("ann", "bob", "cy"),
        LAYOUT,
        4,
        encoder=space_encoder.SpaceEncoder(6, 4, 5) if encoder else None,
        **values,
    )
    space.initialize(seed=1)
    draw = np.random.default_rng(0)
    for variable in space.variables_by_name.values():
        variable.assign(draw.standard_normal(variable.shape).astype("float32"))
    return space


def make(**values):
    return space_file.create(
        trained(**values),
        base_fingerprint=FINGERPRINT,
        experiment="conformer.TinyEmbedding",
        values={"space": {"embedding_dim": 4}},
        training={"steps": (1, 2)},
    )


def test_what_was_saved_is_loaded(tmp_path):
    space = make()
    space_file.save(tmp_path / "s", space)
    loaded = space_file.load(tmp_path / "s", FINGERPRINT)
    assert loaded.metadata == space.metadata
    assert loaded.tensors.keys() == space.tensors.keys()
    for name, tensor in space.tensors.items():
        np.testing.assert_array_equal(loaded.tensors[name], tensor)
    assert loaded.speakers == ("ann", "bob", "cy")
    assert loaded.layout == LAYOUT
    np.testing.assert_array_equal(loaded.embedding("bob"), space.embeddings[1])
    with pytest.raises(ValueError, match="read-only"):
        loaded.embeddings[0] = 1.0


def test_the_same_space_gives_the_same_bytes_everywhere(tmp_path):
    space_file.save(tmp_path / "a", make())
    sha256 = hashlib.sha256((tmp_path / "a").read_bytes()).hexdigest()
    assert sha256 == (
        "47c7c196fbb44a5fd3ba2b643f642626bef79ea0a0f1eb97d4e1e41f7f4f7dd7"
    )
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("normalization", choices.NORMALIZATIONS)
def test_a_materialised_submodel_is_the_one_that_trained(normalization):
    space = trained(normalization=normalization)
    stored = space_file.create(space, base_fingerprint=FINGERPRINT)
    for slot, speaker in enumerate(space.speakers):
        tensors = stored.materialise(stored.embedding(speaker))
        tensor_file.checked_tensors(LAYOUT.shapes, tensors)
        for name, tensor in space.read(slot).items():
            np.testing.assert_array_equal(tensors[name], tensor)


def test_the_zero_embedding_is_the_base():
    tensors = make().materialise(np.zeros(4))
    assert all(np.all(tensor == 0.0) for tensor in tensors.values())


def test_everybody_enrols_from_the_mean_those_of_the_space_too():
    stored = make()
    space = stored.embedding_space(("zoe", "bob"))
    assert not space.basis_trainable
    for row in space.embeddings:
        np.testing.assert_array_equal(row, stored.mean_embedding)
    np.testing.assert_array_equal(space.mean_embedding, stored.mean_embedding)
    for name, tensor in stored.materialise(stored.mean_embedding).items():
        np.testing.assert_array_equal(space.read(1)[name], tensor)


def test_the_speaker_encoder_comes_back():
    space = trained()
    stored = space_file.create(space, base_fingerprint=FINGERPRINT)
    heard = np.random.default_rng(5).standard_normal((2, 12)).astype("float32")
    np.testing.assert_allclose(
        stored.speaker_encoder().predict(heard),
        space.encoder.predict(space.encoder.tensors(), heard),
        rtol=1e-6,
    )
    with pytest.raises(space_file.SpaceError, match="no speaker encoder"):
        make(encoder=False).speaker_encoder()


def test_unknown_speakers_and_odd_embeddings_are_errors():
    space = make()
    with pytest.raises(space_file.SpaceError, match="'zoe' is not among"):
        space.embedding("zoe")
    with pytest.raises(space_file.SpaceError, match=r"must be \[4\]"):
        space.materialise(np.zeros(5))
    with pytest.raises(space_file.SpaceError, match="finite"):
        space.materialise(np.full(4, np.nan))


def test_a_space_of_another_base_is_refused(tmp_path):
    space_file.save(tmp_path / "s", make())
    with pytest.raises(space_file.SpaceError, match="another base model"):
        space_file.load(tmp_path / "s", "0" * 64)


def test_a_value_that_is_not_finite_is_not_saved():
    space = trained()
    space.embeddings.assign(np.full([3, 4], np.nan))
    with pytest.raises(space_file.SpaceError, match="embeddings: 12 of 12"):
        space_file.create(space, base_fingerprint=FINGERPRINT)


def test_no_byte_can_change_unnoticed(tmp_path):
    path = tmp_path / "s"
    space_file.save(path, make())
    data = path.read_bytes()
    draw = np.random.default_rng(0)
    places = {0, 8, len(data) - 1, *draw.integers(0, len(data), 60).tolist()}
    for place in sorted(places):
        changed = bytearray(data)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(space_file.SpaceError, match=str(path)):
            space_file.load(path)


def test_a_file_that_is_cut_or_another_is_refused(tmp_path):
    path = tmp_path / "s"
    space_file.save(path, make())
    data = path.read_bytes()
    for content in (b"", data[:7], data[:200], data[:-1], data + b"x"):
        path.write_bytes(content)
        with pytest.raises(space_file.SpaceError, match=str(path)):
            space_file.load(path)
    path.write_bytes(
        safetensors.numpy.save({"a": np.zeros(2, "float32")}, {"submodel": ""})
    )
    with pytest.raises(space_file.SpaceError, match="not a space"):
        space_file.load(path)
    with pytest.raises(space_file.SpaceError, match="cannot load"):
        space_file.load(tmp_path / "missing")


def rewritten(path, change_tensors=None, change_metadata=None):
    """A file with other content under the name of the old checksum."""
    data = path.read_bytes()
    header_bytes = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + header_bytes])["__metadata__"]
    fields = json.loads(metadata["space"])
    tensors = dict(safetensors.numpy.load(data))
    if change_tensors:
        change_tensors(tensors)
    if change_metadata:
        change_metadata(fields)
    path.write_bytes(
        safetensors.numpy.save(
            tensors,
            {
                "space": json.dumps(
                    fields, sort_keys=True, separators=(",", ":")
                )
            },
        )
    )


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.pop("embeddings"), "embeddings is missing"),
        (lambda t: t.update(more=t["embeddings"]), "'more' is not expected"),
        (
            lambda t: t.update(embeddings=t["embeddings"][:2]),
            r"embeddings: must be F32 \[3, 4\]",
        ),
        (
            lambda t: t.update(embeddings=t["embeddings"].astype("float64")),
            "Received: F64",
        ),
        (
            lambda t: t.update(embeddings=t["embeddings"] * np.float32("nan")),
            "not finite",
        ),
        (lambda t: t.update(embeddings=t["embeddings"] + 1), "altered"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(tmp_path, change, message):
    path = tmp_path / "s"
    space_file.save(path, make())
    rewritten(path, change_tensors=change)
    with pytest.raises(space_file.SpaceError, match=message):
        space_file.load(path)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"format_version": 1}, "format version must be 2"),
        ({"normalization": "unity"}, "`normalization` must be one of"),
        ({"normalization": "unit"}, "altered"),
        ({"speakers": ["ann", "bob", "bob"]}, "appears twice"),
        ({"speakers": ["ann", "bob", "eve"]}, "altered"),
        ({"embedding_dim": "4"}, "must be an integer"),
        ({"more": 1}, "unknown key"),
        ({"encoder": {"shapes": []}}, "lists by name"),
        ({"encoder": {"shapes": {"a": 5}}}, "lists by name"),
        ({"encoder": {"shapes": {"a": [5]}}}, "encoder/a is missing"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(tmp_path, changes, message):
    path = tmp_path / "s"
    space_file.save(path, make())
    rewritten(path, change_metadata=lambda fields: fields.update(changes))
    with pytest.raises(space_file.SpaceError, match=message):
        space_file.load(path)
