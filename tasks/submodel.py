"""Shows Submodel files, and takes them to and from PEFT.

    python -m tasks.submodel inspect RUN/submodels/F01.safetensors
    python -m tasks.submodel inspect RUN/submodels/*.safetensors
    python -m tasks.submodel export RUN/submodels/F01.safetensors \\
        --output_dir=adapters
    python -m tasks.submodel import adapters/F01 --base=tiny.en \\
        --speaker=F01 --output=F01.safetensors

inspect prints one file in full, and several as a table. Every file is checked
as a server checks it. The store hash is the SHA-256 of the file, with whose
first digits a store names its versions: 3-54af968d037a.

export writes a folder for each file, of low-rank changes (lora) on a Whisper.
PEFT loads it onto the same weights in Hugging Face's transformers, where it
gives the same logits at 30 s of audio. import makes a Submodel of such a
folder, whoever trained it. It has the ranks and the sites of the adapter, or
with --experiment and --set those of an experiment, which must have room for the
adapter's: so adapters of many shapes are served by one export.

A file that is refused is one line on stderr; the others go on, and the exit
status is 1.
"""

import json
import os
import sys
from collections import abc
from typing import Any

from absl import flags

from lingvo_like import files
from params import registry
from tasks import cli, setting_flags

flags.adopt_module_key_flags(setting_flags)
_FORMAT = flags.DEFINE_enum(
    "format", "peft", ["peft"], "export, import: whose format it is."
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "", "export: folder that gets a folder for each file."
)
_BASE = flags.DEFINE_string(
    "base",
    "",
    "import: the base model of the adapter. export: its name or folder for "
    "transformers, for those who load it by the adapter; may be left out.",
)
_SPEAKER = flags.DEFINE_string(
    "speaker", "", "import: whose Submodel it is; known where export wrote it."
)
_LANGUAGE = flags.DEFINE_string(
    "language", "", "import: code of what the speaker spoke, such as en."
)
_OUTPUT = flags.DEFINE_string("output", "", "import: the Submodel's file.")
_EXPERIMENT = flags.DEFINE_string(
    "experiment", "", "import: whose layout the Submodel gets."
)
_JSON = flags.DEFINE_bool(
    "json", False, "inspect: print a line of JSON for each file."
)


def _inspect(paths: list[str]) -> None:
    from tasks.asr import submodel_contents

    found, errors = _each(paths, submodel_contents.read)
    if _JSON.value:
        for one in found:
            print(json.dumps(one))
    elif found and len(paths) == 1:
        print(submodel_contents.in_full(found[0]), end="")
    elif found:
        print(submodel_contents.table(found))
    _report(errors)


def _export(paths: list[str]) -> None:
    cli.require(_OUTPUT_DIR)
    from tasks.asr import peft_folders

    def one(path: str) -> None:
        print(peft_folders.export(path, _OUTPUT_DIR.value, _BASE.value))

    _, errors = _each(paths, one)
    _report(errors)


def _import(paths: list[str]) -> None:
    cli.require(_BASE, _OUTPUT)
    if len(paths) > 1:
        cli.fail(f"import takes one folder. Received: {len(paths)}")
    settings = setting_flags.given()
    if settings and not _EXPERIMENT.value:
        cli.fail("--set changes an experiment; name one with --experiment")
    output = _OUTPUT.value
    files.try_writing(os.path.dirname(output) or ".")
    from lingvo_like.submodel import file as submodel_file
    from tasks.asr import peft_folders

    made = peft_folders.read(
        paths[0],
        _BASE.value,
        _SPEAKER.value,
        _LANGUAGE.value,
        _EXPERIMENT.value,
        settings,
    )
    if files.is_local(output):
        os.makedirs(os.path.dirname(os.path.abspath(output)), exist_ok=True)
    submodel_file.save(output, made)
    print(f"{output}: {made.metadata.speaker}, {made.layout.describe()}")


def _each(
    paths: list[str], act: abc.Callable[[str], Any]
) -> tuple[list[Any], list[str]]:
    """Applies `act` to each path: its results, and its errors as texts."""
    found, errors = [], []
    for path in paths:
        try:
            found.append(act(path))
        except (ValueError, OSError) as error:
            errors.append(str(error))
    return found, errors


def _report(errors: list[str]) -> None:
    for error in errors[:-1]:
        print(f"error: {error}", file=sys.stderr)
    if errors:
        cli.fail(errors[-1])


# By name of the command, what it takes and what it does.
COMMANDS = {
    "inspect": ("Submodel file", _inspect),
    "export": ("Submodel file", _export),
    "import": ("folder", _import),
}


@cli.takes_arguments
def main(argv: list[str]) -> None:
    if setting_flags.are_to_be_listed():
        setting_flags.show(registry.get(_EXPERIMENT.value or registry.DEFAULT))
        return
    name = "".join(argv[1:2])
    if name not in COMMANDS:
        cli.fail(f"name one of {', '.join(COMMANDS)} first; see --help")
    noun, command = COMMANDS[name]
    # TensorFlow is loaded late, so that --help answers at once.
    command(cli.arguments(argv[1:], noun))


if __name__ == "__main__":
    cli.run(main)
