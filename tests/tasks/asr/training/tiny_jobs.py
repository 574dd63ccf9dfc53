"""Jobs of `conformer.Tiny` in a folder, and the files that they write."""

import pathlib

from lingvo_like import hyperparams
from lingvo_like.submodel import file as submodel_file
from params import registry
from tasks.asr.training import program as training_program


def train(folder, run, *overrides, data="", has_dev=True, **changes):
    """A job on the speech of a folder's subfolder `data`.

    One speaker of each step: a program with another number of places rounds
    differently.
    """
    experiment = hyperparams.override(
        registry.get("conformer.Tiny"),
        ["base.buckets_seconds=2.0", "train.speakers_per_step=1", *overrides],
    )
    return training_program.train(
        "conformer.Tiny",
        experiment,
        **{
            "train_manifest": str(folder / data / "train.jsonl"),
            "dev_manifest": str(folder / data / "dev.jsonl") if has_dev else "",
            "base_path": str(folder / "base"),
            "model_dir": str(run),
        }
        | changes,
    )


def loaded(directory, speaker):
    return submodel_file.load(directory.submodel(speaker))


def contents(directory):
    return {
        path.name: path.read_bytes()
        for path in pathlib.Path(directory.submodels).iterdir()
    }
