"""Metrics count what happens and name no user."""

import asyncio

import prometheus_client

from tasks.serving import errors
from tests.tasks.serving import fake_engine, fake_source


async def traffic(running, source):
    async def ask(*utterances, spec=fake_source.SPEC):
        try:
            await running.predict(fake_source.CALLER, spec, utterances)
        except errors.ServingError:
            return

    await ask(
        fake_source.utterance(1, "user-ann", samples=50),
        fake_source.utterance(1, samples=100),
    )
    await ask(fake_source.utterance(1, "user-ann"))
    await ask(fake_source.utterance(1, "user-eve"))
    await ask(fake_source.utterance(7))
    for number in range(5):
        source.publish(f"user-{number}", number)
        await ask(fake_source.utterance(1, f"user-{number}"))
    await running.unload(fake_source.CALLER, "user-4")
    await ask(
        fake_source.utterance(1),
        spec=type(fake_source.SPEC)("model-of-the-senders-choice"),
    )
    await ask(*[fake_source.utterance(1)] * 9)


def test_what_happens_is_counted_and_no_user_is_named():
    async def main():
        source = fake_source.FakeSource()
        source.publish("user-ann", 1)
        engine = fake_engine.FakeEngine(failing={7.0})
        engine.compile_count = 3
        limits = fake_source.changed(queue_requests=8)
        async with fake_source.serving(
            source, engine, limits, fallback="base"
        ) as running:
            await traffic(running, source)
            exposed = prometheus_client.generate_latest(running.registry)
            return exposed.decode(), running.registry.get_sample_value

    exposed, _ = asyncio.run(main())
    lines = dict(
        line.rsplit(" ", 1)
        for line in exposed.splitlines()
        if not line.startswith("#")
    )

    def value(name):
        return float(lines[f"submodels_{name}"])

    assert value('requests_total{code="OK",model="asr"}') == 8
    assert value('requests_total{code="INTERNAL",model="asr"}') == 1
    assert value('requests_total{code="NOT_FOUND",model=""}') == 1
    assert value('requests_total{code="RESOURCE_EXHAUSTED",model="asr"}') == 1
    assert value('request_seconds_count{model="asr"}') == 8
    assert value('batch_size_sum{model="asr"}') == 9
    # Half of one utterance of the first two is padding.
    assert value('padding_fraction_bucket{le="0.3",model="asr"}') == 1
    assert value('lookups_total{tier="row"}') == 1
    assert value('lookups_total{tier="store"}') == 6
    assert value('evictions_total{tier="row"}') == 2
    assert value("load_seconds_count") == 6
    assert value("fallbacks_total") == 1
    assert value('refusals_total{reason="queue_requests"}') == 1
    assert value('failed_engine_calls_total{model="asr"}') == 1
    assert value("queue_requests") == value("queue_bytes") == 0
    assert value("row_bytes") == 3 * 24
    assert value("file_bytes") > 0
    assert value("batch_shapes") >= 2
    assert value("compiles") == 3
    for name in ("user-", "acme", "senders-choice"):
        assert name not in exposed
