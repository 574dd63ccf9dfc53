"""Fixtures that the tests of serving share."""

import pytest

from tests.tasks.serving import fake_source


@pytest.fixture
def source():
    """A store with Submodels of Ann and Bob."""
    made = fake_source.FakeSource()
    made.publish("ann", 1)
    made.publish("bob", 2)
    return made
