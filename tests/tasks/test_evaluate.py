"""From a run and a test manifest to a report."""

import json

import pytest

from tasks import api
from tasks.asr.evaluation import program
from tests import binaries, tiny

SPEAKERS = ("ann", "bob")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained run, its base model and manifests."""
    folder = tmp_path_factory.mktemp("speech")
    tiny.recordings(folder, SPEAKERS, 2)
    tiny.recordings(folder, SPEAKERS, 3, seed=2, name="test")
    with open(folder / "train.jsonl", "a") as file:
        file.write('{"audio_filepath": "gone.wav", "text": "", "speaker": 1}\n')
    tiny.base().save(str(folder / "base"))
    api.train(
        str(folder / "train.jsonl"),
        str(folder / "run"),
        experiment="conformer.Tiny",
        base=str(folder / "base"),
        settings={"base.buckets_seconds": (2.0,), "train.num_steps": 2},
    )
    return folder


def test_a_run_is_evaluated_by_one_command(folder):
    done = binaries.run(
        "evaluate",
        f"--model_dir={folder}/run",
        f"--test_manifest={folder}/test.jsonl",
    )
    assert done.returncode == 0, done.stderr
    for speaker in SPEAKERS:
        assert speaker in done.stdout
    assert "{" not in done.stdout
    assert done.stdout.splitlines()[-1] == (
        "Next, to serve: python -m tasks.export "
        f"--model_dir={folder}/run --export_dir=exports"
    )
    assert "replaces" not in done.stderr
    output = folder / "run" / "evaluation"
    assert (output / "left_out.txt").read_text() == ""
    results = json.loads((output / "results.json").read_text())
    assert results["details"]["experiment"] == "conformer.Tiny"
    lines = (output / "hypotheses.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert {"reference", "base_hypothesis", "submodel_hypothesis"} <= set(
        json.loads(lines[0])
    )
    report = (output / "report.html").read_text()
    assert "ann" in report and "bob" in report


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model_dir": "empty"}, "no run to evaluate"),
        ({"base": "empty"}, "empty"),
        ({"experiment": "whisper.Stacked"}, "now whisper.Stacked"),
        ({"settings": {"train.num_steps": 8}}, "train.num_steps: saved 2"),
        ({"speakers": ["zoe"]}, "--speakers names zoe"),
        ({"normalizer": "englsh"}, "Did you mean english?"),
        ({"output_dir": "test.jsonl"}, "--output_dir cannot be"),
        ({"test_manifest": "none.jsonl"}, "does not exist"),
        ({"test_manifest": "two.jsonl"}, "'ann' must have one severity"),
        ({"test_manifest": "train.jsonl", "strict": True}, "unusable"),
        ({"compare_with": "tiny.en"}, "--compare_with names a Whisper"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_evaluated_is_refused_before_any_work(
    folder, changes, message
):
    (folder / "empty").mkdir(exist_ok=True)
    lines = [json.loads(x) for x in (folder / "test.jsonl").open()]
    lines[1]["severity"] = "mild"
    (folder / "two.jsonl").write_text("\n".join(map(json.dumps, lines)))
    arguments = {"model_dir": "run", "test_manifest": "test.jsonl", **changes}
    for name in ("model_dir", "base", "output_dir", "test_manifest"):
        if name in arguments:
            arguments[name] = str(folder / arguments[name])
    with pytest.raises((ValueError, OSError), match=message):
        program.prepare(**arguments)


def test_an_evaluation_of_another_manifest_is_not_replaced_silently(
    folder, capsys
):
    output = folder / "kept"
    output.mkdir()
    earlier = {"details": {"test_manifest": f"{folder}/others.jsonl"}}
    (output / "results.json").write_text(json.dumps(earlier))
    same = (folder / "test.jsonl").read_text()
    (folder / "others.jsonl").write_text(same)
    for manifest, is_told in (("test", True), ("others", False)):
        program.prepare(
            str(folder / "run"),
            f"{folder}/{manifest}.jsonl",
            output_dir=str(output),
        )
        told = (
            f"this replaces the evaluation on {folder}/others.jsonl in "
            f"{output}; another --output_dir keeps both"
        )
        assert (told in capsys.readouterr().err) == is_told
