"""Fronts on a fake server, shared by the tests of a module."""

import pytest

from tasks.serving.fronts.http import exchange
from tests.tasks.serving import fake_server, harness


@pytest.fixture(scope="module")
def shared_fronts():
    with harness.Fronts(
        fake_server.FakeServer(), harness.access_control()
    ) as running:
        yield running


@pytest.fixture(autouse=True)
def no_lingering(monkeypatch):
    """Connections that are refused end soon."""
    monkeypatch.setattr(exchange, "LINGERING_SECONDS", 0.2)


@pytest.fixture
def fronts(shared_fronts):
    """The shared fronts, with a server as new."""
    shared_fronts.server.reset()
    return shared_fronts
