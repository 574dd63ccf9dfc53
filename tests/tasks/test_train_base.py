"""`python -m tasks.train_base` makes a base that Submodels can be put on."""

import pytest

from params import registry
from tasks.asr.bases import program as base_program
from tests import binaries, tiny


def test_a_whisper_is_not_trained_from_scratch(tmp_path):
    with pytest.raises(ValueError, match="not trained from scratch here"):
        base_program.train(
            "whisper.Stacked",
            registry.get("whisper.Stacked"),
            str(tmp_path / "train.jsonl"),
            str(tmp_path / "run"),
        )


@pytest.mark.slow
def test_the_base_carries_submodels_and_the_same_command_changes_nothing(
    tmp_path,
):
    tiny.recordings(tmp_path, ("ann", "bob"), 6)
    flags = (
        "--experiment=conformer.Tiny",
        "--set=base.buckets_seconds=2.0",
        f"--train_manifest={tmp_path}/train.jsonl",
    )
    make_base = (
        "train_base",
        *flags,
        f"--dev_manifest={tmp_path}/train.jsonl",
        f"--model_dir={tmp_path}/base_run",
        "--set=base_training.num_steps=4",
        "--set=base_training.eval_every_steps=2",
    )
    first = binaries.run(*make_base)
    assert first.returncode == 0, first.stderr
    base = tmp_path / "base_run" / "base"
    assert f"base model: {base}" in first.stdout
    history = (tmp_path / "base_run" / "history.jsonl").read_text()
    assert history.count("dev_loss") == 2
    fingerprint = first.stdout.splitlines()[-1]
    assert fingerprint.startswith("fingerprint: ")

    again = binaries.run(*make_base)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == fingerprint
    other = binaries.run(*make_base, "--set=base_training.num_steps=5")
    assert other.returncode == 1
    assert "base_training.num_steps: saved 4, now 5" in other.stderr

    wrong = binaries.run(
        "train", *flags, f"--base={base}", f"--model_dir={tmp_path}/base_run"
    )
    assert wrong.returncode == 1
    assert "a run of tasks.train_base" in wrong.stderr.splitlines()[-1]
    right = binaries.run(
        "train",
        *flags,
        f"--base={base}",
        f"--model_dir={tmp_path}/run",
        "--set=train.num_steps=2",
    )
    assert right.returncode == 0, right.stderr
    assert len(list((tmp_path / "run" / "submodels").iterdir())) == 2
