import dataclasses

import pytest

from lingvo_like.store import ids
from tasks.asr.data import manifest, speaker_ids


def utterances(*speakers):
    one = manifest.Utterance("/a.wav", "yes", "", "1", 1.0)
    return [dataclasses.replace(one, speaker=each) for each in speakers]


def check(*speakers):
    places = [f"all.jsonl:{line}" for line in range(1, len(speakers) + 1)]
    speaker_ids.check(places, utterances(*speakers))


def test_ids_that_a_store_takes_are_taken():
    check("ann", "F01", "a.b_c-D9", "x" * 128, "ann")


@pytest.mark.parametrize(
    "speaker", ["Ann Smith", "李雷", "a/b", "..", ".ann", "-x", "x" * 129, "é"]
)
def test_an_id_that_no_store_takes_is_named_with_its_line(speaker):
    with pytest.raises(ValueError, match="--map_ids") as caught:
        check("bob", speaker, speaker)
    assert f"all.jsonl:2: {speaker!r}"[:80] in str(caught.value)


def test_ids_that_differ_only_in_case_are_refused():
    with pytest.raises(ValueError, match="differ only in case") as caught:
        check("Ann", "bob", "ann")
    assert "all.jsonl:1: 'Ann'; all.jsonl:3: 'ann'" in str(caught.value)


def test_mapped_ids_are_allowed_readable_and_apart():
    odd = ["Ann Smith", "Ann-Smith", "José", "李雷", "a/b", "bob", "Bob", ".."]
    renamed, names = speaker_ids.mapped(utterances(*odd))
    new = [each.speaker for each in renamed]
    assert all(map(ids.is_valid, new))
    assert len({each.casefold() for each in new}) == len(odd)
    before = dict(zip(odd, new, strict=True))
    assert before["José"].startswith("Jose-")
    assert before["a/b"].startswith("a-b-")
    assert before["Ann-Smith"] == "Ann-Smith" and before["Bob"] == "Bob"
    assert before["Ann Smith"].startswith("Ann-Smith-")
    assert before["李雷"].startswith("speaker-")
    assert {before[old]: old for old in odd if before[old] != old} == names
    check(*new)


def test_mapped_ids_do_not_depend_on_the_order_of_the_lines():
    odd = ["Ann Smith", "ann smith", "李雷", "韩梅梅", "x"]
    _, names = speaker_ids.mapped(utterances(*odd))
    assert speaker_ids.mapped(utterances(*reversed(odd)))[1] == names


def test_a_mapped_id_is_one_persons_in_every_manifest():
    (of_both, _), _ = speaker_ids.mapped(utterances("a b", "a/b"))
    (alone,), _ = speaker_ids.mapped(utterances("a/b"))
    (plain,), _ = speaker_ids.mapped(utterances("a-b"))
    assert len({of_both.speaker, alone.speaker, plain.speaker}) == 3


def test_what_changed_is_counted():
    one = speaker_ids.describe({"a-b": "a b"}, "ids.csv")
    assert one == "1 speaker id changed (table: ids.csv):\n  a b is a-b\n"
    two = speaker_ids.describe({"a-b": "a b", "c-d": "c d"}, "ids.csv")
    assert two.startswith("2 speaker ids changed (table: ids.csv):\n  a b is")


def test_the_table_can_be_read_by_a_spreadsheet():
    assert speaker_ids.table({"a-b": 'a,"b'}) == 'id,speaker\na-b,"a,""b"\n'
