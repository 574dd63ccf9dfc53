"""Hyperparameters survive JSON exactly and change only as their types say."""

import dataclasses
import json

import hypothesis
import pytest
from hypothesis import strategies

from lingvo_like import hyperparams, json_values
from params import bases, schema


@dataclasses.dataclass(frozen=True)
class Section:
    rate: float = 0.5
    limit: int | None = None
    note: str | None = None
    pair: tuple[int, float] = (1, 2.0)


@dataclasses.dataclass(frozen=True)
class Other:
    depth: int = 3


@dataclasses.dataclass(frozen=True)
class Values:
    count: int = 1
    rate: float = 0.1
    flag: bool = False
    name: str = "a"
    ids: tuple[int, ...] = ()
    rates: tuple[float, ...] = (1.0,)
    section: Section | Other = dataclasses.field(default_factory=Section)
    extra: Other | None = None


def read(template, text):
    return hyperparams.from_dict(template, json_values.strict_json(text))


@pytest.mark.parametrize(
    "assignment, path, expected",
    [
        ("count=64", "count", 64),
        ("count=-3", "count", -3),
        ("count= 7 ", "count", 7),
        ("rate=1e-3", "rate", 1e-3),
        ("rate=2", "rate", 2.0),
        ("rate=.5", "rate", 0.5),
        ("flag=true", "flag", True),
        ("flag=False", "flag", False),
        ("name=a=b, c", "name", "a=b, c"),
        ("name=", "name", ""),
        ("ids=1,2,3", "ids", (1, 2, 3)),
        ("ids=(4, 5)", "ids", (4, 5)),
        ("ids=7,", "ids", (7,)),
        ("ids=()", "ids", ()),
        ("rates=1,2.5", "rates", (1.0, 2.5)),
        ("section.limit=none", "section.limit", None),
        ("section.limit=5", "section.limit", 5),
        ("section.note=None", "section.note", None),
        ("section.note=nobody", "section.note", "nobody"),
        ("section.pair=3,4", "section.pair", (3, 4.0)),
        ("extra=none", "extra", None),
    ],
)
def test_override_reads_the_value_as_the_fields_type(
    assignment, path, expected
):
    value = hyperparams.override(Values(), [assignment])
    for name in path.split("."):
        value = getattr(value, name)
    assert value == expected
    assert type(value) is type(expected)
    if isinstance(expected, tuple):
        assert [type(v) for v in value] == [type(v) for v in expected]


@pytest.mark.parametrize(
    "assignment, message",
    [
        ("count=3.5", "`count` must be an integer.*'3.5'"),
        ("count=1e3", "`count` must be an integer"),
        ("count=1_000", "`count` must be an integer"),
        ("count=", "`count` must be an integer"),
        ("count=none", "`count` must be an integer"),
        ("count=true", "`count` must be an integer"),
        ("rate=nan", "`rate` must be a finite number"),
        ("rate=inf", "`rate` must be a finite number"),
        ("rate=1e999", "`rate` must be a finite number"),
        ("flag=1", "`flag` must be true or false"),
        ("flag=yes", "`flag` must be true or false"),
        ("ids=", "`ids` must be int values.*or \\(\\)"),
        ("ids=1,x", "`ids\\[1\\]` must be an integer"),
        ("ids=1,,2", "`ids\\[1\\]` must be an integer"),
        ("ids=1.5", "`ids\\[0\\]` must be an integer"),
        ("section.pair=1,2,3", "`section.pair` must be"),
        ("section.limit=x", "an integer such as 3 or none"),
        ("section=3", "is a section; set one of section.rate"),
        ("extra=3", "`extra` must be Other or none"),
        ("count", "written name=value. Received: 'count'"),
        ("count.x=1", "unknown hyperparameter `count.x`"),
        ("=1", "unknown hyperparameter ``"),
        ("extra.depth=3", "unknown hyperparameter `extra.depth`"),
        ("__class__=3", "unknown hyperparameter"),
    ],
)
def test_override_refuses_what_the_type_does_not_hold(assignment, message):
    with pytest.raises(ValueError, match=message):
        hyperparams.override(Values(), [assignment])


@pytest.mark.parametrize(
    "name, near",
    [
        ("adapter.botleneck_dim", "adapter.bottleneck_dim"),
        ("bottleneck_dim", "adapter.bottleneck_dim"),
        ("optimizer.bottleneck_dim", "adapter.bottleneck_dim"),
        ("adaptr.sites", "adapter.sites"),
        ("train.seeds", "train.seed"),
    ],
)
def test_a_misspelt_name_lists_the_near_full_paths(name, near):
    with pytest.raises(ValueError, match=f"Did you mean.*{near}"):
        hyperparams.override(schema.Experiment(), [f"{name}=1"])


def test_a_later_override_wins_and_the_original_stays():
    before = schema.Experiment()
    after = hyperparams.override(
        before, ["adapter.bottleneck_dim=64", "adapter.bottleneck_dim=8"]
    )
    assert after.adapter.bottleneck_dim == 8
    assert before.adapter.bottleneck_dim == 32
    assert dataclasses.replace(after, adapter=before.adapter) == before


def test_overriding_keeps_the_base_models_own_type():
    conformer = schema.Experiment(base=bases.ConformerCtc())
    changed = hyperparams.override(conformer, ["base.num_blocks=4"])
    assert changed.base == bases.ConformerCtc(num_blocks=4)
    with pytest.raises(ValueError, match="unknown hyperparameter"):
        hyperparams.override(schema.Experiment(), ["base.num_blocks=4"])


@pytest.mark.parametrize("base", [bases.Whisper(), bases.ConformerCtc()])
def test_json_gives_back_the_same_experiment(base):
    before = schema.Experiment(base=base)
    text = hyperparams.to_json(before)
    assert read(before, text) == before
    template = hyperparams.override(before, ["train.seed=9"])
    assert read(template, text) == before


@hypothesis.given(
    strategies.floats(allow_nan=False, allow_infinity=False),
    strategies.integers(),
    strategies.text(),
    strategies.lists(strategies.floats(allow_nan=False, allow_infinity=False)),
)
def test_json_keeps_every_value_exactly(rate, count, name, rates):
    before = Values(rate=rate, count=count, name=name, rates=tuple(rates))
    after = read(Values(), hyperparams.to_json(before))
    assert after == before
    assert repr(after) == repr(before)


def test_optional_sections_come_back_from_json():
    before = Values(extra=Other(depth=9), section=Section(limit=3))
    text = hyperparams.to_json(before)
    assert read(Values(), text) == before


def test_integers_are_taken_where_floats_are_due():
    values = hyperparams.to_dict(Values()) | {"rate": 2, "rates": [1, 2]}
    after = hyperparams.from_dict(Values(), values)
    assert repr((after.rate, after.rates)) == "(2.0, (1.0, 2.0))"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"cuont": 1}, "unknown key `cuont`. Did you mean count"),
        ({"count": 1.0}, "`count` must be an integer.*1.0"),
        ({"count": True}, "`count` must be an integer"),
        ({"count": None}, "`count` must be an integer"),
        ({"count": "1"}, "`count` must be an integer"),
        ({"rate": float("nan")}, "`rate` must be a finite number"),
        ({"rate": 10**400}, "`rate` must be a finite number"),
        ({"rate": True}, "`rate` must be a finite number"),
        ({"flag": 0}, "`flag` must be true or false"),
        ({"ids": "1,2"}, "`ids` must be int values"),
        ({"ids": [1, 2.5]}, "`ids\\[1\\]` must be an integer"),
        ({"section": []}, "`section` must be Section or Other"),
        ({"section": {"depth": 3}}, "unknown key `section.depth`"),
        ({"section": {"rate": 1.0}}, "missing keys: section.limit"),
    ],
)
def test_from_dict_refuses_other_keys_and_types(changes, message):
    values = hyperparams.to_dict(Values()) | changes
    with pytest.raises(ValueError, match=message):
        hyperparams.from_dict(Values(), values)


def test_from_dict_names_what_is_missing():
    values = hyperparams.to_dict(schema.Experiment())
    del values["adapter"]["sites"]
    with pytest.raises(ValueError, match="missing keys: adapter.sites"):
        hyperparams.from_dict(schema.Experiment(), values)


@pytest.mark.parametrize(
    "params", [Values(rate=float("nan")), Values(ids=(1.5,)), Values(name=3)]
)
def test_values_of_the_wrong_type_are_not_written(params):
    with pytest.raises(ValueError, match="must be"):
        hyperparams.to_json(params)


def test_difference_names_the_path_and_both_values():
    saved = schema.Experiment()
    now = hyperparams.override(
        saved, ["adapter.bottleneck_dim=64", "bias.sites=a/*,b"]
    )
    expected = [
        "adapter.bottleneck_dim: saved 32, now 64",
        'bias.sites: saved [], now ["a/*", "b"]',
    ]
    assert hyperparams.difference(saved, now) == expected
    from_file = json.loads(hyperparams.to_json(saved))
    assert hyperparams.difference(from_file, now) == expected
    assert hyperparams.difference(saved, saved) == []


def test_difference_shows_what_only_one_side_has():
    lines = hyperparams.difference(
        schema.Experiment(), schema.Experiment(base=bases.ConformerCtc())
    )
    assert 'base.language: saved "", now nothing' in lines
    assert "base.model_dim: saved nothing, now 144" in lines


@dataclasses.dataclass(frozen=True)
class Checked:
    low: int = 0
    high: int = 1

    def __post_init__(self):
        if self.low >= self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")


@dataclasses.dataclass(frozen=True)
class HoldsChecked:
    checked: Checked = dataclasses.field(default_factory=Checked)


def test_a_field_that_holds_a_dict_is_replaced_whole():
    @dataclasses.dataclass(frozen=True)
    class Described:
        facts: dict = dataclasses.field(default_factory=dict)

    changed = hyperparams.replace(Described(), {"facts": {"room": "quiet"}})
    assert changed.facts == {"room": "quiet"}


def test_only_the_final_values_are_checked():
    after = hyperparams.override(
        HoldsChecked(), ["checked.low=5", "checked.high=9"]
    )
    assert after.checked == Checked(5, 9)
    with pytest.raises(ValueError, match="low 5 is not below high 1"):
        hyperparams.override(HoldsChecked(), ["checked.low=5"])
