"""Every setting is listed with its value, type and meaning."""

import dataclasses

import pytest

from lingvo_like import hyperparams
from params import bases, registry, settings
from tasks.asr.enrolment import plan
from tasks.serving.queueing import limits


@dataclasses.dataclass(frozen=True)
class Oven(settings.Section):
    """How hot it gets."""

    section_name = "oven"

    degrees: float = settings.value(
        180.0, "Of the air inside.", above=0, at_most=300
    )
    shelves: tuple[int, ...] = settings.value((1, 3), "In use.", at_least=0)
    mode: str = settings.value("fan", "What heats.", choices=("fan", "grill"))
    timer: int | None = settings.value(None, "Minutes, if any.", at_least=1)


@dataclasses.dataclass(frozen=True)
class Kitchen:
    oven: Oven = Oven()


def test_a_list_shows_name_default_type_bounds_and_meaning():
    lines = settings.describe(Kitchen()).strip().splitlines()
    assert lines == [
        "oven: How hot it gets.",
        "  oven.degrees=180.0  (number, positive and at most 300)",
        "      Of the air inside.",
        "  oven.shelves=1,3  (integers with commas, at least 0)",
        "      In use.",
        "  oven.mode=fan  (one of fan, grill)",
        "      What heats.",
        "  oven.timer=none  (integer or none, at least 1)",
        "      Minutes, if any.",
    ]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"degrees": 0.0}, "`oven.degrees` must be positive and at most 300"),
        ({"degrees": float("nan")}, "Received: nan"),
        ({"shelves": (1, -1)}, r"at least 0. Received: \(1, -1\)"),
        ({"mode": "steam"}, "one of fan, grill. Received: 'steam'"),
        ({"timer": 0}, "`oven.timer` must be at least 1"),
    ],
)
def test_a_value_out_of_its_bounds_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Oven(**changes)


@pytest.mark.parametrize(
    "defaults",
    [
        *map(registry.get, registry.EXPERIMENTS),
        bases.ContextShortening(),
        plan.Values(),
        limits.Limits(),
    ],
    ids=lambda values: type(values).__name__,
)
def test_the_list_of_settings_is_whole_and_can_be_set_again(defaults):
    lines = settings.describe(defaults).splitlines()
    names = [line[2:] for line in lines if line[:3].strip() and line[0] == " "]
    assignments = [name.partition("  (")[0] for name in names]
    again = hyperparams.assignments(assignments)
    assert hyperparams.replace(defaults, again) == defaults
    values = hyperparams.to_dict(defaults)
    sections = [v for v in values.values() if isinstance(v, dict)] or [values]
    assert len(again) == sum(map(len, sections))
    for name, meaning in zip(names, lines_of_meaning(lines), strict=True):
        assert meaning.endswith("."), name


def lines_of_meaning(lines):
    """The meaning of each value, in one line."""
    found = []
    for line in lines:
        if line.startswith("      "):
            found[-1] += " " + line.strip()
        elif line.startswith("  "):
            found.append("")
    return found
