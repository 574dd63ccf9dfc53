from tasks.asr.corpora import librispeech
from tests.tasks.asr.corpora import trees


def make_chapter(folder, speaker, chapter, words):
    stem = f"{speaker}-{chapter}"
    lines = []
    for number, text in enumerate(words):
        name = f"{stem}-{number:04d}"
        trees.audio(folder / speaker / chapter / f"{name}.flac")
        lines.append(f"{name} {text}")
    trees.text(
        folder / speaker / chapter / f"{stem}.trans.txt", "\n".join(lines)
    )
    return folder / speaker / chapter


def test_splits_speakers_and_chapters(tmp_path):
    root = tmp_path / "LibriSpeech"
    make_chapter(root / "train-clean-100", "103", "1240", ["ONE", "TWO"])
    make_chapter(root / "dev-clean", "84", "121123", ["GO"])
    make_chapter(root / "test-other", "61", "70968", ["HE BEGAN"])
    trees.text(root / "SPEAKERS.TXT", "x")
    utterances, left_out = librispeech.read(str(root))
    assert not left_out
    assert [
        (u.split, u.speaker, u.session, u.utt_id, u.text) for u in utterances
    ] == [
        ("dev", "84", "121123", "84-121123-0000", "GO"),
        ("test", "61", "70968", "61-70968-0000", "HE BEGAN"),
        ("train", "103", "1240", "103-1240-0000", "ONE"),
        ("train", "103", "1240", "103-1240-0001", "TWO"),
    ]
    assert librispeech.read(str(tmp_path))[0] == utterances
    one_split, _ = librispeech.read(str(root / "dev-clean"))
    assert one_split == utterances[:1]


def test_gaps_are_accounted_for(tmp_path):
    chapter = make_chapter(tmp_path / "dev-clean", "84", "1", ["GO", "ON", ""])
    (chapter / "84-1-0001.flac").unlink()
    trees.audio(chapter / "84-1-0007.flac")
    trees.audio(tmp_path / "dev-clean" / "84" / "2" / "84-2-0000.flac")
    utterances, left_out = librispeech.read(str(tmp_path))
    assert [u.text for u in utterances] == ["GO"]
    assert trees.reasons(left_out) == {
        "transcript without audio": 1,
        "audio without transcript": 1,
        "empty transcript": 1,
        "chapter without .trans.txt": 1,
    }
