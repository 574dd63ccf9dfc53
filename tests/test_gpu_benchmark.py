"""The programs for a GPU compare rightly and keep what they measured."""

import argparse
import sys

import pytest

from tests.benchmarks import gpu, turns


def test_variants_take_turns_and_a_round_waits_once():
    done = []
    times = turns.take(
        {name: lambda name=name: done.append(name) or name for name in "ab"},
        lambda last: done.append(f"wait {last}"),
        argparse.Namespace(rounds=2, steps=2),
    )

    assert done == ["a", "a", "wait a", "b", "b", "wait b"] * 2
    assert all(len(times[name]) == 2 for name in "ab")


def test_a_ratio_is_the_median_of_those_of_each_round():
    times = {"one": [1.0, 2.0, 4.0], "many": [3.0, 2.0, 8.0]}

    assert turns.ratio(times, "many", "one") == 2.0
    assert turns.median_ms(times, "many") == 3000.0


def _python(program):
    return [sys.executable, "-c", program]


def test_what_was_measured_stays_when_a_program_fails(capfd):
    printed = "print('a table'); print('{\"lora\": {\"ms_1\": 4.0}}')"

    assert gpu.results_of(_python(printed), 60) == {"lora": {"ms_1": 4.0}}
    assert capfd.readouterr().out == "a table\n"
    found = gpu.results_of(_python(f"{printed}; raise SystemExit(3)"), 60)
    assert found["lora"] == {"ms_1": 4.0}
    assert found["error"].endswith("exited with 3")
    assert gpu.results_of(["no/such/python", "-m", "x"], 60)["error"]


def test_a_program_ends_with_the_time():
    found = gpu.results_of(
        _python("import time; print('{\"a\": 1}', flush=True); time.sleep(60)"),
        3.0,
    )

    assert found == {"a": 1, "error": "no time was left"}
    assert gpu.results_of(_python("print('{\"a\": 1}')"), 0.0) == {
        "error": "no time was left"
    }


def test_ours_is_compared_with_each_row_of_peft():
    peft = {
        "device": "x",
        "eager": {"ms": 8.0},
        "compiled": {"ms": 5.0},
        "graphs": {"error": "no compiler"},
    }

    ratios = gpu.over_peft({"lora": {"ms_1": 4.0}}, peft)

    assert ratios == pytest.approx({"eager": 0.5, "compiled": 0.8})
    assert gpu.over_peft({"error": "no time was left"}, peft) == {}
    assert list(gpu.errors({"peft": peft})) == [("peft graphs", "no compiler")]
