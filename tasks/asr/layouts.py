"""The layout of an experiment's Submodels on a base model."""

from collections import abc

from lingvo_like import hyperparams
from lingvo_like.layers import sites as sites_lib
from lingvo_like.submodel import layout as submodel_layout
from lingvo_like.submodel.kinds import by_name
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
    for name in by_name.KINDS:
        section = getattr(experiment, name)
        values = hyperparams.shallow(section)
        patterns = values.pop("sites")
        if not patterns:
            continue
        try:
            sites = submodel_layout.matching_sites(base_sites, patterns)
            kind = by_name.make(name, values)
            parts.append(submodel_layout.Part(kind, sites))
        except ValueError as error:
            raise ValueError(f"{name}.sites: {error}") from None
    return submodel_layout.Layout(tuple(parts))
