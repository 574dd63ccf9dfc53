"""Exports a base model as a versioned SavedModel that takes Submodels.

    python -m tasks.export --model_dir=RUN --export_dir=EXPORTS

Audio and packed Submodels go in, text comes out; see EXPORTS/VERSION/README.md
afterwards. With --submodel=FILE one speaker's Submodel is folded in, and the
SavedModel takes audio alone.
"""

import os

from absl import flags, logging

from params import registry
from tasks import cli

_MODEL_DIR = flags.DEFINE_string(
    "model_dir", "", "Folder of the run whose Submodels are to be served."
)
_EXPORT_DIR = flags.DEFINE_string(
    "export_dir", "", "Folder that gets the version's folder."
)
_VERSION = flags.DEFINE_integer(
    "version", None, "Version; the next free one if not set.", lower_bound=1
)
_BASE = flags.DEFINE_string(
    "base", "", "The base model; where training found it, if empty."
)
_SUBMODEL = flags.DEFINE_string(
    "submodel",
    "",
    "File of a Submodel to fold in, for one speaker's own model.",
)
_BEAM_SIZE = flags.DEFINE_integer(
    "beam_size", 1, "1 for greedy decoding.", lower_bound=1, upper_bound=16
)


def main(_):
    for flag in (_MODEL_DIR, _EXPORT_DIR):
        if not flag.value:
            cli.fail(f"--{flag.name} is missing; see --help")
    import tensorflow as tf

    from lingvo_like.submodel import file as submodel_file
    from tasks.asr.bases import loading as base_loading
    from tasks.asr.data import new_folder
    from tasks.asr.training import model_directory, run_description, task
    from tasks.serving.exports import folder as export_folder
    from tasks.serving.exports import signatures, warmup

    # What saving a graph logs is no news to whoever exports.
    logging.set_verbosity(logging.WARNING)
    tf.get_logger().setLevel("WARNING")
    # Whatever can fail does so before the base is loaded and traced.
    warmup.check_installed()
    version = _VERSION.value or export_folder.next_version(_EXPORT_DIR.value)
    target = new_folder.local_path(_EXPORT_DIR.value) / str(version)
    if target.exists():
        cli.fail(f"{target} exists; leave --version out for the next one")
    model_directory.check_writable(_EXPORT_DIR.value, "--export_dir")
    directory = model_directory.ModelDirectory(_MODEL_DIR.value)
    saved = directory.read_experiment()
    if saved is None:
        cli.fail(f"{directory.experiment} is not there: no run to export")
    run_description.check_program(directory.path, saved, run_description.TRAIN)
    experiment = directory.saved_values(
        saved, registry.get(saved["experiment"])
    )
    path = _BASE.value or saved["base"]
    print(f"loading the base model {path}", flush=True)
    base = base_loading.load(experiment.base, path)
    fingerprint = base.fingerprint()
    if fingerprint != saved["base_fingerprint"]:
        cli.fail(
            f"{path} is another base model ({fingerprint[:12]}) than the "
            f"run's ({saved['base_fingerprint'][:12]})"
        )
    layout = task.layout_of(base, experiment.adapter)
    residual_weight = experiment.adapter.residual_weight
    folded = None
    if _SUBMODEL.value:
        folded = submodel_file.load(_SUBMODEL.value, fingerprint, layout)
        residual_weight = folded.metadata.residual_weight
    print("tracing the graph and writing it", flush=True)
    recognizer = signatures.Recognizer(
        base, layout, residual_weight, _BEAM_SIZE.value
    )
    written, description = export_folder.write(
        _EXPORT_DIR.value,
        version,
        recognizer,
        export_folder.describe(
            recognizer,
            fingerprint,
            saved["experiment"],
            folded and folded.metadata,
        ),
        folded and folded.vector,
    )
    _report(written, description)


def _report(path, description):
    """Says what there is now and what to do with it."""
    size = sum(
        os.path.getsize(os.path.join(parent, name))
        for parent, _, names in os.walk(path)
        for name in names
    )
    print(f"exported: {path} ({size / 2**20:,.0f} MiB)")
    for name, signature in description.signatures.items():
        print(f"  {name}({', '.join(signature['inputs'])})")
    print(
        f"  audio: {description.sample_rate} samples per second, at most "
        f"{description.max_samples / description.sample_rate:g} s"
    )
    if description.submodel:
        print(f"  Submodel folded in: {description.submodel['speaker']}")
    else:
        print(f"  Submodels: {description.num_values} values")
    if description.requires_tensorflow_text:
        print("  whoever loads it needs TensorFlow Text's operations")
    print(f"inputs and outputs: {os.path.join(path, 'README.md')}")
    if not description.submodel:
        print(
            f"next: python -m tasks.serve --export_dir={_EXPORT_DIR.value} "
            "--store=STORE"
        )


if __name__ == "__main__":
    cli.run(main)
