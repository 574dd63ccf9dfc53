"""Exactly as much as may be comes in."""

import pytest

from tasks.serving import errors, metrics
from tasks.serving.queueing import admission
from tests.tasks.serving import fake_source


def made(**changes):
    return admission.Admission(
        fake_source.changed(**changes), metrics.Metrics()
    )


def refusal(gate, tenant, sizes):
    with pytest.raises(errors.ServingError) as caught:
        gate.enter(tenant, sizes, 1.5)
    assert caught.value.code is errors.Code.RESOURCE_EXHAUSTED
    return caught.value


def test_the_limit_on_utterances_is_exact():
    gate = made(queue_requests=3)
    places = gate.enter("a", [1, 1], 1.5)
    refusal(gate, "a", [1, 1])
    places += gate.enter("a", [1], 1.5)
    assert refusal(gate, "a", [1]).retry_after_seconds == 1.5
    places[0].leave()
    places[0].leave()
    gate.enter("a", [1], 1.5)
    refusal(gate, "a", [1])
    assert gate.requests == 3


def test_the_limit_on_bytes_is_exact():
    gate = made(queue_bytes=100)
    [place] = gate.enter("a", [60], 1.5)
    refusal(gate, "b", [41])
    gate.enter("b", [40], 1.5)
    place.leave()
    assert gate.bytes == 40


def test_a_tenants_share_is_of_utterances_and_of_bytes():
    gate = made(queue_requests=10, queue_bytes=100, tenant_share=0.5)
    gate.enter("a", [1] * 5, 1.5)
    refusal(gate, "a", [1])
    gate.enter("b", [50], 1.5)
    refusal(gate, "b", [1])
    gate.enter("c", [1], 1.5)


def test_what_can_never_fit_is_not_to_be_tried_again():
    gate = made(queue_requests=3)
    assert refusal(gate, "a", [1] * 4).retry_after_seconds is None


def test_a_refused_request_takes_up_nothing():
    gate = made(queue_requests=3)
    refusal(gate, "a", [1] * 4)
    assert (gate.requests, gate.bytes) == (0, 0)
    gate.enter("a", [1] * 3, 1.5)
