"""An utterance's language: asked for, the Submodel's, or the default."""

import asyncio

import pytest

from tasks.serving import errors
from tests.tasks.serving import fake_engine, fake_source

KNOWN = ("en", "de", "fr")


def engine(**changes):
    return fake_engine.FakeEngine(**{"languages": KNOWN} | changes)


def languages_of(source, *utterances, **changes):
    """The indices that reach the engine for one request, in its order."""

    async def main():
        made = engine(**changes)
        async with fake_source.serving(source, made) as running:
            await fake_source.ask(running, *utterances)
        found = {}
        for (_, _, marks), called in zip(
            made.calls, made.languages, strict=True
        ):
            found |= dict(zip(marks, called, strict=True))
        return [found[each.audio[0]] for each in utterances]

    return asyncio.run(main())


def refused(source, utterance, **changes):
    async def main():
        async with fake_source.serving(source, engine(**changes)) as running:
            return await fake_source.refusal(
                fake_source.ask(running, utterance)
            )

    return asyncio.run(main())


@pytest.fixture
def source():
    made = fake_source.FakeSource()
    made.publish("ann", 1, language="de")
    made.publish("bob", 2, language="fr")
    made.publish("cy", 3)
    return made


def test_the_request_comes_before_the_submodel_and_that_before_the_default(
    source,
):
    utterance = fake_source.utterance
    found = languages_of(
        source,
        utterance(1, "ann"),
        utterance(2, "ann", language="fr"),
        utterance(3, "bob"),
        utterance(4, "cy"),
        utterance(5),
        utterance(6, language="de"),
        utterance(7, vector=fake_source.vector(5)),
        default_language="en",
    )
    assert found == [1, 2, 2, 0, 0, 1, 0]


def test_languages_share_a_batch(source):
    async def main():
        made = engine()
        made.may_run.clear()
        limits = fake_source.changed(batch_delay_seconds=0.2)
        async with fake_source.serving(source, made, limits) as running:
            asked = asyncio.gather(
                fake_source.ask(
                    running,
                    fake_source.utterance(1, "ann"),
                    fake_source.utterance(2, "bob"),
                    fake_source.utterance(3, "ann", language="en"),
                )
            )
            await asyncio.sleep(0)
            made.may_run.set()
            await asked
        assert [sorted(each) for each in made.languages] == [[0, 1, 2]]

    asyncio.run(main())


@pytest.mark.parametrize("who", [None, "ann"])
def test_a_language_that_the_model_lacks_is_refused_with_the_list(source, who):
    utterance = fake_source.utterance(1, who, language="es")
    error = refused(source, utterance)
    assert error.code is errors.Code.INVALID_ARGUMENT
    assert "no language 'es'. It knows: de, en, fr" in error.message
    # Before the store is asked.
    assert source.resolves == 0


@pytest.mark.parametrize("who", [None, "cy"])
def test_where_nothing_names_a_language_it_is_asked_for(source, who):
    error = refused(source, fake_source.utterance(1, who))
    assert error.code is errors.Code.INVALID_ARGUMENT
    assert "nothing says in which language" in error.message
    assert "de, en, fr" in error.message


def test_a_model_of_one_language_takes_its_own_alone(source):
    one = {"languages": ("en",)}
    utterance = fake_source.utterance
    assert languages_of(source, utterance(1, "cy"), **one) == [0]
    assert languages_of(source, utterance(1, language="en"), **one) == [0]
    error = refused(source, utterance(1, language="de"), **one)
    assert error.code is errors.Code.INVALID_ARGUMENT
    assert "'en' alone" in error.message


def test_a_model_without_languages_takes_none(source):
    none = {"languages": ("",)}
    utterance = fake_source.utterance
    assert languages_of(source, utterance(1, "ann"), **none) == [0]
    error = refused(source, utterance(1, language="en"), **none)
    assert error.code is errors.Code.INVALID_ARGUMENT
    assert "no languages to choose from" in error.message
