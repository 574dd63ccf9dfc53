"""Cutting long lists out changes nothing but how fast they are read."""

import json
import threading
import time

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies

from tasks.serving import errors
from tasks.serving.fronts.rest import json_numbers


def _parse(text, min_bytes):
    numbers = json_numbers.Numbers()
    rest = numbers.cut(text.encode(), min_bytes)
    return json.loads(
        rest, object_pairs_hook=lambda pairs: numbers.restore(dict(pairs))
    )


def _plain(value):
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value


JSON = strategies.recursive(
    strategies.integers(-1000, 1000)
    | strategies.floats(-1e3, 1e3, width=32)
    | strategies.booleans()
    | strategies.text('ab[],{}"\\\\ é', max_size=6),
    lambda inner: (
        strategies.lists(inner, max_size=5)
        | strategies.dictionaries(
            strategies.text("ab]", max_size=2), inner, max_size=3
        )
    ),
    max_leaves=20,
)


@hypothesis.settings(max_examples=200)
@hypothesis.given(JSON, strategies.sampled_from([None, 1]))
def test_nothing_changes_but_the_type(value, indent):
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        parsed = _parse(text, min_bytes=12)
    except errors.ServingError as error:
        # Long lists of booleans are wrong in any request; and brackets in
        # text can look like a list, which no id has.
        assert "numbers" in error.message
        assert "true" in text or "false" in text or '"' in text
        return
    # Brackets in text can look like a list; no id has any.
    if '"' not in text:
        assert _plain(parsed) == value


@pytest.mark.parametrize(
    "text",
    [
        "1,,2",
        ",1",
        "1,",
        "1 2",
        "1,]",
        "01",
        "1.",
        "NaN",
        "1,Infinity",
        "1e39",
        "9" * 400,
        "9" * 5000,
        "null",
        "true",
        "1,é",
        "1,\0",
        " ",
        "[1",
    ],
)
@pytest.mark.parametrize("filler", ["", "1," * 20_000])
def test_other_lists_are_refused(text, filler):
    body = f"[{filler}{text}]".encode()
    with pytest.raises((errors.ServingError, json.JSONDecodeError)):
        json.loads(json_numbers.Numbers().cut(body, 1))


def test_a_list_that_ends_in_a_comma_at_a_slice_is_refused():
    for count in range(8190, 8200):
        body = f"[{'1,' * count}]".encode()
        with pytest.raises(errors.ServingError):
            json_numbers.Numbers().cut(body, 1)


@pytest.mark.parametrize("text", ["]", "[", "[]", "[1],", '["]', "]]]]1,1,"])
@pytest.mark.parametrize("count", [40_000, 4_000_000])
def test_brackets_cost_no_more_than_their_length(text, count):
    body = text.encode() * count
    started = time.thread_time()
    try:
        json_numbers.Numbers().cut(body)
    except errors.ServingError as error:
        assert "the JSON must have at most" in error.message
    assert time.thread_time() - started < 2


def test_no_request_can_forge_a_mark():
    first, second = json_numbers.Numbers(), json_numbers.Numbers()
    rest = first.cut(b"[1,2,3]", 1)
    assert json.loads(rest) == second.restore(json.loads(rest))


def _longest_wait(function):
    """The longest time that others wait for a function, of its whole time.

    Of the process's own time, which does not pass while it waits for a busy
    machine.
    """
    done = threading.Event()

    def run():
        function()
        done.set()

    thread = threading.Thread(target=run)
    times = [time.process_time()]
    thread.start()
    while not done.is_set():
        time.sleep(0.0005)
        times.append(time.process_time())
    thread.join()
    return np.max(np.diff(times)) / (times[-1] - times[0])


def test_others_run_while_a_long_list_is_read():
    body = json.dumps([0.123456789] * 500_000).encode()
    # A busy machine may leave the others out once, but not each time.
    assert any(
        _longest_wait(lambda: json_numbers.Numbers().cut(body)) < 0.3
        for _ in range(10)
    )
    assert _longest_wait(lambda: json.loads(body)) > 0.6
