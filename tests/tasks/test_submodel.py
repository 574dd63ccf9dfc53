"""A Submodel's file is printed, written for PEFT and read from there."""

import hashlib
import json

import numpy as np
import pytest

from lingvo_like.submodel import file as submodel_file
from tasks.asr import submodel_contents
from tests import binaries, layouts
from tests.lingvo_like.base_models.whisper import whisper_bases
from tests.lingvo_like.submodel import peft_folders

LAYOUT = layouts.adapters(model_dim=4, bottleneck_dim=2, blocks=(0, 1, 3))


def run(*arguments):
    return binaries.run("submodel", *arguments, PYTHONIOENCODING="utf-8")


def _sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def error_lines(result):
    """Without TensorFlow's own notices, which no setting turns off."""
    return [
        line for line in result.stderr.splitlines() if line.startswith("error:")
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("submodels")
    vector = np.zeros(LAYOUT.num_values, np.float32)
    tensors = LAYOUT.unpack(vector)
    tensors[layouts.tensor_name(1, "up_bias")][:] = [3, 0, -4, 0]
    for speaker, language, dtype in (
        ("F01", "de", "float32"),
        ("話者\n1", "", "float16"),
    ):
        made = submodel_file.create(
            LAYOUT,
            tensors,
            base_fingerprint="0123456789abcdef" * 4,
            speaker=speaker,
            language=language,
            experiment="whisper.Stacked",
            base_description={
                "num_parameters": 9000,
                "frontend": {"num_bins": 80},
                "a_name_that_is_longer_than_thirty_characters": 0,
            },
            training={"step": 200, "dev_loss": 0.25},
        )
        submodel_file.save(
            folder / submodel_file.file_name(speaker), made, dtype
        )
    return folder


def test_one_file_is_printed_in_full(folder):
    path = folder / "F01.safetensors"
    printed = submodel_contents.in_full(submodel_contents.read(str(path)))
    lines = [line.split() for line in printed.splitlines()]
    for expected in (
        [str(path)],
        ["speaker", "F01"],
        ["language", "de"],
        ["experiment", "whisper.Stacked"],
        ["base_fingerprint", "0123456789abcdef" * 4],
        [
            *("layout", "adapter", "bottleneck_dim=2", "residual_weight=1"),
            *("at", "3", "sites"),
        ],
        ["sha256", submodel_file.load(path).metadata.sha256],
        ["frontend.num_bins", "80"],
        ["dev_loss", "0.25"],
        ["a_name_that_is_longer_than_thirty_characters", "0"],
        ["store", "hash", _sha256(path)],
        [layouts.tensor_name(1, "up_bias"), "4", "5", "4"],
        [layouts.tensor_name(3, "down_kernel"), "4", "x", "2", "0", "0"],
    ):
        assert expected in lines
    num_bytes = path.stat().st_size
    total = f"90 values in {num_bytes:,} bytes, 1 % of the base model"
    assert printed.splitlines()[-1] == total


def test_several_files_are_a_table_and_broken_ones_are_one_line(folder):
    whole = (folder / "F01.safetensors").read_bytes()
    broken = folder / "broken"
    broken.write_bytes(whole[:-1] + b"?")
    cut = folder / "cut"
    cut.write_bytes(whole[:100])
    paths = [folder / submodel_file.file_name(s) for s in ("F01", "話者\n1")]
    result = run("inspect", broken, *paths, cut)
    assert result.returncode == 1
    errors = error_lines(result)
    assert len(errors) == 2
    assert "Traceback" not in result.stderr
    assert errors[0].startswith(f"error: {broken}: altered: the SHA-256")
    assert errors[1].startswith(f"error: {cut}: cut off")
    header, *rows = [line.split() for line in result.stdout.splitlines()]
    assert header[:4] == ["file", "speaker", "language", "experiment"]
    assert [row[2] for row in rows] == ["de", "-"]
    assert [row[-4] for row in rows] == ["float32", "float16"]
    assert [row[1] for row in rows] == ["F01", r'"\u8a71\u8005\n1"']
    assert {row[-2] for row in rows} == {"5"}
    for row, path in zip(rows, paths, strict=True):
        assert row[5:8] == ["200", "0.25", "-"]
        # As a store names its versions.
        assert row[-1] == _sha256(path)[:12]


def test_json_is_a_line_for_each_file_wherever_the_flag_stands(folder):
    paths = [folder / submodel_file.file_name(s) for s in ("F01", "話者\n1")]
    result = run("inspect", *paths, "--json")
    assert (result.returncode, error_lines(result)) == (0, [])
    first, second = map(json.loads, result.stdout.splitlines())
    assert first["file"] == str(paths[0])
    assert second["metadata"]["speaker"] == "話者\n1"
    assert first["file_sha256"] == _sha256(paths[0])
    assert first["percent_of_base"] == 1.0
    assert first["num_bytes"] == paths[0].stat().st_size
    assert first["tensors"][layouts.tensor_name(1, "up_bias")] == {
        "shape": [4],
        "norm": 5.0,
        "max": 4.0,
    }


def test_no_file_at_all_is_an_error():
    result = run("inspect")
    assert result.returncode == 1
    assert result.stdout == ""
    assert "name at least one Submodel file" in result.stderr


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "name one of inspect, export, import first"),
        (["show"], "name one of inspect, export, import first"),
        (["export", "a"], "--output_dir is missing"),
        (["import", "a"], "--base is missing"),
        (["import", "a", "--base=b"], "--output is missing"),
        (
            ["import", "a", "b", "--base=b", "--output=c"],
            "import takes one folder. Received: 2",
        ),
        (
            ["import", "a", "--base=b", "--output=c", "--set=lora.rank=2"],
            "--set changes an experiment; name one with --experiment",
        ),
        (
            ["import", "a", "--base=no_such_base", "--output=c"],
            "no_such_base: the base model is not there",
        ),
    ],
)
def test_what_is_missing_is_named(arguments, message):
    result = run(*arguments)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    (line,) = error_lines(result)
    assert message in line


def test_submodels_go_to_peft_and_come_back(folder, tmp_path):
    base = whisper_bases.small(languages=whisper_bases.LANGUAGES)
    base.save(str(tmp_path / "base"))
    made = peft_folders.submodel(base, speaker="a/b")
    paths = [tmp_path / "ab.safetensors", folder / "F01.safetensors"]
    submodel_file.save(paths[0], made)
    result = run("export", *paths, f"--output_dir={tmp_path / 'adapters'}")
    assert result.returncode == 1
    assert result.stdout == f"{tmp_path / 'adapters' / 'a%2Fb'}\n"
    (line,) = error_lines(result)
    assert line.startswith(f"error: {paths[1]}: ")
    output = tmp_path / "new" / "back.safetensors"
    result = run(
        "import",
        tmp_path / "adapters" / "a%2Fb",
        f"--base={tmp_path / 'base'}",
        f"--output={output}",
        "--language=de",
    )
    assert (result.returncode, error_lines(result)) == (0, [])
    back = submodel_file.load(output, base.fingerprint())
    assert result.stdout == f"{output}: a/b, {back.layout.describe()}\n"
    assert (back.metadata.speaker, back.metadata.language) == ("a/b", "de")
    for name, tensor in made.tensors.items():
        np.testing.assert_array_equal(back.tensors[name], tensor)
