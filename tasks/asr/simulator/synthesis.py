"""Speech from phonemes with espeak-ng, then what a speaker does to it.

espeak-ng carries state from one call to the next, so every call that matters
runs in a forked child of a process that only initialised it; a child answers
through a pipe and ends without clean-up.
"""

import ctypes
import functools
import importlib
import importlib.metadata
import os
import sys
from collections import abc
from typing import Any

import numpy as np
import soxr

from tasks.asr.simulator import phonology, voices

SAMPLE_RATE = 16000
TREMOR_HERTZ = 5.5
_PEAK = 0.7 * 32767

# Constants of espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_CHARS_UTF8 = 0x1
_INPUT_PHONEMES = 0x100
_RATE, _PITCH, _RANGE, _WORDGAP = 1, 3, 4, 7
_PHONEMES_SPLIT_BY_UNDERSCORE = ord("_") << 8
_SYNTH_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)


def engine() -> str:
    """The installed engine's name and version.

    Raises:
        ValueError: the optional package is not installed, or cannot run here.
    """
    if not hasattr(os, "fork"):
        raise ValueError(
            f"simulating speech needs os.fork, which {sys.platform} does not "
            "have; run it on Linux or macOS and copy the folder."
        )
    package = "espeakng-loader"
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        raise ValueError(
            "simulating speech needs the package espeakng-loader; install it "
            "with: pip install -e '.[simulate]'"
        ) from None


@functools.cache
def _espeak() -> tuple[ctypes.CDLL, int]:
    """The library, initialised, and its sample rate."""
    engine()
    loader = importlib.import_module("espeakng_loader")
    library = ctypes.CDLL(loader.get_library_path())
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_Synth.argtypes = (
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.c_uint,
        ctypes.c_void_p,
        ctypes.c_void_p,
    )
    sample_rate = library.espeak_Initialize(
        _AUDIO_OUTPUT_SYNCHRONOUS, 0, loader.get_data_path().encode(), 0
    )
    if sample_rate <= 0:
        raise OSError(
            f"espeak-ng did not start with its data in "
            f"{loader.get_data_path()}; reinstall espeakng-loader."
        )
    return library, sample_rate


def _in_child(function: abc.Callable[..., bytes], *args: object) -> bytes:
    """The bytes that `function(*args)` returns in a forked child."""
    _espeak()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(read_end)
            with os.fdopen(write_end, "wb") as pipe:
                pipe.write(function(*args))
            status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        answer = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise OSError(
            f"espeak-ng failed with status {status} in "
            f"{function.__name__.strip('_')}{args!r}"
        )
    return answer


def lexicon(words: abc.Sequence[str]) -> phonology.Lexicon:
    answer = _in_child(_phonemes, tuple(words)).decode()
    return {
        word: [phoneme for phoneme in line.split("_") if phoneme.strip(": \n")]
        for word, line in zip(words, answer.split("\n"), strict=True)
    }


def _phonemes(words: abc.Iterable[str]) -> bytes:
    library, _ = _espeak()
    library.espeak_SetVoiceByName(b"en-us")
    texts = [ctypes.c_char_p(word.encode()) for word in words]
    return b"\n".join(
        library.espeak_TextToPhonemes(
            ctypes.byref(text), _CHARS_UTF8, _PHONEMES_SPLIT_BY_UNDERSCORE
        )
        for text in texts
    )


def pronounce(
    speaker: voices.Speaker,
    text: str,
    word_phonemes: phonology.Lexicon,
    rng: np.random.Generator,
) -> tuple[str, str]:
    """Draws one pronunciation of a text by a speaker.

    Returns:
        the words' phonemes alone, a string to compare; and the script that
        espeak-ng is to say, repetitions and pauses included.
    """
    words, script = [], []
    for word in text.split():
        said = phonology.apply(word_phonemes[word], speaker.processes, rng)
        words.append(" ".join(said))
        if rng.random() < speaker.repetition_rate and len(said) > 1:
            said = [*said[:2], "_:", *said]
        script.append("".join(said))
        if rng.random() < speaker.pause_rate:
            script.append("_:_:")
    return " | ".join(words), " ".join(script)


def synthesize(
    speaker: voices.Speaker, script: str, rng: np.random.Generator
) -> np.ndarray:
    """A script as the speaker says it: `[samples]` int16 at `SAMPLE_RATE`.

    Args:
        rng: for the noise.
    """
    _, sample_rate = _espeak()
    audio = np.frombuffer(_in_child(_speak, speaker, script), np.int16)
    audio = soxr.resample(
        audio.astype(np.float64), sample_rate, SAMPLE_RATE / speaker.warp
    )
    time = np.arange(len(audio)) / SAMPLE_RATE
    tremor = 0.5 + 0.5 * np.sin(2 * np.pi * TREMOR_HERTZ * time)
    audio = audio * (1 - speaker.tremor_depth * tremor)
    noise_power = np.mean(audio**2) / 10 ** (speaker.signal_to_noise_db / 10)
    audio = audio + rng.standard_normal(len(audio)) * np.sqrt(noise_power)
    audio = audio / max(1.0, np.max(np.abs(audio))) * _PEAK
    return np.round(audio).astype(np.int16)


def _speak(speaker: voices.Speaker, script: str) -> bytes:
    library, _ = _espeak()
    chunks = []

    @_SYNTH_CALLBACK
    def collect(samples: Any, count: int, _: Any) -> int:
        if samples and count > 0:
            chunks.append(ctypes.string_at(samples, 2 * count))
        return 0

    library.espeak_SetSynthCallback(collect)
    if library.espeak_SetVoiceByName(speaker.voice.encode()):
        raise ValueError(f"espeak-ng has no voice {speaker.voice!r}")
    for parameter, value in (
        (_RATE, speaker.words_per_minute),
        (_PITCH, speaker.pitch),
        (_RANGE, speaker.pitch_range),
        (_WORDGAP, speaker.word_gap),
    ):
        library.espeak_SetParameter(parameter, value, 0)
    text = f"[[{script}]]".encode()
    if library.espeak_Synth(
        text, len(text) + 1, 0, 1, 0, _CHARS_UTF8 | _INPUT_PHONEMES, None, None
    ):
        raise OSError("espeak-ng did not synthesise")
    library.espeak_Synchronize()
    if not chunks:
        raise OSError("espeak-ng returned no audio")
    return b"".join(chunks)


def utterance(
    speaker: voices.Speaker,
    text: str,
    number: int,
    seed: int,
    word_phonemes: phonology.Lexicon,
) -> tuple[str, np.ndarray]:
    """One utterance, from streams of its own: (seed, speaker, utterance).

    Args:
        number: counts the speaker's utterances.
        seed: of the corpus.

    Returns:
        phonemes, a string to compare, and audio, `[samples]` int16.
    """
    rng = voices.stream(seed, speaker.speaker, number)
    phonemes, script = pronounce(speaker, text, word_phonemes, rng)
    return phonemes, synthesize(speaker, script, rng)
