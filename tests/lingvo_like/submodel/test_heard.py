"""The recordings that a Submodel has heard fit into a short text."""

import hashlib

import pytest

from lingvo_like.submodel import heard


def hashes(count):
    return [
        hashlib.sha256(bytes([i % 256, i // 256])).hexdigest()
        for i in range(count)
    ]


def test_ten_thousand_recordings_are_80_kb_whatever_their_order():
    kept = heard.keys(hashes(10_000))
    text = heard.pack(kept)
    assert len(text) == 80_000
    assert heard.unpack(text) == kept
    assert heard.pack(sorted(kept, reverse=True)) == text
    assert heard.pack([*kept, *kept]) == text


def test_nothing_heard_is_an_empty_text():
    assert heard.pack(heard.keys(["", ""])) == ""
    assert heard.unpack("") == frozenset()


@pytest.mark.parametrize("how", ["cut", "order", "twice", "letters", "number"])
def test_what_was_not_packed_is_refused(how):
    a, b = heard.pack(["0" * 12]), heard.pack(["1" * 12])
    text = {
        "cut": a[:-4],
        "order": b + a,
        "twice": a + a,
        "letters": "é" + a[1:],
        "number": 3,
    }[how]
    with pytest.raises(ValueError, match="`heard` must be hashes"):
        heard.unpack(text)
