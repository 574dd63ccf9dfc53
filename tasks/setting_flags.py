"""The flags that change the settings of a command, and list them."""

from typing import Any

from absl import flags

from lingvo_like import hyperparams
from params import settings

_SET = flags.DEFINE_multi_string(
    "set", [], "A setting to change, as NAME=VALUE; see --list_settings."
)
_LIST_SETTINGS = flags.DEFINE_bool(
    "list_settings",
    False,
    "Print every NAME of --set with its default, type and meaning, and exit.",
)


def given() -> dict[str, str]:
    """The values that --set gives, as texts, by name."""
    return hyperparams.assignments(_SET.value)


def are_to_be_listed() -> bool:
    """Whether --list_settings was given."""
    return _LIST_SETTINGS.value


def show(defaults: Any) -> None:
    """Prints the settings that --set can change.

    Args:
        defaults: a dataclass of settings, or of sections of them.
    """
    print(settings.describe(defaults))
