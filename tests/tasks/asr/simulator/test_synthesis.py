"""The speech engine and what a speaker does to its audio."""

import dataclasses
import importlib.metadata

import numpy as np
import pytest

from tasks.asr.simulator import phonology, synthesis, voices

TEXT = "open the garden gate"


@pytest.fixture(scope="module")
def lexicon():
    pytest.importorskip(
        "espeakng_loader", reason="the optional wheel espeakng-loader"
    )
    return synthesis.lexicon(TEXT.split())


def speaker(severity="typical", **changes):
    drawn = voices.draw(0, "SIM000", severity, "m1")
    return dataclasses.replace(drawn, **changes)


def audio(lexicon, number=0, seed=0, text=TEXT, **changes):
    who = speaker(**changes)
    return synthesis.utterance(who, text, number, seed, lexicon)[1]


def test_lexicon_holds_phonemes_that_processes_know(lexicon):
    assert lexicon["gate"] == ["g", "'eI", "t"]
    assert [phonology.is_vowel(p) for p in lexicon["gate"]] == [0, 1, 0]


def test_same_key_gives_the_same_samples_whatever_came_before(lexicon):
    first = audio(lexicon, severity="severe")
    audio(lexicon, number=5, voice="en-us+f4", words_per_minute=90)
    assert np.array_equal(first, audio(lexicon, severity="severe"))


@pytest.mark.parametrize("change", [{"number": 1}, {"seed": 1}])
def test_another_key_gives_other_samples(lexicon, change):
    first, second = audio(lexicon), audio(lexicon, **change)
    assert first.shape != second.shape or (first != second).any()


def test_every_voice_exists_and_sounds_different(lexicon):
    heard = {
        audio(lexicon, text="gate", voice=f"en-us+{variant}").tobytes()
        for variant in voices.VARIANTS
    }
    assert len(heard) == len(voices.VARIANTS)


def test_audio_is_loud_enough_and_never_clips(lexicon):
    samples = audio(lexicon, severity="severe")
    assert samples.dtype == np.int16
    assert np.abs(samples.astype(int)).max() == round(0.7 * 32767)


def test_slow_speech_lasts_longer_and_warped_speech_shorter(lexicon):
    usual = len(audio(lexicon, warp=1.0))
    slow = audio(lexicon, warp=1.0, words_per_minute=90)
    assert len(slow) > 1.4 * usual
    assert len(audio(lexicon, warp=1.1)) == pytest.approx(usual / 1.1, abs=2)


def test_noise_has_the_ratio_asked_for(lexicon):
    clean, noisy = (
        audio(lexicon, signal_to_noise_db=ratio).astype(float)
        for ratio in (200.0, 10.0)
    )
    # Both are set to the same peak: the best gain brings them together.
    gain = noisy @ clean / (clean @ clean)
    noise = noisy - gain * clean
    ratio = np.mean((gain * clean) ** 2) / np.mean(noise**2)
    assert 10 * np.log10(ratio) == pytest.approx(10, abs=0.5)


def test_repetitions_and_pauses_are_said_but_are_not_phonology(lexicon):
    stutterer = speaker(repetition_rate=1.0, pause_rate=1.0)
    rng = np.random.default_rng(0)
    phonemes, script = synthesis.pronounce(stutterer, TEXT, lexicon, rng)
    plain, _ = synthesis.pronounce(speaker(), TEXT, lexicon, rng)
    assert phonemes == plain
    assert script.split()[-2:] == ["g'eI_:g'eIt", "_:_:"]


def test_missing_package_names_the_extra_to_install(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[simulate\]'"):
        synthesis.engine()


def test_unknown_voice_is_an_error_and_no_silence(lexicon, capfd):
    with pytest.raises(OSError, match="espeak-ng failed"):
        audio(lexicon, voice="xx-nowhere+m1")
