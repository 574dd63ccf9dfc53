"""The effects of a simulated disorder on recordings of a human voice.

Five alterations, after what distinguishes dysarthric from typical speech: it is
slower, its vowels and consonants do not reach their places, its voice trembles
and is breathy, and it stops within phrases. How hard an altered voice is to
recognise does not follow from the numbers: measure it.
"""

import dataclasses
from collections import abc

from tasks.asr.simulator import voices

ALTERATIONS = ("rate", "undershoot", "breath", "tremor", "pauses")
# Without a typical one: those are the recordings themselves.
SEVERITIES = tuple(name for name in voices.SEVERITIES if name != "typical")


@dataclasses.dataclass(frozen=True)
class Disorder:
    """The parameters of one altered speaker; the defaults alter nothing.

    Attributes:
        speaker: the altered speaker's id.
        altered_from: that of the human whose recordings they are.
        severity: one of `SEVERITIES`.
        rate: tempo, of the recording's; the pitch stays.
        undershoot: how far the spectral envelope falls short of its way from
            the utterance's mean, 0 to 1.
        smear_seconds: width of the Gaussian by which the envelope is late.
        breath: aspiration noise, of the amplitude of the voice.
        tremor_hertz: how often the voice trembles in a second.
        tremor_depth: of the loudness, 0 to 1.
        pitch_tremor: of the pitch, as a fraction of it.
        pause_rate: probability of a pause between two syllables.
        pause_seconds: mean length of a pause.
    """

    speaker: str = ""
    altered_from: str = ""
    severity: str = ""
    rate: float = 1.0
    undershoot: float = 0.0
    smear_seconds: float = 0.0
    breath: float = 0.0
    tremor_hertz: float = 5.5
    tremor_depth: float = 0.0
    pitch_tremor: float = 0.0
    pause_rate: float = 0.0
    pause_seconds: float = 0.0


def draw(
    seed: int,
    speaker: str,
    severity: str,
    alterations: abc.Collection[str] = ALTERATIONS,
) -> Disorder:
    """Draws the disorder of a speaker; the same call gives the same one.

    The severities of a speaker share their random draws, so that each is the
    same disorder, further on.

    Args:
        speaker: id of the human.
        alterations: the others keep their defaults, and change no draw.

    Raises:
        ValueError: an unknown severity or alteration.
    """
    voices.check_known([severity], SEVERITIES, "severity")
    voices.check_known(alterations, ALTERATIONS, "alteration")
    rng = voices.stream(seed, speaker, "disorder")
    strength, _ = voices.SEVERITIES[severity]
    drawn = {
        "rate": {"rate": 1 - 0.5 * strength * rng.uniform(0.7, 1)},
        "undershoot": {
            "undershoot": 0.8 * strength**0.6 * rng.uniform(0.9, 1),
            "smear_seconds": 0.03 * strength * rng.uniform(0.5, 1),
        },
        "breath": {"breath": 0.5 * strength * rng.uniform(0.5, 1)},
        "tremor": {
            "tremor_hertz": rng.uniform(4, 7),
            "tremor_depth": 0.6 * strength * rng.uniform(0.5, 1),
            "pitch_tremor": 0.06 * strength * rng.uniform(0.5, 1),
        },
        "pauses": {
            "pause_rate": 0.25 * strength * rng.uniform(0.7, 1),
            "pause_seconds": 0.15 + 0.3 * strength,
        },
    }
    values = {}
    for name in alterations:
        values |= drawn[name]
    return Disorder(
        speaker=f"{speaker}-{severity}",
        altered_from=speaker,
        severity=severity,
        **{name: float(value) for name, value in values.items()},
    )
