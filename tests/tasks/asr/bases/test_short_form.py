"""The short-context form is made once, of training speech, and found again."""

import fcntl
import json
import os
import threading

import pytest

from lingvo_like import cache
from lingvo_like.base_models.whisper import model as whisper
from params import bases
from tasks.asr import base_loading, kept_bases
from tasks.asr.bases import context_shortening, short_form
from tasks.asr.training import preemption
from tests import tiny
from tests.lingvo_like.base_models.whisper import whisper_bases

VALUES = bases.Whisper("short", language="en")


@pytest.fixture
def speech(tmp_path, monkeypatch):
    """A Whisper of 30 s, recordings, and a cache of its own."""
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "cache"))
    recipe = bases.ContextShortening(num_steps=3, utterances_per_step=2)
    monkeypatch.setattr(kept_bases, "RECIPE", recipe)
    tiny.recordings(tmp_path, ("ann",), 4)
    whisper_bases.small(positions=80).save(tmp_path / "base")
    return tmp_path


def find_or_make(folder, **more):
    return short_form.find_or_make(
        VALUES, str(folder / "base"), str(folder / "train.jsonl"), **more
    )


def load(path):
    return whisper.load(path, max_tokens=8)


def test_it_is_made_once_and_every_command_finds_it(speech, capsys):
    path = find_or_make(speech)
    told = capsys.readouterr().out
    assert f"it is kept in {path}" in told and "made in" in told
    os.remove(speech / "train.jsonl")
    # With other speech, too, which is not read.
    assert find_or_make(speech) == path
    assert capsys.readouterr().out == (
        f"base model: {path}, the short-context form of {speech / 'base'}\n"
    )
    loaded = base_loading.load(VALUES, str(speech / "base"))
    assert loaded.fingerprint() == load(path).fingerprint()
    with open(os.path.join(path, "made_of.json")) as file:
        made_of = json.load(file)
    assert made_of["speakers"] == ["ann"] and made_of["utterances"] == 4
    names = os.listdir(speech / "cache" / "short_bases")
    assert [name for name in names if "unfinished" in name] == []


def test_a_base_that_fits_is_taken_as_it_is(speech):
    short = whisper_bases.small(audio_context="short")
    short.save(speech / "short")
    taken = short_form.find_or_make(VALUES, str(speech / "short"), "none")
    assert taken == str(speech / "short")
    full = bases.Whisper(language="en")
    taken = short_form.find_or_make(full, str(speech / "base"), "none")
    assert taken == str(speech / "base")
    assert not (speech / "cache").exists()


def test_several_processes_are_told_to_make_it_first(speech):
    with pytest.raises(ValueError, match="tasks.shorten_context"):
        find_or_make(speech, may_make=False)


def test_a_cache_that_cannot_be_written_names_the_variable(speech):
    (speech / "cache").write_text("mine")
    with pytest.raises(OSError, match="SUBMODELS_CACHE names another"):
        find_or_make(speech)


def test_an_interruption_goes_on_to_the_same_base(speech, monkeypatch, capsys):
    whole = load(find_or_make(speech)).fingerprint()
    os.rename(speech / "cache", speech / "cache_of_one_go")

    class AfterTwoSteps(preemption.Notice):
        """Is given as the second step ends."""

        asked = 0

        @property
        def given(self):
            self.asked += 1
            return self.asked > 2

    with monkeypatch.context() as patch:
        patch.setattr(preemption, "Notice", AfterTwoSteps)
        with pytest.raises(preemption.Stopped):
            find_or_make(speech)
    assert not os.path.isdir(kept_bases.path_of(str(speech / "base")))
    steps = []
    make_step = context_shortening._make_step

    def counted(*arguments):
        step, state = make_step(*arguments)
        return lambda *batch: steps.append(1) or step(*batch), state

    monkeypatch.setattr(context_shortening, "_make_step", counted)
    assert load(find_or_make(speech)).fingerprint() == whole
    assert 0 < len(steps) < 3


def test_a_job_waits_for_another_that_makes_the_same(speech, capsys):
    path = kept_bases.path_of(str(speech / "base"))
    os.makedirs(os.path.dirname(path))
    made = []
    with open(f"{path}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = threading.Thread(
            target=lambda: made.append(find_or_make(speech))
        )
        waiting.start()
        waiting.join(timeout=0.2)
        # The other job ends with the form in place.
        short = whisper_bases.small(seed=3, audio_context="short")
        short.save(path)
    waiting.join(timeout=60)
    assert made == [path]
    loaded = load(path)
    assert loaded.fingerprint() == short.fingerprint()


def test_some_utterances_are_of_all_speakers_alike(tmp_path):
    class Each:
        def __init__(self, speaker, number):
            self.speaker, self.number = speaker, number

    many = [Each("ann", i) for i in range(50)] + [Each("bob", 0)]
    many += [Each("cy", i) for i in range(9)]
    chosen = context_shortening.some(many, 11)
    speakers = [each.speaker for each in chosen]
    assert [speakers.count(s) for s in ("ann", "bob", "cy")] == [5, 1, 5]
    assert chosen == context_shortening.some(many, 11)
    assert len(context_shortening.some(many, 0)) == 60
