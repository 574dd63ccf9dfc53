"""Speakers go on from the Submodels that they have."""

import json
import os
import pathlib
import shutil

import numpy as np
import pytest

from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file, heard
from params import registry
from tasks import api
from tasks.asr.training import (
    model_directory,
    preemption,
    program as training_program,
    run_results,
    trainer,
    withdrawal,
)
from tests import tiny
from tests.tasks.asr.training import compiled_once, test_program, tiny_jobs

contents, loaded = tiny_jobs.contents, tiny_jobs.loaded
train = tiny_jobs.train


@pytest.fixture(scope="module", autouse=True)
def _compiled_once():
    with compiled_once.sharing():
        yield


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Speech of ann and bob, later of ann and cy, and a run on the first."""
    folder = tmp_path_factory.mktemp("growing")
    for data, speakers, seed in (("", "ann bob", 0), ("later", "ann cy", 9)):
        for name, count in (("train", 5), ("dev", 2)):
            tiny.recordings(
                folder / data,
                speakers.split(),
                count,
                seed + (name == "dev"),
                name,
            )
    tiny.base().save(str(folder / "base"))
    train(folder, folder / "first")
    return folder


@pytest.fixture(scope="module")
def second(speech):
    """A run in a folder of its own that goes on from the first."""
    return train(
        speech,
        speech / "second",
        data="later",
        start_from=str(speech / "first"),
    )


def test_whoever_has_a_submodel_goes_on_from_it(speech, second, capsys):
    first = model_directory.ModelDirectory(str(speech / "first"))
    before, ann, cy = (
        loaded(first, "ann"),
        loaded(second, "ann"),
        loaded(second, "cy"),
    )
    assert ann.metadata.started_from == {
        "sha256": before.metadata.sha256,
        "speaker": "ann",
        "source": "run",
    }
    assert cy.metadata.started_from == {}
    # What the base makes of the dev speech, and what the start made of it.
    figures = ann.metadata.training
    assert figures["start_dev_loss"] < figures["base_dev_loss"]
    assert cy.metadata.training["start_dev_loss"] is None
    assert sorted(contents(second)) == ["ann.safetensors", "cy.safetensors"]
    assert run_results.read(second).started_from == {
        "ann": ann.metadata.started_from
    }
    capsys.readouterr()
    train(speech, speech / "second", data="later")
    assert (
        f"they start: 1 from their own Submodel in {first.path}, 1 from the "
        "base model (1 more there are not in the manifests)"
    ) in capsys.readouterr().out


def test_a_submodel_knows_what_it_and_those_before_it_heard(speech, second):
    first = model_directory.ModelDirectory(str(speech / "first"))
    of_first = heard.unpack(loaded(first, "ann").metadata.heard)
    of_second = heard.unpack(loaded(second, "ann").metadata.heard)
    assert len(of_first) == 5
    assert len(of_second) == 10 and of_first < of_second
    assert len(heard.unpack(loaded(second, "cy").metadata.heard)) == 5


def test_without_updates_the_start_is_what_there_is(speech, tmp_path):
    first = model_directory.ModelDirectory(str(speech / "first"))
    run = train(
        speech, tmp_path / "run", "train.num_steps=0", start_from=first.path
    )
    for speaker in ("ann", "bob"):
        before, after = loaded(first, speaker), loaded(run, speaker)
        np.testing.assert_array_equal(before.vector, after.vector)
        assert after.metadata.training["step"] == 0


def test_a_start_that_is_worse_than_the_base_is_not_kept(
    speech, tmp_path, capsys
):
    first = model_directory.ModelDirectory(str(speech / "first"))
    folder = tmp_path / "files"
    folder.mkdir()
    for speaker in ("ann", "bob"):
        found = loaded(first, speaker)
        # It goes the other way.
        worse = {
            name: -each if "up_" in name else each
            for name, each in found.tensors.items()
        }
        made = submodel_file.create(
            found.layout,
            worse,
            base_fingerprint=found.metadata.base_fingerprint,
            speaker=speaker,
        )
        submodel_file.save(folder / f"{speaker}.safetensors", made)
    run = train(
        speech,
        tmp_path / "run",
        "train.num_steps=2",
        "optimizer.learning_rate=1e-9",
        start_from=str(folder),
    )
    for speaker in ("ann", "bob"):
        found = loaded(run, speaker)
        assert found.layout.is_identity(found.tensors)
        figures = found.metadata.training
        assert figures["start_dev_loss"] > figures["base_dev_loss"]
        assert figures["dev_loss"] == figures["base_dev_loss"]
    assert (
        "their Submodels are the base model: ann, bob"
        in capsys.readouterr().err
    )


def test_a_run_goes_on_in_its_own_folder_with_new_recordings(
    speech, second, tmp_path, capsys
):
    run = tmp_path / "run"
    shutil.copytree(speech / "first", run)
    bob = (run / "submodels" / "bob.safetensors").read_bytes()
    own = train(speech, run, data="later", start_from=str(run))
    found = contents(own)
    # As in a folder of its own, and bob, who is gone, keeps what he has.
    assert found == contents(second) | {"bob.safetensors": bob}
    assert list(own.read_experiment()["data"]) == ["ann", "cy"]
    # The same command has nothing more to do, nor has one without the flag.
    for start_from in (str(run), ""):
        assert (
            contents(train(speech, run, data="later", start_from=start_from))
            == found
        )
    # New recordings go on from there.
    again = train(speech, run, start_from=str(run))
    ann = loaded(again, "ann").metadata
    assert ann.started_from["sha256"] == loaded(second, "ann").metadata.sha256
    assert len(heard.unpack(ann.heard)) == 10


@pytest.mark.parametrize("own", [False, True])
def test_an_interrupted_run_does_not_start_again_from_its_start(
    speech, second, tmp_path, monkeypatch, own
):
    source = tmp_path / "source"
    shutil.copytree(speech / "first", source)
    run = source if own else tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(
            trainer.Trainer, "_train_leg", test_program.interrupt_second_leg
        )
        with pytest.raises(preemption.Stopped):
            train(speech, run, data="later", start_from=str(source))
    if not own:
        # The run has copies of its own.
        shutil.rmtree(source)
    expected = contents(second)
    found = contents(train(speech, run, data="later"))
    assert {name: found[name] for name in expected} == expected


def test_an_unfinished_run_is_finished_before_its_speakers_go_on(
    speech, tmp_path, monkeypatch
):
    run = tmp_path / "run"
    original = trainer.Trainer._take_turns

    def interrupted(self, progress):
        original(self, progress)
        if os.listdir(run / "submodels"):
            self._notice.number = 2

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_take_turns", interrupted)
        with pytest.raises(preemption.Stopped):
            train(speech, run)
    tiny.recordings(tmp_path / "more", ["ann", "bob", "cy"], 5, seed=0)
    with pytest.raises(ValueError, match="the run is not finished: "):
        train(
            speech,
            run,
            start_from=str(run),
            train_manifest=str(tmp_path / "more" / "train.jsonl"),
            dev_manifest=str(speech / "dev.jsonl"),
        )


def test_a_base_interrupted_while_it_is_measured_costs_nothing(
    speech, second, tmp_path, monkeypatch
):
    """The rows are the base model then, and are saved so."""
    original = trainer.Trainer._dev_losses

    def interrupted(self, slots):
        found = original(self, slots)
        self._notice.number = 2
        self._save_if_due()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(trainer.Trainer, "_dev_losses", interrupted)
        with pytest.raises(preemption.Stopped):
            train(
                speech,
                tmp_path / "run",
                data="later",
                start_from=str(speech / "first"),
            )
    assert contents(train(speech, tmp_path / "run", data="later")) == contents(
        second
    )


def test_with_others_as_alone(speech, second, tmp_path):
    """Law 2, given the start."""
    for name in ("train", "dev"):
        path = speech / "later" / f"{name}.jsonl"
        lines = [
            line for line in path.read_text().splitlines() if '"ann"' in line
        ]
        (speech / "later" / f"only_{name}.jsonl").write_text("\n".join(lines))
    alone = train(
        speech,
        tmp_path / "alone",
        train_manifest=str(speech / "later" / "only_train.jsonl"),
        dev_manifest=str(speech / "later" / "only_dev.jsonl"),
        start_from=str(speech / "first"),
    )
    assert (
        contents(alone)["ann.safetensors"]
        == contents(second)["ann.safetensors"]
    )


def test_speakers_who_wait_for_a_row_start_from_theirs_too(speech, tmp_path):
    overrides = ["train.num_steps=2", "train.eval_every_steps=1"]
    expected = contents(
        train(
            speech, tmp_path / "a", *overrides, start_from=str(speech / "first")
        )
    )
    found = contents(
        train(
            speech,
            tmp_path / "b",
            *overrides,
            "train.resident_speakers=1",
            start_from=str(speech / "first"),
        )
    )
    assert found == expected


def test_a_folder_and_a_store_are_as_good_as_a_run(speech, second, tmp_path):
    first = model_directory.ModelDirectory(str(speech / "first"))
    folder, root = tmp_path / "files", tmp_path / "store"
    shutil.copytree(first.submodels, folder)
    # The file alone says whose Submodel it is.
    (folder / "ann.safetensors").rename(folder / "some-name.safetensors")
    store = submodel_store.SubmodelStore(root)
    for name, data in contents(first).items():
        store.publish(data, "clinic", name.partition(".")[0])
    for kind, changes in (
        ("folder", {"start_from": str(folder)}),
        ("store", {"start_from": str(root), "tenant": "clinic"}),
    ):
        run = train(speech, tmp_path / kind, data="later", **changes)
        ann = loaded(run, "ann")
        assert ann.metadata.started_from["source"] == kind
        np.testing.assert_array_equal(ann.vector, loaded(second, "ann").vector)


def test_a_submodel_of_zeros_is_where_nobody_can_start(speech, tmp_path):
    """All gradients there are zero: it would never learn."""
    first = loaded(model_directory.ModelDirectory(str(speech / "first")), "ann")
    folder = tmp_path / "files"
    folder.mkdir()
    zeros = {name: 0.0 * each for name, each in first.tensors.items()}
    made = submodel_file.create(
        first.layout,
        zeros,
        base_fingerprint=first.metadata.base_fingerprint,
        speaker="ann",
    )
    submodel_file.save(folder / "ann.safetensors", made)
    run = train(
        speech, tmp_path / "run", start_from=str(folder), speakers=["ann"]
    )
    from_base = loaded(
        model_directory.ModelDirectory(str(speech / "first")), "ann"
    )
    np.testing.assert_array_equal(loaded(run, "ann").vector, from_base.vector)


def damaged(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def test_what_nobody_can_start_from_is_refused(speech, tmp_path):
    first = speech / "first"
    empty, other, renamed, twice, altered, unfinished = (
        tmp_path / name
        for name in (
            "empty",
            "other",
            "renamed",
            "twice",
            "altered",
            "unfinished",
        )
    )
    empty.mkdir()
    tiny.base(seed=1).save(str(tmp_path / "other_base"))
    train(
        speech,
        other,
        "train.num_steps=2",
        base_path=str(tmp_path / "other_base"),
    )
    for copy in (renamed, altered, unfinished):
        shutil.copytree(first, copy)
    shutil.move(
        renamed / "submodels" / "bob.safetensors",
        renamed / "submodels" / "ann.safetensors",
    )
    damaged(altered / "submodels" / "ann.safetensors")
    shutil.rmtree(unfinished / "submodels")
    shutil.copytree(first / "submodels", twice)
    shutil.copy(twice / "ann.safetensors", twice / "second.safetensors")
    store = submodel_store.SubmodelStore(tmp_path / "store")
    store.publish(
        contents(model_directory.ModelDirectory(str(first)))["ann.safetensors"],
        "clinic",
        "ann",
    )
    for changes, message in (
        (
            {"start_from": str(tmp_path / "none")},
            "none does not exist; it takes",
        ),
        ({"start_from": str(speech / "train.jsonl")}, "is a file; it takes"),
        ({"start_from": str(empty)}, "no Submodel is in .*empty"),
        ({"start_from": str(unfinished)}, "no Submodel is in .*unfinished"),
        ({"start_from": str(other)}, "speaker 'ann': made for another base"),
        ({"start_from": str(altered)}, "speaker 'ann': .*altered"),
        (
            {"start_from": str(renamed)},
            "named after 'ann' is the Submodel of 'bob'",
        ),
        ({"start_from": str(twice)}, "two Submodels of 'ann'"),
        ({"start_from": store.root}, "is a store; --tenant says whose"),
        (
            {"start_from": store.root, "tenant": "zoo"},
            "no Submodel is in .*'zoo'",
        ),
        ({"start_from": str(first), "tenant": "zoo"}, "is none"),
        (
            {
                "start_from": str(first),
                "train_manifest": str(tmp_path / "zoe.jsonl"),
            },
            "nobody in the manifests has a Submodel",
        ),
    ):
        lines = (speech / "train.jsonl").read_text()
        lines = lines.replace('"ann"', '"zoe"').replace('"bob"', '"yan"')
        lines = lines.replace('"train_', f'"{speech}/train_')
        (tmp_path / "zoe.jsonl").write_text(lines)
        with pytest.raises(ValueError, match=message):
            train(speech, tmp_path / "run", **changes)
        assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="must be adapter bottleneck_dim=3"):
        train(
            speech,
            tmp_path / "run",
            "adapter.bottleneck_dim=3",
            start_from=str(first),
        )
    experiment = registry.get("conformer.TinyEmbedding")
    with pytest.raises(ValueError, match="--start_from is for speakers who"):
        training_program.train(
            "conformer.TinyEmbedding",
            experiment,
            str(speech / "train.jsonl"),
            str(tmp_path / "run"),
            start_from=str(first),
        )
    # A run that began elsewhere stays what it is.
    before = contents(model_directory.ModelDirectory(str(first)))
    with pytest.raises(
        ValueError, match="--start_from: saved none, now .*other"
    ):
        train(speech, first, start_from=str(other))
    assert contents(model_directory.ModelDirectory(str(first))) == before


def test_nothing_that_was_heard_is_tested_on(speech, second, tmp_path, capsys):
    lines = []
    for data, name in (("", "train"), ("later", "train"), ("later", "dev")):
        folder = speech / data
        for line in (folder / f"{name}.jsonl").read_text().splitlines():
            fields = json.loads(line)
            # A recording keeps its content in another file.
            source = folder / fields["audio_filepath"]
            path = tmp_path / f"{data}{source.name}"
            shutil.copy(source, path)
            if fields["speaker"] != "bob":
                fields |= {"audio_filepath": str(path), "utt_id": path.stem}
                lines.append(fields)
    test_program.write_lines(tmp_path / "test.jsonl", lines)
    found = api.evaluate(second.path, str(tmp_path / "test.jsonl"))
    # Of ann 5 and 5, of cy 5; dev speech taught no weight anything.
    assert found.summary["num_heard_left_out"] == 15
    assert {
        r["speaker"]: r["num_utterances"] for r in found.summary["speakers"]
    } == {"ann": 2, "cy": 2}
    assert (
        "15  the speaker's Submodel, or their cohort's, learned from this"
        in capsys.readouterr().err
    )
    page = pathlib.Path(found.report).read_text()
    assert "15 utterances left out:\nthe speaker's Submodel had" in page
    with pytest.raises(ValueError, match="nothing is left to evaluate"):
        api.evaluate(second.path, str(speech / "later" / "train.jsonl"))


def test_whoever_withdraws_leaves_no_start_behind(speech, second, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(second.path, run)
    assert os.listdir(run / "started_from") == ["ann.safetensors"]
    found = withdrawal.withdraw(str(run), "ann")
    assert "started_from/ann.safetensors" in found.removed
    assert os.listdir(run / "started_from") == []
    assert "ann" not in (run / "experiment.json").read_text()
