"""Submodels that come from PEFT are as good as others."""

import pytest

from lingvo_like.store import quality_gate
from lingvo_like.submodel import file as submodel_file, heard
from tasks.asr import peft_folders
from tasks.serving import gate_evidence
from tests.lingvo_like.base_models.whisper import whisper_bases
from tests.lingvo_like.submodel import peft_folders as folders

FITTING = {
    "adapter.sites": (),
    "lora.sites": ("*/*/*attention/*", "*/*/*/expand", "*/*/*/contract"),
    "lora.rank": 4,
    "lora.alpha": 6.0,
}


@pytest.fixture(scope="module")
def base():
    return whisper_bases.small(languages=whisper_bases.LANGUAGES)


@pytest.fixture(scope="module")
def base_path(base, tmp_path_factory):
    path = tmp_path_factory.mktemp("base") / "whisper"
    base.save(str(path))
    return str(path)


@pytest.fixture(scope="module")
def made(base):
    return folders.submodel(
        base, language="fr", heard=heard.pack(heard.keys(["ab" * 32]))
    )


def exported(made, tmp_path):
    path = tmp_path / "made.safetensors"
    submodel_file.save(path, made)
    return peft_folders.export(str(path), str(tmp_path / "adapters"))


def test_an_import_says_where_it_comes_from(made, base, base_path, tmp_path):
    folder = exported(made, tmp_path)
    folders.change_config(
        tmp_path / "adapters" / "F01",
        peft_version="0.21.2",
        base_model_name_or_path="openai/whisper-tiny",
    )
    metadata = peft_folders.read(folder, base_path).metadata
    assert metadata.training == {
        "imported_from": "peft",
        "peft_version": "0.21.2",
        "base_model_name": "openai/whisper-tiny",
    }
    assert metadata.base_fingerprint == base.fingerprint()
    assert metadata.base_description["num_parameters"] == base.count_params()
    assert (metadata.speaker, metadata.language) == ("F01", "fr")
    assert metadata.started_from == {
        "sha256": made.metadata.sha256,
        "speaker": "F01",
        "source": "peft",
    }
    # Nothing that it has heard is tested on.
    assert metadata.heard == made.metadata.heard != ""
    assert metadata.experiment == ""


def test_a_folder_of_peft_alone_needs_a_speaker(made, base_path, tmp_path):
    folder = exported(made, tmp_path)
    (tmp_path / "adapters" / "F01" / "submodel.json").unlink()
    with pytest.raises(ValueError, match="whose Submodel it is with --speaker"):
        peft_folders.read(folder, base_path)
    metadata = peft_folders.read(folder, base_path, "M02").metadata
    assert (metadata.speaker, metadata.language) == ("M02", "")
    assert (metadata.started_from, metadata.heard) == ({}, "")
    with pytest.raises(ValueError, match="knows no language 'xx'"):
        peft_folders.read(folder, base_path, "M02", "xx")


def test_an_import_may_be_published_unless_it_learned_nothing(
    base, made, base_path, tmp_path
):
    folder = exported(made, tmp_path)
    gate_evidence.check_learned(peft_folders.read(folder, base_path))
    # Zeros on the other side than training here leaves them.
    folders.change_tensors(
        tmp_path / "adapters" / "F01",
        lambda tensors: {
            name: 0 * value if ".lora_A." in name else value
            for name, value in tensors.items()
        },
    )
    with pytest.raises(quality_gate.GateError, match="it is the base model"):
        gate_evidence.check_learned(peft_folders.read(folder, base_path))


def test_an_import_can_have_the_layout_of_an_experiment(
    made, base, base_path, tmp_path
):
    folder = exported(made, tmp_path)
    found = peft_folders.read(
        folder, base_path, experiment="whisper.Stacked", settings=FITTING
    )
    assert found.metadata.experiment == "whisper.Stacked"
    assert found.layout.describe() == "lora rank=4 alpha=6 at 48 sites"
    difference = folders.logits(base, found) - folders.logits(base, made)
    assert abs(difference).max() < 1e-4
    with pytest.raises(ValueError, match=f"{folder}: its rank at .* at most 2"):
        peft_folders.read(
            folder,
            base_path,
            experiment="whisper.Stacked",
            settings=FITTING | {"lora.rank": 2},
        )


def test_another_base_model_is_refused(made, tmp_path):
    folder = exported(made, tmp_path)
    whisper_bases.small(seed=1).save(str(tmp_path / "other"))
    with pytest.raises(
        ValueError, match="submodel.json: made for another base model"
    ):
        peft_folders.read(folder, str(tmp_path / "other"))


def test_a_model_that_transformers_does_not_have_is_refused(base, tmp_path):
    made = folders.submodel(base, base_description={"model": "conformer_ctc"})
    with pytest.raises(ValueError, match="Received: conformer_ctc"):
        exported(made, tmp_path)


def test_nothing_is_written_over(made, tmp_path):
    exported(made, tmp_path)
    with pytest.raises(FileExistsError, match="F01 exists and is not an empty"):
        exported(made, tmp_path)


def test_the_only_language_of_a_base_model_need_not_be_said(tmp_path):
    base = whisper_bases.small()
    base.save(str(tmp_path / "base"))
    folder = exported(folders.submodel(base), tmp_path)
    found = peft_folders.read(folder, str(tmp_path / "base"))
    assert found.metadata.language == "en"
