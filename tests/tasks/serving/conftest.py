"""What the tests of serving have in common."""

import pytest

from tasks.serving.submodels import provider, resolver
from tests.tasks.serving import fake_source


@pytest.fixture
def patient(monkeypatch):
    """No old version answers because a busy machine's store is slow."""
    monkeypatch.setattr(resolver, "PATIENCE_SECONDS", 60.0)


@pytest.fixture
def quick(monkeypatch):
    """Nobody waits for the next look at what nobody asks for."""
    monkeypatch.setattr(provider, "TICK_SECONDS", 0.01)


@pytest.fixture
def source():
    """A store with Submodels of Ann and Bob."""
    made = fake_source.FakeSource()
    made.publish("ann", 1)
    made.publish("bob", 2)
    return made
