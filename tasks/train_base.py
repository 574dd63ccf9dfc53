"""Trains all the weights of a base model: from scratch, or from --base.

    python -m tasks.train_base --experiment=conformer.LibriSpeechS \\
        --train_manifest=train.jsonl --dev_manifest=dev.jsonl --model_dir=RUN

Writes the base model to RUN/base, for --base of the other commands. Leave the
speakers that will have Submodels out of it. After an interruption, the same
command continues.
"""

from absl import flags

from lingvo_like import hyperparams
from params import registry
from tasks import cli, setting_flags

flags.adopt_module_key_flags(setting_flags)

_EXPERIMENT = flags.DEFINE_string(
    "experiment", "", "Name of an experiment; its base and base_training count."
)
_MODEL_DIR = flags.DEFINE_string("model_dir", "", "Folder of the run.")
_TRAIN_MANIFEST = flags.DEFINE_string(
    "train_manifest", "", "JSONL manifest to train on, or several with commas."
)
_DEV_MANIFEST = flags.DEFINE_string(
    "dev_manifest", "", "JSONL manifest of the dev loss; may be empty."
)
_BASE = flags.DEFINE_string(
    "base", "", "Base model to start from; random weights if empty."
)
_STRICT = flags.DEFINE_bool(
    "strict", False, "Refuse to train if any utterance is unusable."
)


def main(_: list[str]) -> None:
    cli.require(_EXPERIMENT)
    experiment = registry.get(_EXPERIMENT.value)
    if setting_flags.are_to_be_listed():
        setting_flags.show(experiment)
        return
    cli.require(_MODEL_DIR, _TRAIN_MANIFEST)
    experiment = hyperparams.replace(experiment, setting_flags.given())
    # Late, so that --help and a mistyped name answer at once.
    from tasks.asr.bases import program as base_program

    base_program.train(
        _EXPERIMENT.value,
        experiment,
        _TRAIN_MANIFEST.value,
        _MODEL_DIR.value,
        base_path=_BASE.value,
        dev_manifest=_DEV_MANIFEST.value,
        strict=_STRICT.value,
    )


if __name__ == "__main__":
    cli.run(main)
