"""Trains the Submodels of all the speakers of a manifest, in one job.

    python -m tasks.train --base=tiny.en --train_manifest=train.jsonl \\
        --dev_manifest=dev.jsonl --model_dir=RUN

Writes one file per speaker to RUN/submodels and, where the experiment learns
a speaker-embedding space, RUN/space.safetensors to enrol others in. After an
interruption, the same command continues from the last checkpoint to the same
result. On Ctrl-C, or on SIGTERM, which precedes the loss of a preemptible
machine, it saves a checkpoint and exits with status 130 or 143. A second Ctrl-C
ends it at once.

Several GPUs, the chips of a TPU, or the processes that TF_CONFIG names share
the speakers: each trains its own. With TF_CONFIG, start the same command on
every machine; --model_dir is a folder that all of them see.
"""

from absl import flags

from params import registry
from tasks import api, cli, devices, setting_flags

flags.adopt_module_key_flags(devices)
flags.adopt_module_key_flags(setting_flags)
_EXPERIMENT = flags.DEFINE_string(
    "experiment",
    "",
    "Name of an experiment; see --list_experiments. If empty, that of the run "
    "in --model_dir, or whisper.ShortStacked for a new run.",
)
_LIST = flags.DEFINE_bool(
    "list_experiments", False, "Print the experiments and exit."
)
_MODEL_DIR = flags.DEFINE_string(
    "model_dir", "", "Folder of the run: a new one, or one to continue."
)
_TRAIN_MANIFEST = flags.DEFINE_string(
    "train_manifest",
    "",
    "JSONL manifest of the recordings to train on, or several with commas.",
)
_DEV_MANIFEST = flags.DEFINE_string(
    "dev_manifest",
    "",
    "JSONL manifest, or several with commas, for early stopping and the best "
    "checkpoint. Without it a share of each speaker's utterances "
    "(train.dev_share) is held out for that.",
)
_DEV = flags.DEFINE_enum(
    "dev",
    "auto",
    ["auto", "none"],
    "none: hold nothing out where there is no dev manifest; every speaker "
    "trains all steps and keeps the last weights.",
)
_BASE = flags.DEFINE_string(
    "base",
    "",
    "The base model: a directory, a preset's name, tiny.en, or base, which is "
    "multilingual. If empty, that of the run in --model_dir. Experiments of "
    "a short context take the short-context form of a Whisper, which is made "
    "of the training speech the first time, and kept; tasks.shorten_context "
    "makes one of other speech.",
)
_SPEAKERS = flags.DEFINE_list(
    "speakers", [], "Train or continue only these speakers; all if empty."
)
_SPACE_FROM = flags.DEFINE_string(
    "space_from",
    "",
    "The run that a space starts from. With --set=space.initializer=stack: a "
    "run of slots whose Submodels are made as the space's, such as "
    "whisper.ShortAdapters, trained with submodel.shared_start=true. With "
    "--set=space.initializer=space: a run of a space, to fit its basis again.",
)
_START_FROM = flags.DEFINE_string(
    "start_from",
    "",
    "A run, a folder of Submodel files, or a store with --tenant: speakers who "
    "have a Submodel there go on from it. The run in --model_dir itself goes "
    "on with new recordings and new speakers, and its Submodels are replaced.",
)
_TENANT = flags.DEFINE_string(
    "tenant", "", "start_from: whose speakers, where it is a store."
)
_COHORT = flags.DEFINE_flag(
    cli.choice_or_true(
        "cohort",
        "all",
        ["language", "etiology", "severity"],
        "First train one Submodel on everybody's speech, or one for each value "
        "of a field of the manifest. Speakers start from it unless they have "
        "one in --start_from, and evaluation sets it beside theirs.",
    )
)
_STRICT = flags.DEFINE_bool(
    "strict", False, "Refuse to train if any utterance is unusable."
)
_CHECK_MEMORY = flags.DEFINE_bool(
    "check_memory", True, "Refuse a job that takes more memory than there is."
)


def main(_: list[str]) -> None:
    if _LIST.value:
        print(registry.describe())
        return
    if setting_flags.are_to_be_listed():
        setting_flags.show(registry.get(_EXPERIMENT.value or registry.DEFAULT))
        return
    cli.require(_MODEL_DIR, _TRAIN_MANIFEST)
    api.train(
        _TRAIN_MANIFEST.value,
        _MODEL_DIR.value,
        experiment=_EXPERIMENT.value,
        base=_BASE.value,
        check_memory=_CHECK_MEMORY.value,
        dev_manifest=_DEV_MANIFEST.value,
        settings=setting_flags.given(),
        speakers=_SPEAKERS.value,
        space_from=_SPACE_FROM.value,
        start_from=_START_FROM.value,
        tenant=_TENANT.value,
        cohort=_COHORT.value,
        dev=_DEV.value,
        strict=_STRICT.value,
        devices=devices.given(),
    )


if __name__ == "__main__":
    cli.run(main)
