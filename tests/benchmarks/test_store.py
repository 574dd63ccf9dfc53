"""The store's benchmark says whether its bound holds."""

import numpy as np

from tests.benchmarks import store


def test_the_bound_is_on_the_same_speakers_in_both_stores():
    small = np.array([90.0, 100.0, 5000.0])
    good = store.ratios(small, 1.05 * small, 3 * small, 1000)
    assert good["resolve_ratio_1000"] == 1.05
    assert good["resolve_ratio_1000_any"] == 3.0
    assert good["resolve_passes"] is True
    assert good["resolve_us_p50"] == 300.0
    bad = store.ratios(small, 1.2 * small, small, 1000)
    assert bad["resolve_passes"] is False
    assert bad["resolve_ratio_at_most"] == store.RATIO_AT_MOST == 1.1
