"""Submodels to and from the folders that PEFT reads and writes."""

import os
from collections import abc
from typing import Any

from lingvo_like import folders, languages, tensor_file
from lingvo_like.base_models import base_model
from lingvo_like.base_models.whisper import huggingface_modules
from lingvo_like.submodel import file as submodel_file, lora_fitting, peft
from params import bases, registry
from tasks.asr import base_loading, kept_bases, layouts


def export(path: str, output_dir: str, base_name: str = "") -> str:
    """Writes a Submodel as a folder that PEFT reads, and returns its path.

    Args:
        path: the Submodel's file.
        output_dir: gets a folder that is named after the speaker.
        base_name: see `peft.to_files`.

    Raises:
        SubmodelError: the file is no Submodel, or not one that PEFT can have.
        OSError: the folder is there already, or cannot be written.
    """
    submodel = submodel_file.load(path)
    metadata = submodel.metadata
    with tensor_file.errors_as(submodel_file.SubmodelError, f"{path}: "):
        modules = _modules(
            metadata.base_description, submodel.layout.site_names
        )
        contents = peft.to_files(submodel, modules, base_name)
    name = submodel_file.file_name(metadata.speaker)
    folder = os.path.join(output_dir, name.removesuffix(submodel_file.SUFFIX))
    folders.write_folder(folder, contents)
    return folder


def read(
    folder: str,
    base_path: str,
    speaker: str = "",
    language: str = "",
    experiment: str = "",
    settings: abc.Mapping[str, Any] | None = None,
) -> submodel_file.Submodel:
    """Makes a Submodel of a folder that PEFT wrote.

    Args:
        base_path: the base model of the adapter.
        speaker: whose Submodel it is; may be empty where `export` wrote the
            folder.
        language: that the speaker spoke; empty for what `export` wrote, or for
            the only one that the base model knows.
        experiment: its name, if the Submodel is to have the layout of its
            Submodels; empty for the adapter's own.
        settings: to change in the experiment.

    Raises:
        ValueError: the folder holds no LoRA of this base model, or one that
            does not fit into the experiment's layout.
        OSError: a file cannot be read.
    """
    values = layouts.changed(
        registry.get(experiment or registry.DEFAULT), settings or {}
    )
    base = _base(values.base if experiment else None, base_path)
    description = base.description()
    adapter = peft.read(folder, base.sites, _modules(description, base.sites))
    record, fingerprint = adapter.record, base.fingerprint()
    _check_base(folder, record, base_path, fingerprint)
    speaker = speaker or record.get("speaker", "")
    if not speaker:
        raise ValueError(f"{folder}: say whose Submodel it is with --speaker")
    with tensor_file.errors_as(ValueError, f"{folder}: "):
        layout, tensors = adapter.layout, adapter.tensors
        if experiment:
            layout = layouts.of(base.sites, values)
            tensors = lora_fitting.fitted(
                adapter.layout, tensors, layout, speaker
            )
        return submodel_file.create(
            layout,
            tensors,
            base_fingerprint=fingerprint,
            speaker=speaker,
            language=_language(base, language or record.get("language", "")),
            experiment=experiment,
            base_description=description
            | {"num_parameters": base.count_params()},
            training={
                "imported_from": "peft",
                "peft_version": adapter.config.get("peft_version"),
                "base_model_name": adapter.config.get(
                    "base_model_name_or_path"
                ),
            },
            started_from={
                "sha256": record["sha256"],
                "speaker": record["speaker"],
                "source": "peft",
            }
            if record
            else None,
            heard=record.get("heard", ""),
        )


def _language(base, code):
    """The code of a speaker's language; empty where nobody can say."""
    code = languages.folded(code)
    if not code and len(base.languages) > 1:
        return ""
    index = languages.index(base.languages, code)
    return code or base.languages[index]


def _base(
    values: base_loading.Values | None, path: str
) -> base_model.BaseModel:
    """The base model of an experiment, or as it is at a path."""
    base_loading.check_is_there(path)
    if values is None:
        context = "short" if kept_bases.is_short(path) else "full"
        values = bases.Whisper(audio_context=context)
    return base_loading.load(values, path)


def _modules(description, site_names):
    """The modules of Hugging Face's model, by site.

    Args:
        description: of the base model.
    """
    model = description.get("model")
    if model != "whisper":
        raise ValueError(
            "of the base models here, PEFT can adapt whisper alone, as "
            f"Hugging Face's transformers have it. Received: {model}."
        )
    return huggingface_modules.by_site(site_names)


def _check_base(folder, record, base_path, fingerprint):
    """Refuses an adapter that was exported for another base model."""
    made_for = record.get("base_fingerprint", fingerprint)
    if made_for != fingerprint:
        path = os.path.join(folder, peft.RECORD_FILE)
        raise ValueError(
            f"{path}: made for another base model ({str(made_for)[:12]}) than "
            f"{base_path} ({fingerprint[:12]}); remove that file if the "
            "adapter was trained again on this one"
        )
