"""The layout of an experiment's Submodels on a base model."""

from collections import abc

from lingvo_like.layers import sites as sites_lib
from lingvo_like.submodel import layout as submodel_layout
from lingvo_like.submodel.kinds import adapter, bias, lora, rotation, scale
from params import schema


def of(
    base_sites: abc.Mapping[str, sites_lib.Site],
    experiment: schema.Experiment,
) -> submodel_layout.Layout:
    """The layout of an experiment's Submodels on a base model of these sites.

    Raises:
        ValueError: the base has no such sites, or a kind cannot act there.
    """
    parts = []
    for section, kind in (
        (
            experiment.adapter,
            lambda values: adapter.Adapter(
                values.bottleneck_dim, values.residual_weight
            ),
        ),
        (experiment.lora, lambda values: lora.Lora(values.rank, values.alpha)),
        (experiment.rotation, lambda values: rotation.Rotation(values.rank)),
        (experiment.bias, lambda values: bias.Bias()),
        (experiment.scale, lambda values: scale.Scale()),
    ):
        if not section.sites:
            continue
        try:
            sites = submodel_layout.matching_sites(base_sites, section.sites)
            parts.append(submodel_layout.Part(kind(section), sites))
        except ValueError as error:
            raise ValueError(f"{section.section_name}.sites: {error}") from None
    return submodel_layout.Layout(tuple(parts))
