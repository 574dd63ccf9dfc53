"""The layout of an experiment's Submodels on a base model."""

from collections import abc
from typing import Any

from lingvo_like import hyperparams
from lingvo_like.layers import sites as sites_lib
from lingvo_like.submodel import layout as submodel_layout
from lingvo_like.submodel.kinds import by_name
from params import schema


def changed(
    experiment: schema.Experiment, settings: abc.Mapping[str, Any]
) -> schema.Experiment:
    """The experiment with other values, as `hyperparams.replace` takes them.

    Raises:
        ValueError: a value is of a kind that the Submodels do not have, or is
            refused by `hyperparams.replace`.
    """
    result = hyperparams.replace(experiment, settings)
    for path in settings:
        section, _, name = path.partition(".")
        if section not in by_name.KINDS or name == "sites":
            continue
        if not getattr(result, section).sites:
            raise ValueError(
                f"`{path}` has no effect: Submodels have no {section}, since "
                f"`{section}.sites` is (). Set `{section}.sites` too, or leave "
                f"`{path}` out."
            )
    return result


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
