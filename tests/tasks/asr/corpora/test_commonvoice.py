import pytest

from tasks.asr.corpora import commonvoice
from tests.tasks.asr.corpora import trees

HEADER = "client_id\tpath\tsentence\tup_votes\n"


@pytest.fixture
def root(tmp_path):
    for name in "abcde":
        trees.audio(tmp_path / "clips" / f"{name}.mp3")
    trees.text(
        tmp_path / "train.tsv", HEADER + 'x1\ta.mp3\tShe said "no, no".\t2\n'
    )
    trees.text(tmp_path / "test.tsv", HEADER + "x2\tb.mp3\tYes\t2\n")
    trees.text(
        tmp_path / "validated.tsv",
        HEADER
        + 'x1\ta.mp3\tShe said "no, no".\t2\n'
        + "x2\tb.mp3\tYes\t2\nx3\tc.mp3\tOnly here\t2\nx3\tgone.mp3\tx\t2\n"
        + "x3\t../a.mp3\tx\t2\n\tc2.mp3\tx\t2\n",
    )
    trees.text(tmp_path / "other.tsv", HEADER + "x4\td.mp3\tUnheard\t0\n")
    return tmp_path


def test_splits_are_the_corpus_own_and_the_rest_has_none(root):
    utterances, left_out = commonvoice.read(root)
    assert [(u.speaker, u.split, u.text, u.utt_id) for u in utterances] == [
        ("x1", "train", 'She said "no, no".', "a"),
        ("x2", "test", "Yes", "b"),
        ("x3", "", "Only here", "c"),
    ]
    assert trees.reasons(left_out) == {
        "not validated": 1,
        "audio file is missing": 1,
        "path leads out of clips": 1,
        "row without client_id, path or sentence": 1,
        "file that no row names": 1,
    }
    assert commonvoice.recognises(root)


def test_the_locale_is_the_language(tmp_path):
    trees.audio(tmp_path / "clips" / "a.mp3")
    header = HEADER.replace("\n", "\tlocale\n")
    trees.text(tmp_path / "train.tsv", f"{header}x1\ta.mp3\tHallo\t2\tsv-SE\n")
    [utterance], _ = commonvoice.read(tmp_path)
    assert utterance.language == "sv"


def test_what_is_no_common_voice_is_a_clear_error(root):
    with pytest.raises(ValueError, match="needs clips and validated.tsv"):
        commonvoice.read(root / "clips")
    trees.text(root / "train.tsv", "client_id\tpath\nx\ta.mp3\n")
    with pytest.raises(ValueError, match="Missing: sentence"):
        commonvoice.read(root)
