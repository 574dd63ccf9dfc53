"""`python -m tasks.aot_compile` as a user meets it."""

import importlib.metadata
import json
import pathlib
import re

import pytest

from tests import binaries
from tests.tasks.compilation import program_cases
from tpu.aot import compiler

ROOT = pathlib.Path(__file__).parents[2]
TINY = (
    "--experiment=conformer.Tiny",
    "--set=base.buckets_seconds=1.0",
    "--num_tokens=8",
)


def aot_compile(*flags):
    return binaries.run("aot_compile", *flags)


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "--experiment is missing"),
        (["--experiment=conformer.Tiny"], "--topology is missing"),
        (
            ["--experiment=conformer.Tinny", "--topology=v5e:2x2"],
            "Did you mean conformer.Tiny",
        ),
        (
            ["--experiment=conformer.Tiny", "--topology=v5e:2x3"],
            "unknown TPU topology 'v5e:2x3'. Did you mean v5e:2x",
        ),
        (
            [
                *("--experiment=conformer.Tiny", "--topology=v5e-4"),
                "--set=adapter.bottleneck_dimm=3",
            ],
            "Did you mean adapter.bottleneck_dim",
        ),
        (
            [
                *("--experiment=conformer.Tiny", "--topology=v5e-4"),
                *("--function=serve", "--num_submodels=9"),
            ],
            "--num_submodels belongs to --function=train. Received: --",
        ),
    ],
)
def test_a_mistake_in_the_command_is_one_line(flags, message):
    done = aot_compile(*flags)
    assert done.returncode == 1
    assert message in done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1


def _installed(monkeypatch, versions):
    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)


def test_a_compiler_that_is_absent_is_named_with_its_remedy(monkeypatch):
    pinned = dict(compiler.VERSIONS)
    del pinned["libtpu"]
    _installed(monkeypatch, pinned)
    with pytest.raises(OSError) as raised:
        compiler.check_installed()
    assert "libtpu 0.0.52 (found: none)" in str(raised.value)
    assert "pip install -e '.[aot]'" in str(raised.value)
    assert "jax" not in str(raised.value)


def test_a_compiler_of_another_version_is_named_with_both(monkeypatch):
    _installed(monkeypatch, compiler.VERSIONS | {"jaxlib": "0.9.1"})
    with pytest.raises(OSError, match=r"jaxlib 0.10.2 \(found: 0.9.1\)"):
        compiler.check_installed()


def test_the_right_versions_are_accepted(monkeypatch):
    _installed(monkeypatch, compiler.VERSIONS)
    compiler.check_installed()


def test_the_versions_are_those_of_the_extra():
    text = (ROOT / "setup.cfg").read_text()
    for name, version in compiler.VERSIONS.items():
        assert f"\n    {name} =={version}\n" in text


@pytest.mark.tpu_compiler
@program_cases.needs_aot
def test_a_training_step_gives_a_table_and_json_last():
    done = aot_compile(*TINY, "--topology=v5e:2x2", "--noconfirm")
    assert done.returncode == 0, done.stderr
    *table, last = done.stdout.splitlines()
    figures = json.loads(last)
    assert figures["topology"] == "v5e-4"
    assert figures["fits"] and not figures["confirmed_by_compiling"]
    assert figures["collective_bytes"] == 0
    assert figures["host_operations"] == []
    assert figures["speakers_per_step_of_a_chip"] == 2
    assert figures["speakers_per_step"] == 8
    assert figures["submodels_per_job"] == 4 * figures["submodels_per_chip"]
    assert 0 < figures["hbm_fraction"] < 1
    assert figures["submodels_per_chip_hour"] > 0
    assert figures["updates_per_submodel"] == 8
    names = {line.partition("  ")[0] for line in table}
    assert {"HBM", "arithmetic", "collectives", "roofline"} <= names


@pytest.mark.tpu_compiler
@program_cases.needs_aot
def test_many_steps_of_a_call_take_as_long_as_so_many_calls():
    flops, per_hour = [], []
    for steps in (1, 4):
        done = aot_compile(
            *TINY,
            "--topology=v5e:2x2",
            "--noconfirm",
            f"--set=train.steps_per_call={steps}",
        )
        assert done.returncode == 0, done.stderr
        figures = json.loads(done.stdout.splitlines()[-1])
        assert figures["steps_per_call"] == steps
        flops.append(figures["flops"])
        per_hour.append(figures["submodels_per_chip_hour"])
    assert flops[1] == pytest.approx(4 * flops[0], rel=0.1)
    # What is read once a call makes the step of many no slower.
    assert per_hour[0] < per_hour[1] < 4 * per_hour[0]


@pytest.mark.tpu_compiler
@program_cases.needs_aot
def test_every_chip_holds_all_embeddings_of_a_space():
    done = aot_compile(
        "--experiment=conformer.TinyEmbedding",
        *TINY[1:],
        "--topology=v5e:2x2",
        "--noconfirm",
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["submodels_per_job"] == figures["submodels_per_chip"]
    assert figures["collectives"]["all-reduce"]["bytes"] > 0


@pytest.mark.tpu_compiler
@program_cases.needs_aot
def test_recognition_gives_a_table_and_json_last():
    done = aot_compile(
        *TINY[:2], "--topology=v6e-4", "--function=serve", "--num_rows=2"
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["function"] == "serve"
    assert figures["utterances_per_call"] == 2
    assert figures["host_operations"] == []
    assert "the host makes text of them" in done.stdout


@pytest.mark.tpu_compiler
@program_cases.needs_aot
def test_what_does_not_fit_is_one_line_with_the_largest_that_does():
    done = aot_compile(
        *TINY,
        "--topology=v5e:2x2",
        "--set=adapter.bottleneck_dim=2048",
        "--num_submodels=24000",
    )
    assert done.returncode == 1
    # TensorFlow writes notices too, of errors among others.
    (error,) = re.findall("^error: .*", done.stderr, re.MULTILINE)
    assert "GiB too much; the largest number found to fit is" in error
    figures = json.loads(done.stdout.splitlines()[-1])
    turns = f"train.resident_speakers={figures['submodels_per_job']}"
    assert turns in error
    assert not figures["fits"]
    assert figures["excess_bytes"] > 0
    assert 0 < figures["submodels_per_job"] < 24000
    assert figures["confirmed_by_compiling"]
    # What it says to do does it.
    done = aot_compile(
        *TINY,
        "--topology=v5e:2x2",
        "--set=adapter.bottleneck_dim=2048",
        "--num_submodels=24000",
        f"--set={turns}",
        "--noconfirm",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["num_submodels"] == 24000
