"""Exports the base model of a training run."""

import pathlib
from typing import Any, NamedTuple

from lingvo_like import files, languages
from lingvo_like.submodel import file as submodel_file
from params import registry
from tasks.asr import base_loading, layouts
from tasks.asr.training import model_directory, run_description
from tasks.serving.exports import (
    description as export_description,
    folder,
    places,
    signatures,
    warmup,
)


class Exported(NamedTuple):
    """A version of a base model that was exported.

    Attributes:
        path: the version's folder; its README.md describes inputs and outputs.
    """

    path: str
    description: export_description.Description

    @property
    def num_bytes(self) -> int:
        """The bytes of all its files."""
        found = pathlib.Path(self.path).rglob("*")
        return sum(each.stat().st_size for each in found if each.is_file())


def export(
    model_dir: str,
    export_dir: str,
    version: int | None = None,
    base_path: str = "",
    submodel_path: str = "",
    beam_size: int = 1,
    language: str = "",
) -> Exported:
    """Writes a version of the base model that a run's Submodels are for.

    Args:
        export_dir: a local folder, which gets the version's.
        version: the next free one if None.
        base_path: where the base model is; where training found it, if empty.
        submodel_path: file of a Submodel to fold in; empty for none.
        beam_size: 1 for greedy decoding.
        language: code of what is written for requests that name no language
            and whose Submodel has none. If empty, that of the Submodel to fold
            in, or of the run's experiment, if any.

    Raises:
        OSError: a file or folder cannot be read or written.
        ValueError: there is no run, the version exists, or base model and
            Submodel do not belong to the run.
    """
    # Whatever can fail does so before the base is loaded and traced.
    warmup.check_installed()
    version = version or folder.next_version(export_dir)
    target = files.local_path(export_dir) / str(version)
    if target.exists():
        raise ValueError(
            f"{target} exists; leave --export_version out for the next"
        )
    folder.check_writable(export_dir)
    saved, experiment = _read_run(model_dir)
    base_path = base_path or saved["base"]
    base = base_loading.load(experiment.base, base_path)
    fingerprint = base.fingerprint()
    if fingerprint != saved["base_fingerprint"]:
        raise ValueError(
            f"{base_path} is another base model ({fingerprint[:12]}) than the "
            f"run's ({saved['base_fingerprint'][:12]})"
        )
    layout = layouts.of(base.sites, experiment)
    submodel = None
    if submodel_path:
        submodel = submodel_file.load(submodel_path, fingerprint, layout)
    recognizer = signatures.Recognizer(base, layout, beam_size)
    return Exported(
        *folder.write(
            export_dir,
            version,
            recognizer,
            fingerprint,
            saved["experiment"],
            submodel,
            _default_language(base, experiment, submodel, language),
        )
    )


def _default_language(base, experiment, submodel, language):
    """The language of an export; "" where it has to be asked for each time."""
    if len(base.languages) == 1:
        if language:
            base.language_index(languages.folded(language))
        return ""
    code = languages.folded(language)
    code = code or (submodel.metadata.language if submodel else "")
    code = code or experiment.default_language
    if code:
        base.language_index(code)
    return code


def _read_run(model_dir: str) -> tuple[dict, Any]:
    """The description of a training run, and its experiment's values."""
    directory = model_directory.ModelDirectory(model_dir)
    saved = directory.read_experiment()
    if saved is None:
        what = places.kind(model_dir)
        raise ValueError(
            f"{directory.experiment} is missing: there is no run to export"
            + (f"; {model_dir} is {what}" if what else "")
        )
    run_description.check_program(directory.path, saved, run_description.TRAIN)
    return saved, directory.saved_values(
        saved, registry.get(saved["experiment"])
    )
