"""Fixtures that the tests of serving share."""

import pytest

from tasks.serving.submodels import provider, resolver
from tests.tasks.serving import fake_source


@pytest.fixture
def patient(monkeypatch):
    """No old version answers because a busy machine's store is slow."""
    monkeypatch.setattr(resolver, "PATIENCE_SECONDS", 60.0)


@pytest.fixture
def quick(monkeypatch):
    """The server looks for new and erased versions all the time."""
    monkeypatch.setattr(provider, "TICK_SECONDS", 0.01)


@pytest.fixture
def source():
    """A store with Submodels of Ann and Bob."""
    made = fake_source.FakeSource()
    made.publish("ann", 1)
    made.publish("bob", 2)
    return made
