"""A simulated speaker: a voice, a severity and what follows from it.

The rates follow from a severity, but how hard a speaker is to recognise does
not follow from the rates: bin speakers by the measured error rate of a base
model, and never read the severity as clinical evidence.
"""

import dataclasses
import hashlib
from collections import abc

import numpy as np

from lingvo_like import hyperparams
from tasks.asr.simulator import phonology

# espeak-ng voice variants; those with a `breath` setting are random from run
# to run and are left out, and so are robots and whispers.
VARIANTS = tuple(
    "m1 m2 m3 m4 m5 m6 m7 m8 f1 f4 Alex Andy Annie Gene Lee Mario Michael "
    "Mike Reed Andrea Hugo Denis adam anika belinda benjamin caleb david ed "
    "edward gustave ian john linda marcelo max paul quincy rob robert shelby "
    "steph travis zac".split()
)

# How strong everything is, 0 to 1, and how many processes a speaker has.
SEVERITIES = {
    "typical": (0.0, 0),
    "mild": (0.25, 2),
    "moderate": (0.55, 4),
    "severe": (0.9, 6),
}


@dataclasses.dataclass(frozen=True)
class Speaker:
    """The parameters of one simulated speaker."""

    speaker: str
    severity: str
    # An espeak-ng voice with its variant, such as "en-us+m1".
    voice: str
    # From a name in phonology.PROCESSES to a probability.
    processes: dict[str, float]
    words_per_minute: int
    # espeak-ng's own scales, 0 to 99; 50 is the voice's own.
    pitch: int
    pitch_range: int
    # Silence after each word, in 10 ms.
    word_gap: int
    # Probabilities after, and at, each word.
    pause_rate: float
    repetition_rate: float
    # Depth of a 5.5 Hz amplitude modulation, 0 to 1.
    tremor_depth: float
    signal_to_noise_db: float
    # Above 1 is shorter and higher, by this factor.
    warp: float


def stream(*key: object) -> np.random.Generator:
    """The random stream of a key: the same in every process and release."""
    digest = hashlib.sha256("|".join(map(str, key)).encode()).digest()
    return np.random.Generator(
        np.random.PCG64(int.from_bytes(digest[:8], "big"))
    )


def check_known(
    names: abc.Iterable[str], known: abc.Iterable[str], what: str
) -> None:
    """Raises a ValueError that lists near names for the first unknown one."""
    for name in names:
        if name not in known:
            raise ValueError(
                f"unknown {what} {name!r}. "
                f"{hyperparams.did_you_mean(name, known)}"
            )


def draw(
    seed: int,
    speaker: str,
    severity: str,
    variant: str,
    processes: abc.Sequence[str] = phonology.PROCESSES,
) -> Speaker:
    """Draws a speaker's parameters; the same call gives the same speaker.

    Args:
        seed: of the corpus; with the speaker's id it keys the random stream.
        processes: to choose from.

    Raises:
        ValueError: an unknown severity, variant or process.
    """
    check_known([severity], SEVERITIES, "severity")
    check_known([variant], VARIANTS, "voice")
    check_known(processes, phonology.PROCESSES, "process")
    rng = stream(seed, speaker, "parameters")
    strength, num_processes = SEVERITIES[severity]
    chosen = rng.permutation(processes)[:num_processes]
    rates = {
        str(name): float(np.clip(strength * rng.uniform(0.7, 1.2), 0, 1))
        for name in chosen
    }
    # At full rate every vowel is a schwa and no word is left to recognise.
    if "centralise" in rates:
        rates["centralise"] *= 0.5
    return Speaker(
        speaker=speaker,
        severity=severity,
        voice=f"en-us+{variant}",
        processes=rates,
        words_per_minute=int(175 * (1 - 0.5 * strength * rng.uniform(0.6, 1))),
        pitch=int(rng.integers(25, 75)),
        pitch_range=int(50 * (1 - 0.8 * strength)),
        word_gap=round(12 * strength * rng.random()),
        pause_rate=0.15 * strength,
        repetition_rate=0.1 * strength * rng.random(),
        tremor_depth=0.5 * strength * rng.random(),
        signal_to_noise_db=40 - 20 * strength * rng.random(),
        warp=float(rng.uniform(0.9, 1.1)),
    )
