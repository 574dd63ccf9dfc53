"""What a job needs, in words."""

import pytest

from tasks.asr.estimates import needs


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 second"),
        (40.4, "40 seconds"),
        (360, "6 minutes"),
        (3.5 * 3600, "3.5 hours"),
    ],
)
def test_a_time_is_given_in_the_unit_that_suits_it(seconds, words):
    assert needs.duration(seconds) == words
