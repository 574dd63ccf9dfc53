"""Paired block bootstrap over speakers, then utterances.

Liu & Peng 2020, "Statistical Testing on ASR Performance via Blockwise
Bootstrap" (arXiv 1912.09508). The utterances of a speaker are not independent,
so speakers are drawn first, with replacement, and then the utterances of each
speaker drawn. Both systems are scored on the same draw: the pairing is what
makes the interval of a difference narrow.
"""

import hashlib
from collections import abc

import numpy as np

CONFIDENCE = 0.95
# Utterances of an interval: all resamples of a single one are the same.
FEWEST = 2

# Most utterances that are drawn at a time: 64 MB of indices and counts.
_MAX_DRAWN = 2_000_000


def _generator(seed, *keys):
    # Keyed by name, so that a speaker's interval does not depend on who else is
    # scored. Python's hash() would differ between processes.
    digest = hashlib.sha256("\0".join(keys).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


def speaker_rates(
    speaker: str,
    words: np.ndarray,
    errors: np.ndarray,
    num_bootstrap: int,
    seed: int,
) -> np.ndarray:
    """One speaker's error rates under resampling of the utterances.

    Args:
        speaker: keys the random stream.
        words: `[utterances]` int, at least 1 each.
        errors: `[utterances, systems]`, of systems that heard the same; NaN
            where one heard nothing.

    Returns:
        `[num_bootstrap, systems]` float64, errors pooled over words.
    """
    random = _generator(seed, "utterances", speaker)
    num_utterances = len(words)
    rows = max(1, _MAX_DRAWN // num_utterances)
    sums = []
    for start in range(0, num_bootstrap, rows):
        size = (min(rows, num_bootstrap - start), num_utterances)
        drawn = random.integers(num_utterances, size=size)
        # One column at a time: five times as fast as a sum of rows of three.
        sums.append([c[drawn].sum(axis=1) for c in (*errors.T, words)])
    if not sums:
        return np.zeros((0, errors.shape[1]))
    *systems, total = np.concatenate(sums, axis=1)
    return np.stack([system / total for system in systems], axis=1)


def draw_speakers(
    speakers: abc.Iterable[str], rates: np.ndarray, seed: int
) -> np.ndarray:
    """Draws a group's speakers and the utterances of each.

    Args:
        speakers: ids, which key the random stream: the same speakers have the
            same interval whatever their group is called.
        rates: `[speakers, num_bootstrap, systems]`, from `speaker_rates`.

    Returns:
        `[num_bootstrap, speakers, systems]`: each row is one resampled group.
    """
    random = _generator(seed, "speakers", *speakers)
    num_speakers, num_bootstrap, _ = rates.shape
    shape = (num_bootstrap, num_speakers)
    # A speaker drawn twice gets two draws of utterances, not one draw twice.
    return rates[
        random.integers(num_speakers, size=shape),
        random.integers(num_bootstrap, size=shape) if num_bootstrap else 0,
    ]


def interval(values: np.ndarray) -> list[float] | None:
    """The percentile interval of resampled values at `CONFIDENCE`.

    Args:
        values: `[num_bootstrap]` float; NaN where the resample left the
            statistic undefined.

    Returns:
        `[low, high]`; None where no resample defined the statistic.
    """
    values = np.asarray(values)
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(values, [tail, 100 - tail])
    return [float(low), float(high)]
