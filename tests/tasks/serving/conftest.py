"""What tests of the serving core have in common."""

import pytest

from tasks.serving.submodels import resolver


@pytest.fixture
def patient(monkeypatch):
    """No old version answers because a busy machine's store is slow."""
    monkeypatch.setattr(resolver, "PATIENCE_SECONDS", 60.0)
