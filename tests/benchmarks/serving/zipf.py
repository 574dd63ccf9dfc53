"""Zipf traffic, and what no cache or an ideal one could make of it."""

import collections

import numpy as np


def probabilities(num_users, exponent):
    """`[num_users]` probabilities, the most frequent user first."""
    weights = np.arange(1, num_users + 1, dtype=np.float64) ** -exponent
    return weights / weights.sum()


def sequence(chances, count, seed):
    """`[count]` int, users drawn independently."""
    draw = np.random.default_rng(seed)
    return draw.choice(len(chances), size=count, p=chances)


def static_bound(chances, num_rows):
    """Hit rate of a cache that holds the most frequent users for good.

    No cache that does not know the future does better in the long run when
    requests are independent.
    """
    return float(np.sort(chances)[::-1][:num_rows].sum())


def lru_expected(chances, num_rows):
    """Hit rate of least-recently-used, by Che et al.'s approximation (2002).

    The characteristic time T solves sum(1 - exp(-p T)) = num_rows; a request
    for a user hits with probability 1 - exp(-p T).
    """
    if num_rows >= len(chances):
        return 1.0
    low, high = 0.0, 1.0
    while np.sum(-np.expm1(-chances * high)) < num_rows:
        high *= 2.0
    for _ in range(100):
        middle = (low + high) / 2.0
        if np.sum(-np.expm1(-chances * middle)) < num_rows:
            low = middle
        else:
            high = middle
    return float(np.sum(chances * -np.expm1(-chances * high)))


def lru_simulated(users, num_rows, skipped):
    """Hit rate of least-recently-used on this very sequence.

    Args:
        users: `[count]` int.
        num_rows: int.
        skipped: int, how many of the first requests do not count.
    """
    rows, hits = collections.OrderedDict(), 0
    for place, user in enumerate(users):
        if user in rows:
            rows.move_to_end(user)
            hits += place >= skipped
        else:
            rows[user] = None
            if len(rows) > num_rows:
                rows.popitem(last=False)
    return hits / max(1, len(users) - skipped)
