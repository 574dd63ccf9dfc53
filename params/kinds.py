"""The dataclasses of values of Submodels: which kinds, at which sites."""

import dataclasses

from params import settings

_SITES = (
    "Sites of the base model, with * for any name between slashes; () is none. "
)


@dataclasses.dataclass(frozen=True)
class Adapter(settings.Section):
    """Residual bottleneck adapters beside activations."""

    section_name = "adapter"

    sites: tuple[str, ...] = settings.value(
        ("encoder/*/output",),
        _SITES + "encoder/*/output is the output of every encoder block.",
    )
    bottleneck_dim: int = settings.value(
        32,
        "Width of an adapter's bottleneck: the size of a Submodel grows with "
        "it.",
        at_least=1,
    )
    residual_weight: float = settings.value(
        1.0, "Factor of what an adapter adds."
    )


@dataclasses.dataclass(frozen=True)
class Lora(settings.Section):
    """Low-rank changes of projections."""

    section_name = "lora"

    sites: tuple[str, ...] = settings.value(
        (),
        _SITES + "*/*/attention/query,*/*/attention/value are those of the "
        "paper.",
    )
    rank: int = settings.value(
        4, "Rank of a change: the size grows with it.", at_least=1
    )
    alpha: float = settings.value(
        8.0, "A change is multiplied by alpha / rank.", above=0.0
    )


@dataclasses.dataclass(frozen=True)
class Rotation(settings.Section):
    """Rotations of the strongest singular directions of projections (SSVD)."""

    section_name = "rotation"

    sites: tuple[str, ...] = settings.value(
        (), _SITES + "They must be projections."
    )
    rank: int = settings.value(
        16,
        "Singular directions that are rotated; there is an angle for each two.",
        at_least=2,
    )


@dataclasses.dataclass(frozen=True)
class Bias(settings.Section):
    """Biases of one's own."""

    section_name = "bias"

    sites: tuple[str, ...] = settings.value((), _SITES)


@dataclasses.dataclass(frozen=True)
class Scale(settings.Section):
    """Scales of one's own (LHUC, IA3)."""

    section_name = "scale"

    sites: tuple[str, ...] = settings.value(
        (),
        _SITES + "*/*/attention/key,*/*/attention/value,*/*/*/inner are IA3's.",
    )


@dataclasses.dataclass(frozen=True)
class Submodel(settings.Section):
    """Values that hold for every kind."""

    section_name = "submodel"

    dropout_rate: float = settings.value(
        0.1,
        "Fraction of a bottleneck, of adapters and of low-rank changes, that "
        "is left out in a step.",
        at_least=0.0,
        below=1.0,
    )
    shared_start: bool = settings.value(
        False,
        "Gives every speaker the same initial values, so that Submodels can be "
        "summed: a space can start from them (space.initializer=stack).",
    )
