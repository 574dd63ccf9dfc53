"""The server without a transport: who gets which answer, and when not."""

import asyncio

import pytest

from tasks.serving import status
from tests.tasks.serving import fake_source

CALLER = fake_source.CALLER
SPEC = fake_source.SPEC
utterance = fake_source.utterance
text = fake_source.text


async def ask(running, *utterances, caller=CALLER, spec=SPEC, deadline=None):
    """The answers alone."""
    _, answers = await running.predict(caller, spec, utterances, deadline)
    return answers


async def refusal(awaitable):
    """The `ServingError` that something ends with."""
    with pytest.raises(status.ServingError) as caught:
        await awaitable
    return caught.value


@pytest.fixture
def source():
    made = fake_source.FakeSource()
    made.publish("ann", 1)
    made.publish("bob", 2)
    return made


def test_each_utterance_is_answered_by_its_own_submodel(source):
    async def main():
        async with fake_source.serving(source) as running:
            answers = await ask(
                running,
                utterance(7, "ann"),
                utterance(8, "bob"),
                utterance(9),
                utterance(6, row=fake_source.row(5)),
                utterance(5, "ann", samples=300),
            )
        assert [each.text for each in answers] == [
            text(7, 1),
            text(8, 2),
            text(9, 0),
            text(6, 5),
            text(5, 1, samples=300),
        ]
        assert [each.served_by for each in answers] == [
            *("submodel", "submodel", "base", "request", "submodel")
        ]
        assert answers[0].submodel_version.startswith("1-")
        assert answers[2].submodel_version == ""
        assert {each.status for each in answers} == {"OK"}

    asyncio.run(main())
