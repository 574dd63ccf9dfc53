"""Limits check themselves, and keep what is promised of the defaults."""

import pytest

from tasks.serving.queueing import limits


def test_by_default_a_new_version_is_noticed_within_a_second():
    made = limits.Limits()
    assert made.resolve_seconds + made.patience_seconds < 1.0
    assert made.watch_seconds + made.patience_seconds < 1.0


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("queue_requests", 0, "must be positive. Received: 0"),
        ("stale_seconds", -1.0, "must be at least 0. Received: -1.0"),
        ("tenant_share", 1.5, "positive and at most 1. Received: 1.5"),
        ("request_seconds", float("nan"), "must be positive"),
    ],
)
def test_a_value_out_of_range_is_refused(name, value, message):
    with pytest.raises(ValueError, match=f"`{name}` must be") as refused:
        limits.Limits(**{name: value})
    assert message in str(refused.value)


def test_zero_turns_off_what_can_be_turned_off():
    assert limits.Limits(model_poll_seconds=0, file_cache_bytes=0)
