"""Low-rank changes do the same in a larger layout."""

import numpy as np
import pytest

from lingvo_like.submodel import (
    file as submodel_file,
    layout as submodel_layout,
    lora_fitting,
)
from lingvo_like.submodel.kinds import lora, vectors
from tests.lingvo_like.base_models.whisper import whisper_bases
from tests.lingvo_like.submodel import peft_folders


@pytest.fixture(scope="module")
def base():
    return whisper_bases.small()


@pytest.fixture(scope="module")
def made(base):
    return peft_folders.submodel(base)


def larger(base, rank=4, alpha=6.0, projections="*"):
    """Low-rank changes at the projections of every block, and biases."""

    def part(kind, *patterns):
        sites = submodel_layout.matching_sites(base.sites, patterns)
        return submodel_layout.Part(kind, sites)

    return submodel_layout.Layout(
        (
            part(
                lora.Lora(rank, alpha),
                f"*/*/*attention/{projections}",
                "*/*/*/expand",
                "*/*/*/contract",
            ),
            part(vectors.Bias(), "encoder/*/output"),
        )
    )


def fitted(made, layout, **more):
    return lora_fitting.fitted(made.layout, made.tensors, layout, "F01", **more)


def test_the_function_stays_the_same(base, made):
    layout = larger(base)
    result = submodel_file.create(
        layout,
        fitted(made, layout),
        base_fingerprint=base.fingerprint(),
        speaker="F01",
    )
    expected = peft_folders.logits(base, made)
    received = peft_folders.logits(base, result)
    assert np.abs(expected - peft_folders.logits(base)).max() > 0.5
    np.testing.assert_allclose(received, expected, atol=1e-4)


def test_equal_factors_keep_the_values_to_the_bit(base):
    sites = submodel_layout.matching_sites(base.sites, ["*/*/attention/key"])
    part = submodel_layout.Part(lora.Lora(2, 3.0), sites)
    made = peft_folders.submodel(base, submodel_layout.Layout((part,)))
    result = fitted(made, larger(base))
    name = "encoder/block_01/attention/key/lora"
    down, up = result[f"{name}/down_kernel"], result[f"{name}/up_kernel"]
    np.testing.assert_array_equal(
        down[:, :2], made.tensors[f"{name}/down_kernel"]
    )
    np.testing.assert_array_equal(up[:2], made.tensors[f"{name}/up_kernel"])


def test_what_is_more_changes_nothing_and_can_learn(base, made):
    result = fitted(made, larger(base))
    name = "encoder/block_01/attention/key/lora"
    assert result[f"{name}/down_kernel"].shape == (16, 4)
    assert np.all(result[f"{name}/down_kernel"][:, 2:])
    assert not np.any(result[f"{name}/up_kernel"][2:])
    assert np.any(result[f"{name}/up_kernel"][:2])
    # A site that the changes are not at.
    name = "encoder/block_00/feed_forward/contract/lora"
    assert np.all(result[f"{name}/down_kernel"])
    assert not np.any(result[f"{name}/up_kernel"])
    assert not np.any(result["encoder/block_00/output/bias/bias"])


def test_the_draws_are_the_speakers_own(base, made):
    layout = larger(base)
    name = "encoder/block_00/feed_forward/contract/lora/down_kernel"
    mine = fitted(made, layout)[name]
    np.testing.assert_array_equal(fitted(made, layout)[name], mine)
    assert not np.any(fitted(made, layout, seed=1)[name] == mine)
    other = lora_fitting.fitted(made.layout, made.tensors, layout, "M02")
    assert not np.any(other[name] == mine)


@pytest.mark.parametrize(
    "layout, message",
    [
        ({"rank": 2}, "rank at .* must be at most 2. Received: 3"),
        (
            {"projections": "key"},
            "it has encoder/block_00/attention/query/lora, which a Submodel of "
            "lora rank=4 alpha=6 at .* sites, bias at 3 sites does not have",
        ),
    ],
)
def test_what_does_not_fit_is_refused(base, made, layout, message):
    with pytest.raises(ValueError, match=message):
        fitted(made, larger(base, **layout))
