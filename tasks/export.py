"""Exports a base model as a versioned SavedModel that takes Submodels.

    python -m tasks.export --model_dir=RUN --export_dir=EXPORTS

Audio and packed Submodels go in, text comes out; EXPORTS/VERSION/README.md
describes both. With --submodel=FILE one speaker's Submodel is folded in, and
the SavedModel takes audio alone.
"""

import os

from absl import flags, logging

from tasks import api, cli
from tasks.serving.exports import readme

_MODEL_DIR = flags.DEFINE_string(
    "model_dir", "", "Folder of the run whose Submodels are to be served."
)
_EXPORT_DIR = flags.DEFINE_string(
    "export_dir", "", "Folder that gets the version's folder."
)
_EXPORT_VERSION = flags.DEFINE_integer(
    "export_version",
    None,
    "Number of the version; the next free one if not set.",
    lower_bound=1,
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
_LANGUAGE = flags.DEFINE_string(
    "language",
    "",
    "Written for requests that name no language and whose Submodel has none, a "
    "code such as es; the run's base.language, if empty.",
)


def main(_: list[str]) -> None:
    cli.require(_MODEL_DIR, _EXPORT_DIR)
    # What TensorFlow logs while it saves a graph helps nobody who exports.
    logging.set_verbosity(logging.WARNING)
    print("loading the base model, tracing and writing it", flush=True)
    made = api.export(
        _MODEL_DIR.value,
        _EXPORT_DIR.value,
        export_version=_EXPORT_VERSION.value,
        base=_BASE.value,
        submodel=_SUBMODEL.value,
        beam_size=_BEAM_SIZE.value,
        language=_LANGUAGE.value,
    )
    print(readme.summary(made.description, made.path, made.num_bytes))
    print(f"inputs and outputs: {os.path.join(made.path, 'README.md')}")
    if not made.description.submodel:
        print(
            "Next: python -m tasks.store publish --store=store "
            f"--tenant=default --model_dir={_MODEL_DIR.value}\n"
            f"Then: python -m tasks.serve --export_dir={_EXPORT_DIR.value} "
            "--store=store"
        )


if __name__ == "__main__":
    cli.run(main)
