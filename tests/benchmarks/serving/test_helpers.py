"""What the benchmark of serving computes itself is right."""

import asyncio
import itertools

import numpy as np
import pytest

from tests.benchmarks.serving import (
    load,
    metrics,
    requests,
    results,
    speech,
    zipf,
)


def _outcome(ended, code="OK"):
    return load.Outcome(0.0, ended, code, "", [], 1, "", None)


def test_no_cache_without_foresight_beats_the_bound():
    chances = zipf.probabilities(200, 1.0)
    users = zipf.sequence(chances, 40_000, seed=0)
    bound = zipf.static_bound(chances, 100)
    simulated = zipf.lru_simulated(users, 100, skipped=10_000)
    assert simulated < bound < 1.0
    assert zipf.lru_expected(chances, 100) == pytest.approx(simulated, abs=0.01)


def test_a_cache_for_everyone_always_hits():
    chances = zipf.probabilities(10, 1.0)
    users = zipf.sequence(chances, 2000, seed=0)
    assert zipf.static_bound(chances, 10) == pytest.approx(1.0)
    assert zipf.lru_expected(chances, 10) == 1.0
    assert zipf.lru_simulated(users, 10, skipped=1000) == 1.0


def test_the_steady_rate_leaves_the_ramps_out():
    # Bursts of 4 each second, after a long first one and before a slow end.
    bursts = [10.0, 11.0, 12.0, 13.0, 14.0, 99.0]
    outcomes = [_outcome(each) for each in bursts for _ in range(4)]
    assert load.steady_rate(outcomes, skipped=4, count=8) == 4.0
    assert load.steady_rate(outcomes, skipped=6, count=8) == 4.0


def test_goodput_counts_answers_of_the_span_alone():
    outcomes = [_outcome(1.0), _outcome(2.0), _outcome(9.0)]
    outcomes.append(_outcome(2.0, "RESOURCE_EXHAUSTED"))
    assert load.goodput(outcomes, 0.0, 4.0) == 0.5


class _SlowClient:
    """Takes its time, and notes how many requests are under way."""

    def __init__(self, seconds):
        self._seconds = seconds
        self.now = self.most = 0

    async def predict(self, request, tag=None, due=None):
        del request, due
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self._seconds)
        self.now -= 1
        return load.Outcome(0.0, self._seconds, "OK", "", [], 1, "", tag)


def test_a_closed_loop_keeps_its_count_under_way():
    client = _SlowClient(0.001)
    source = ((None, number) for number in itertools.count())
    found = asyncio.run(load.closed_loop(client, source, 4, count=20))
    assert client.most == 4
    assert sorted(each.tag for each in found) == list(range(20))


def test_an_open_loop_does_not_wait_for_a_slow_server():
    class Client(_SlowClient):
        """Answers nothing until 15 requests are under way."""

        async def predict(self, *arguments):
            self.coming -= 1
            if self.coming == 0:
                self.all_came.set()
            await self.all_came.wait()
            return await super().predict(*arguments)

    client = Client(0.0)
    client.coming, client.all_came = 15, asyncio.Event()
    source = itertools.repeat((None, None))
    sending = load.open_loop(client, source, (50, 0.1), (100, 0.1))
    first, second = asyncio.run(asyncio.wait_for(sending, 60))
    assert len(first.outcomes) == 5 and len(second.outcomes) == 10
    assert second.begun == first.ended


def test_utterances_have_exactly_the_length_asked_for():
    recorded = [[np.ones(7000, np.float32)], [np.full(90_000, 2, np.float32)]]
    clips = speech.cut(recorded, 1.5, 5)
    assert [len(clip) for clip in clips] == [24_000] * 5
    # Each is of one speaker: their samples and the pauses between.
    assert [set(np.unique(clip)) - {0.0} for clip in clips] == [
        {1.0},
        {2.0},
        {1.0},
        {2.0},
        {1.0},
    ]


def test_a_request_holds_its_audio_and_user():
    clip = np.linspace(-1, 1, 10, dtype=np.float32)
    request = requests.predict(clip, "user-1")
    audio = request.inputs["audio"]
    assert [dim.size for dim in audio.tensor_shape.dim] == [1, 10]
    np.testing.assert_array_equal(
        np.frombuffer(audio.tensor_content, "<f4"), clip
    )
    assert request.inputs["submodel_id"].string_val == [b"user-1"]
    assert requests.predict(clip).model_spec.signature_name == "base"


def test_a_requirement_that_is_not_met_is_told():
    result = results.Result("part", "small")
    result.add("fine", 1.0, at_least=0.9)
    result.add("slow", 60.0, "ms", at_most=50.0)
    result.add("unknown", None, at_most=50.0)
    assert result.failed == ["slow", "unknown"]
    assert "FAILED" in result.table()
    assert result.values["fine"] == 1.0


def test_growth_is_seen_through_noise():
    draw = np.random.default_rng(0)
    flat = 1000 + draw.normal(0, 5, 200)
    growing = flat + np.linspace(0, 100, 200)
    assert abs(results.slope(flat)) < 5
    assert results.slope(growing) == pytest.approx(100, abs=5)


def test_metrics_are_summed_over_labels():
    scrape = metrics.Scrape(
        "# TYPE a_total counter\n"
        'a_total{tier="row"} 2\na_total{tier="file"} 3\n'
        '# TYPE b histogram\nb_bucket{le="1"} 4\n'
        'b_bucket{le="+Inf"} 4\nb_sum 6\nb_count 4\n'
    )
    assert scrape.value("a_total") == 5
    assert scrape.value("a_total", tier="row") == 2
    assert scrape.mean("b") == 1.5
    assert scrape.mean("c") is None
