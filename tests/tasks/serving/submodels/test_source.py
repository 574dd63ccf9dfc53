"""Submodels out of a real store: what fits is a row, the rest is told why."""

import numpy as np
import pytest

from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tasks.serving.submodels import source as submodel_source
from tests import layouts
from tests.tasks.serving import fake_engine

DESCRIPTION = fake_engine.description(
    num_values=layouts.adapters(2, 1, (0,)).num_values
)


def file(value=1.0, **changes):
    """Bytes of a Submodel's file, all of one value."""
    layout = changes.pop("layout", DESCRIPTION.layout)
    vector = np.full(layout.num_values, value, np.float32)
    arguments = dict(
        base_fingerprint=DESCRIPTION.base_fingerprint, speaker="ann"
    )
    return submodel_file.to_bytes(
        submodel_file.create(
            layout, layout.unpack(vector), **arguments | changes
        )
    )


@pytest.fixture
def store(tmp_path):
    return submodel_store.SubmodelStore(tmp_path / "store")


def test_a_published_submodel_becomes_its_packed_row(store):
    published = store.publish(file(3.0), "acme", "ann")
    source = submodel_source.StoreSource(store)
    version = source.resolve("acme", "ann")
    assert version == published
    row, language = source.parse(source.read(version), DESCRIPTION)
    assert language == ""
    np.testing.assert_array_equal(
        row, np.full(DESCRIPTION.num_values, 3, np.float32)
    )
    assert row.dtype == np.float32


@pytest.mark.parametrize(
    "data, message",
    [
        (file()[:-3], "whole"),
        (b"", "empty"),
        (b"\x80\x04\x95pickle.", "cut off or not"),
        (file(base_fingerprint="e" * 64), "another base model"),
        (
            file(layout=layouts.adapters(2, 3, (0,))),
            "must be adapter bottleneck_dim=1 .* Received: adapter "
            "bottleneck_dim=3",
        ),
        (
            file(layout=layouts.adapters(2, 1, (0,), residual_weight=0.5)),
            "must be .* residual_weight=1 .* Received: .* residual_weight=0.5",
        ),
        (
            file(layout=layouts.adapters(2, 1, (1,))),
            "must act at other sites: missing .*block_00/output.*, not "
            "expected .*block_01/output",
        ),
        (
            file(layout=layouts.adapters(3, 1, (0,))),
            "widths at a site must be .* output_dim=2.* Received: .*"
            "output_dim=3",
        ),
        (
            file(layout=layouts.adapters(2, 1, (0,), 1.0 + 1e-9)),
            "residual_weight=1 .* residual_weight=1.000000001",
        ),
    ],
)
def test_what_does_not_fit_the_export_is_a_value_error(data, message):
    with pytest.raises(ValueError, match=message):
        submodel_source.StoreSource.parse(data, DESCRIPTION)


def test_a_submodel_says_its_language_which_the_export_must_know():
    parse = submodel_source.StoreSource.parse
    assert parse(file(language="en"), DESCRIPTION).language == "en"
    with pytest.raises(ValueError, match="'en' alone. Received: 'de'"):
        parse(file(language="de"), DESCRIPTION)


def test_who_is_not_there_is_a_lookup_error(store):
    version = store.publish(file(), "acme", "ann")
    source = submodel_source.StoreSource(store)
    with pytest.raises(LookupError):
        source.resolve("acme", "bob")
    store.erase("acme", "ann", "asked for")
    with pytest.raises(LookupError):
        source.resolve("acme", "ann")
    with pytest.raises(LookupError):
        source.read(version)


def test_what_is_no_store_is_a_store_that_fails(store, tmp_path):
    store.publish(file(), "acme", "ann")
    for marker in (tmp_path / "store").iterdir():
        if marker.is_file():
            marker.write_text('{"format_version": 99}')
    source = submodel_source.StoreSource(
        submodel_store.SubmodelStore(store.root)
    )
    with pytest.raises(OSError, match="store"):
        source.resolve("acme", "ann")


def test_a_damaged_file_is_a_value_error_that_names_no_path(store, tmp_path):
    version = store.publish(file(), "acme", "ann")
    [path] = (tmp_path / "store").rglob(f"{version.sha256}*")
    path.write_bytes(b"x" + path.read_bytes()[1:])
    with pytest.raises(ValueError, match="damaged") as caught:
        submodel_source.StoreSource(store).read(version)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("text", ["", "../ann", "a\0b", "/etc", "а", "a" * 129])
def test_ids_that_the_store_refuses_are_value_errors(text):
    with pytest.raises(ValueError):
        submodel_store.check_id("speaker", text)
