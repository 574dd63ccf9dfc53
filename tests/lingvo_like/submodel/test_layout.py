"""Layouts: sites by pattern, names, and what files say of them."""

import pytest

from lingvo_like.layers import sites
from lingvo_like.submodel import layout as submodel_layout
from lingvo_like.submodel.kinds import adapter, lora
from tests import layouts
from tests.lingvo_like.base_models.whisper import whisper_bases


@pytest.fixture(scope="module")
def all_sites():
    return whisper_bases.small().sites


def names(found):
    return [site.name for site in found]


def test_patterns_name_sites_in_the_order_of_the_model(all_sites):
    found = submodel_layout.matching_sites(
        all_sites, ["decoder/block_0[01]/output", "encoder/*/output"]
    )
    assert names(found) == [
        "encoder/block_00/output",
        "encoder/block_01/output",
        "encoder/block_02/output",
        "decoder/block_00/output",
        "decoder/block_01/output",
    ]


def test_a_star_does_not_cross_a_slash(all_sites):
    found = submodel_layout.matching_sites(all_sites, ["encoder/*/output"])
    assert "encoder/block_00/attention/output" not in names(found)
    found = submodel_layout.matching_sites(all_sites, ["*/*/attention/output"])
    assert len(found) == 6


def test_a_site_named_twice_is_there_once(all_sites):
    found = submodel_layout.matching_sites(
        all_sites, ["encoder/*/output", "encoder/block_00/output"]
    )
    assert len(found) == 3


def test_a_pattern_that_names_nothing_is_refused(all_sites):
    with pytest.raises(ValueError, match="encoder/block_7/output.*Did you"):
        submodel_layout.matching_sites(all_sites, ["encoder/block_7/output"])


def test_the_sites_that_there_are_fit_on_a_few_lines(all_sites):
    with pytest.raises(ValueError, match="no site") as caught:
        submodel_layout.matching_sites(all_sites, ["zzz"])
    assert str(caught.value) == (
        "no site of the base model matches 'zzz'. Known: "
        "encoder/*/attention/{query,key,value,output}, "
        "encoder/*/feed_forward/{expand,inner,contract}, encoder/*/output, "
        "decoder/*/attention/{query,key,value,output}, "
        "decoder/*/source_attention/{query,key,value,output}, "
        "decoder/*/feed_forward/{expand,inner,contract}, decoder/*/output "
        "(one step of those in braces)."
    )


def test_no_sites_or_a_kind_twice_at_one_are_refused():
    part = layouts.adapters(4, 2, (0,)).parts[0]
    with pytest.raises(ValueError, match="at least one site"):
        submodel_layout.Part(adapter.Adapter(2), ())
    with pytest.raises(ValueError, match="must have a kind at a site"):
        submodel_layout.Layout(())
    with pytest.raises(ValueError, match="twice: encoder/block_00/output/ad"):
        submodel_layout.Layout((part, part))


def test_one_kind_may_have_other_values_at_other_sites():
    parts = (
        submodel_layout.Part(
            lora.Lora(2, 4.0), (sites.projection("a/query", 4, 6),)
        ),
        submodel_layout.Part(
            lora.Lora(3, 3.0), (sites.projection("b/query", 4, 6),)
        ),
    )
    layout = submodel_layout.Layout(parts)
    assert layout.shapes == {
        "a/query/lora/down_kernel": (4, 2),
        "a/query/lora/up_kernel": (2, 6),
        "b/query/lora/down_kernel": (4, 3),
        "b/query/lora/up_kernel": (3, 6),
    }
    assert layout.describe() == (
        "lora rank=2 alpha=4 at 1 site, lora rank=3 alpha=3 at 1 site"
    )


@pytest.mark.parametrize(
    "parts, message",
    [
        ([{"kind": "lora", "sites": []}], "must have `kind`, `values` and"),
        ([7], "must have `kind`, `values` and `sites`. Received: 7"),
        (
            [{"kind": "bias", "values": {}, "sites": [["a", 0]]}],
            "a name and two widths",
        ),
        (
            [{"kind": "bias", "values": {}, "sites": [["a", 0, True]]}],
            "a name and two widths",
        ),
        (
            [{"kind": "bias", "values": {}, "sites": [["a", 0, 0]]}],
            "`output_dim` of at least 1",
        ),
        (
            [{"kind": "bias", "values": {}, "sites": [["", 0, 1]]}],
            "must have a name",
        ),
        ([{"kind": "bias", "values": {}, "sites": 3}], "sites"),
        ([{"kind": "bias", "values": 3, "sites": [["a", 0, 1]]}], "dict"),
        (
            [{"kind": [], "values": {}, "sites": [["a", 0, 1]]}],
            "one of adapt",
        ),
        ([], "must have a kind at a site"),
    ],
)
def test_what_is_no_layout_is_refused(parts, message):
    with pytest.raises(ValueError, match=message):
        submodel_layout.from_json(parts)


def test_the_difference_of_two_layouts_is_named():
    one = layouts.adapters(4, 2, (0, 1))
    submodel_layout.check_same(one, layouts.adapters(4, 2, (0, 1)))
    with pytest.raises(ValueError, match="bottleneck_dim=2.*bottleneck_dim=3"):
        submodel_layout.check_same(one, layouts.adapters(4, 3, (0, 1)))
    with pytest.raises(ValueError, match="missing .*block_01/output.*block_02"):
        submodel_layout.check_same(one, layouts.adapters(4, 2, (0, 2)))
    with pytest.raises(ValueError, match="residual_weight=1 .*=0.5 "):
        submodel_layout.check_same(one, layouts.adapters(4, 2, (0, 1), 0.5))
