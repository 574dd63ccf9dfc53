"""PEFT's adapter_config.json, as far as it is plain LoRA, both ways."""

import collections
import math
import re
from collections import abc
from typing import Any

from lingvo_like.submodel.kinds import lora

# What these say does not change what a trained adapter computes.
_WITHOUT_EFFECT = frozenset(
    {
        "auto_mapping",
        "base_model_name_or_path",
        "eva_config",
        "inference_mode",
        "lora_dropout",
        "megatron_core",
        "peft_version",
        "qalora_group_size",
        "revision",
        "task_type",
    }
)
_READ_HERE = frozenset(
    {
        "alpha_pattern",
        "exclude_modules",
        "layers_pattern",
        "layers_to_transform",
        "lora_alpha",
        "r",
        "rank_pattern",
        "target_modules",
        "use_rslora",
    }
)
# By key, the values under which the base keeps its weights and a change is
# LoRA's own. Any other key must be off.
_PLAIN: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none", None),
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),
}
_REASONS = {
    "bias": "it was trained with biases; train with bias='none'",
    "fan_in_fan_out": "that is for layers that a Whisper does not have",
    "init_lora_weights": "it began with other weights of the base; write plain "
    "LoRA with save_pretrained(OUT, path_initial_model_for_weight_conversion="
    "START)",
    "lora_bias": "it has biases; train with lora_bias=False",
    "modules_to_save": "whole modules were trained with it; leave "
    "modules_to_save out",
    "peft_type": "only LoRA can be taken",
    "trainable_token_indices": "embeddings of tokens were trained with it",
    "use_dora": "DoRA is another function; train with use_dora=False",
}
_ALL_LINEAR = "all-linear"


def to_json(
    kinds: abc.Mapping[str, lora.Lora], base_name: str = ""
) -> dict[str, Any]:
    """The contents of an adapter_config.json.

    Args:
        kinds: by name of the module.
        base_name: the model for those who load it by its name; may be empty.
    """
    rank = _most_common(kind.rank for kind in kinds.values())
    alpha = _most_common(kind.alpha for kind in kinds.values())
    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base_name or None,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": _plain_number(alpha),
        "rank_pattern": {
            module: kind.rank
            for module, kind in kinds.items()
            if kind.rank != rank
        },
        "alpha_pattern": {
            module: _plain_number(kind.alpha)
            for module, kind in kinds.items()
            if kind.alpha != alpha
        },
        "target_modules": list(kinds),
        "modules_to_save": None,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "use_dora": False,
        "use_rslora": False,
    }


def _most_common(values):
    return collections.Counter(values).most_common(1)[0][0]


def _plain_number(value: float) -> int | float:
    return int(value) if value == int(value) else value


class Config:
    """The contents of an adapter_config.json, where it is plain LoRA.

    Args:
        values: its contents.

    Raises:
        ValueError: it is not plain LoRA, or a value cannot be what it is.
    """

    def __init__(self, values: abc.Mapping[str, Any]) -> None:
        for key in ["peft_type", *values]:
            _check_plain(key, values.get(key))
        self._values = values
        self._rank = _positive("r", values.get("r"))
        self._alpha = _factor("lora_alpha", values.get("lora_alpha"))
        self._ranks = _pattern(values, "rank_pattern", _positive)
        self._alphas = _pattern(values, "alpha_pattern", _factor)
        self._targets = _modules(values, "target_modules")
        self._excluded = _modules(values, "exclude_modules")
        if not self._targets:
            raise ValueError("'target_modules' must name modules")

    def targets(self, module: str) -> bool:
        """Whether PEFT has an adapter at this module."""
        if self._excluded and _is_named(self._excluded, module):
            return False
        if isinstance(self._targets, str):
            is_all = self._targets.lower() == _ALL_LINEAR
            return is_all or _is_named(self._targets, module)
        if module in self._targets:
            return True
        return _is_named(self._targets, module) and self._has_layer(module)

    def without_module(self, modules: abc.Iterable[str]) -> list[str]:
        """The targets that name none of these modules."""
        if isinstance(self._targets, str):
            return []
        modules = list(modules)
        return [
            target
            for target in self._targets
            if not any(_is_named([target], module) for module in modules)
        ]

    def kind(self, module: str) -> lora.Lora:
        """The kind at a module; an alpha of rsLoRA becomes that of LoRA.

        Raises:
            ValueError: a pattern is no regular expression.
        """
        rank = _by_pattern(self._ranks, module, self._rank)
        alpha = float(_by_pattern(self._alphas, module, self._alpha))
        if self._values.get("use_rslora"):
            # It scales with alpha / sqrt(rank).
            alpha *= math.sqrt(rank)
        return lora.Lora(rank, alpha)

    def _has_layer(self, module):
        """Whether a module's layer is one of those that are transformed."""
        layers = self._values.get("layers_to_transform")
        if layers is None or layers == []:
            return True
        patterns = self._values.get("layers_pattern") or r"[^.]*"
        patterns = [patterns] if isinstance(patterns, str) else patterns
        for pattern in patterns:
            found = _match(rf"(?:^|.*?\.)(?:{pattern})\.(\d+)\.", module)
            if found:
                index = int(found[1])
                return index in (
                    layers if isinstance(layers, list) else [layers]
                )
        return False


def _check_plain(key, value):
    if key in _READ_HERE or key in _WITHOUT_EFFECT:
        return
    if key in _PLAIN:
        is_plain = any(value is p or value == p for p in _PLAIN[key])
    else:
        is_plain = value in (None, False, "", [], {})
    if not is_plain:
        reason = _REASONS.get(key, "what that does is not known here")
        raise ValueError(
            f"only plain LoRA can be taken. Received: {key}={value!r}; {reason}"
        )


def _positive(key: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(
            f"{key!r} must be a positive integer. Received: {value!r}."
        )
    return value


def _factor(key: str, value: Any) -> int | float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value == 0:
        raise ValueError(
            f"{key!r} must be a number, and not zero. Received: {value!r}."
        )
    return value


def _pattern(values, key, check):
    found = values.get(key) or {}
    if not isinstance(found, dict):
        raise ValueError(f"{key!r} must be an object. Received: {found!r}.")
    return {name: check(f"{key}.{name}", each) for name, each in found.items()}


def _modules(values, key):
    """A pattern, or a list of names."""
    found = values.get(key) or []
    is_list = isinstance(found, list) and all(
        isinstance(name, str) for name in found
    )
    if not is_list and not isinstance(found, str):
        raise ValueError(
            f"{key!r} must be a pattern or a list of names. "
            f"Received: {found!r}."
        )
    return found


def _is_named(names, module):
    """As PEFT finds modules: by a whole pattern, or by the end of a name."""
    if isinstance(names, str):
        return bool(_match(rf"(?:{names})\Z", module))
    return any(module == name or module.endswith(f".{name}") for name in names)


def _by_pattern(patterns, module, default):
    """The value of the first pattern that matches, as PEFT takes it."""
    for pattern, value in patterns.items():
        if _match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def _match(pattern, text):
    try:
        return re.match(pattern, text)
    except re.error as error:
        raise ValueError(
            f"{pattern!r} is not a regular expression: {error}"
        ) from None
