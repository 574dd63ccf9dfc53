"""Without a dev manifest, dev speech comes from what there is."""

import random

import pytest

from lingvo_like.submodel import heard
from tests import tiny
from tests.tasks.asr.training import compiled_once, test_program, tiny_jobs

WORDS = "on off go up no stop in it at to by my".split()


@pytest.fixture(scope="module", autouse=True)
def _compiled_once():
    with compiled_once.sharing():
        yield


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    tiny.recordings(folder, ("ann", "bob"), 12)
    # Of one phrase each; a phrase is held out as a whole.
    lines = test_program.lines_of(folder / "train.jsonl")
    for number, line in enumerate(lines):
        line["text"] = WORDS[number % 12]
    test_program.write_lines(folder / "train.jsonl", lines)
    tiny.base().save(str(folder / "base"))
    return folder


def train(folder, run, *overrides, **changes):
    return tiny_jobs.train(
        folder, run, "train.num_steps=4", *overrides, has_dev=False, **changes
    )


@pytest.fixture(scope="module")
def held(speech):
    return train(speech, speech / "held")


def test_a_share_of_each_speakers_speech_is_held_out_and_said(
    speech, held, capsys
):
    found = tiny_jobs.loaded(held, "ann").metadata
    assert found.training["train_utterances"] == 10
    assert found.training["base_dev_loss"] is not None
    # Nobody learned from it, and it is no phrase that training has seen.
    assert len(heard.unpack(found.heard)) == 10
    assert len(held.read_texts()["ann"]) == 10
    train(speech, held.path)
    assert (
        "4 utterances of 2 speakers are held out as dev speech, 2 of each "
        "(--dev=none holds out none)"
    ) in capsys.readouterr().out


def test_nobody_comes_out_worse_than_the_base_unseen(speech, tmp_path, capsys):
    """A learning rate that ruins whatever learns with it."""
    ruin = "optimizer.learning_rate=1000"
    kept = train(speech, tmp_path / "held", ruin)
    for speaker in ("ann", "bob"):
        found = tiny_jobs.loaded(kept, speaker)
        assert found.layout.is_identity(found.tensors)
    assert "their Submodels are the base model: ann, bob" in (
        capsys.readouterr().err
    )
    ruined = train(speech, tmp_path / "none", ruin, dev="none")
    found = tiny_jobs.loaded(ruined, "ann")
    assert not found.layout.is_identity(found.tensors)
    assert found.metadata.training["train_utterances"] == 12


def test_neither_neighbours_nor_the_order_of_lines_matter(
    speech, held, tmp_path
):
    """Law 2."""
    lines = test_program.lines_of(speech / "train.jsonl")
    lines = [line for line in lines if line["speaker"] == "ann"]
    random.Random(0).shuffle(lines)
    test_program.write_lines(speech / "only_ann.jsonl", lines)
    alone = train(
        speech,
        tmp_path / "alone",
        train_manifest=str(speech / "only_ann.jsonl"),
    )
    found = tiny_jobs.contents(alone)["ann.safetensors"]
    assert found == tiny_jobs.contents(held)["ann.safetensors"]


def test_a_run_keeps_to_its_dev_speech(speech, held):
    before = tiny_jobs.contents(held)
    with pytest.raises(
        ValueError, match="dev speech: saved held out, now none"
    ):
        train(speech, held.path, dev="none")
    with pytest.raises(ValueError, match="train.dev_share: saved 0.1, now 0.3"):
        train(speech, held.path, "train.dev_share=0.3")
    assert tiny_jobs.contents(held) == before


def test_dev_speech_is_held_out_or_given_and_not_both(speech, tmp_path):
    with pytest.raises(ValueError, match="--dev=none trains without dev"):
        train(
            speech,
            tmp_path / "run",
            dev="none",
            dev_manifest=str(speech / "train.jsonl"),
        )
    with pytest.raises(ValueError, match="must be one of auto, none"):
        train(speech, tmp_path / "run", dev="some")
