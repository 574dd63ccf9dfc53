import json
import unicodedata

import pytest

from tasks.asr.corpora import audiofolder, speaker_folders
from tests.tasks.asr.corpora import trees


def test_csv_with_splits_and_speakers(tmp_path):
    for split in ("train", "validation", "test"):
        trees.audio(tmp_path / split / "clips" / "a.wav")
        trees.text(
            tmp_path / split / "metadata.csv",
            "\ufefffile_name,transcription,speaker,severity\n"
            f'clips/a.wav,"Hello, ""{split}""\nyou",ann,mild\n',
        )
    utterances, left_out = audiofolder.read(str(tmp_path))
    assert not left_out
    assert {u.split: u.text for u in utterances} == {
        "train": 'Hello, "train" you',
        "dev": 'Hello, "validation" you',
        "test": 'Hello, "test" you',
    }
    assert {(u.speaker, u.severity) for u in utterances} == {("ann", "mild")}


def test_a_column_names_the_language_of_each_row(tmp_path):
    for name in "abc":
        trees.audio(tmp_path / f"{name}.wav")
    trees.text(
        tmp_path / "metadata.csv",
        "file_name,text,speaker,locale\na.wav,sí,ann,es-MX\n"
        "b.wav,yes,ann,EN\nc.wav,so,ann,\n",
    )
    utterances, _ = audiofolder.read(str(tmp_path))
    assert [each.language for each in utterances] == ["es", "en", ""]


def test_json_lines_with_text_column_and_default_speaker(tmp_path):
    trees.audio(tmp_path / "a.flac")
    trees.audio(tmp_path / "b.mp3")
    lines = [
        {"file_name": "a.flac", "text": "eins"},
        {"file_name": "b.mp3", "text": "zwei", "speaker_id": 7.0},
    ]
    trees.text(tmp_path / "metadata.jsonl", "\n".join(map(json.dumps, lines)))
    utterances, left_out = audiofolder.read(str(tmp_path), speaker="ann")
    assert [(u.speaker, u.utt_id, u.text) for u in utterances] == [
        ("ann", "a", "eins"),
        ("7", "b", "zwei"),
    ]
    assert not left_out


def test_what_does_not_fit_together_is_accounted_for(tmp_path):
    trees.audio(tmp_path / "a.wav")
    trees.audio(tmp_path / "b.wav")
    trees.audio(tmp_path / "stray.wav")
    trees.audio(tmp_path / ".cache" / "c.wav")
    lines = [
        '{"file_name": "a.wav", "text": "fine", "speaker": "ann"}',
        '{"file_name": "b.wav", "text": "who?"}',
        '{"file_name": "gone.wav", "text": "x", "speaker": "ann"}',
        '{"file_name": "a.wav", "text": "fine", "speaker": "ann"}',
        '{"file_name": "../secret.wav", "text": "x", "speaker": "ann"}',
        '{"file_name": "a.wav", "speaker": "ann"}',
        '{"text": "x"}',
        "[]",
        '{"file_name": "a.wav", "text": "x\\ud800", "speaker": "ann"}',
        '{"file_name": "a.wav", "text": "x", "speaker": true}',
        "{",
        "[" * 100000,
    ]
    trees.text(tmp_path / "metadata.jsonl", "\n".join(lines))
    utterances, left_out = audiofolder.read(str(tmp_path))
    assert [u.text for u in utterances] == ["fine"]
    assert trees.reasons(left_out) == {
        speaker_folders.NO_SPEAKER: 1,
        "audio file is missing": 1,
        "duplicate utt_id of one speaker": 1,
        "file_name leads out of the folder": 1,
        "metadata line without text": 1,
        "metadata line without file_name": 1,
        "metadata line is not a JSON object": 1,
        "metadata line is not JSON": 3,
        "`speaker` is not text": 1,
        "file that no row names": 1,
    }
    places = [e.where for e in left_out if e.reason.endswith("not JSON")]
    assert places == [f"metadata.jsonl:{line}" for line in (9, 11, 12)]


def test_folder_that_is_no_audiofolder_is_a_clear_error(tmp_path):
    with pytest.raises(ValueError, match="no metadata.csv or metadata.jsonl"):
        audiofolder.read(str(tmp_path))
    table = trees.text(tmp_path / "metadata.csv", "clip,text\na.wav,x\n")
    with pytest.raises(ValueError, match="needs a column of file_name"):
        audiofolder.read(str(tmp_path))
    table.write_text("file_name,say\na.wav,x\n")
    with pytest.raises(ValueError, match="needs a column of transcription"):
        audiofolder.read(str(tmp_path))
    table.write_text("file_name," + "x" * 200000 + "\na.wav,x\n")
    with pytest.raises(ValueError, match="metadata.csv:.* field larger"):
        audiofolder.read(str(tmp_path))
    trees.text(tmp_path / "metadata.jsonl", "")
    with pytest.raises(ValueError, match="holds both"):
        audiofolder.read(str(tmp_path))


def test_a_spreadsheets_table_of_any_name_and_the_folders_of_speakers(tmp_path):
    trees.audio(tmp_path / "ann" / "PTT-1.ogg")
    trees.audio(tmp_path / "bo" / "2.wav")
    trees.audio(tmp_path / "bo" / "3.wav")
    trees.text(
        tmp_path / "Texte.csv",
        "\ufeffFile;Phrase;Mic\r\nPTT-1;turn on, now;head\r\n;;\r\n"
        "bo/2.wav;off;\r\n3.wav;two; words;head\r\n",
    )
    utterances, left_out = audiofolder.read(tmp_path)
    assert [(u.speaker, u.utt_id, u.text, u.mic) for u in utterances] == [
        ("ann", "ann/PTT-1", "turn on, now", "head"),
        ("bo", "bo/2", "off", ""),
    ]
    assert [each.where for each in left_out] == ["Texte.csv:5", "bo/3.wav"]
    assert "needs quotation marks" in left_out[0].reason
    assert audiofolder.recognises(tmp_path)


def test_a_name_that_several_recordings_have_is_refused(tmp_path):
    trees.audio(tmp_path / "ann" / "1.wav")
    trees.audio(tmp_path / "bo" / "1.wav")
    trees.text(tmp_path / "t.csv", "file,text\n1.wav,yes\nann/1,no\n")
    utterances, left_out = audiofolder.read(tmp_path)
    assert [(u.speaker, u.text) for u in utterances] == [("ann", "no")]
    assert "several recordings have this name" in trees.reasons(left_out)


def test_a_row_finds_its_recording_however_its_name_is_spelt(tmp_path):
    for name in ("Größe.wav", "Über uns.WAV"):
        trees.audio(tmp_path / "ann" / unicodedata.normalize("NFD", name))
    trees.text(tmp_path / "t.csv", "file,text\nGröße,a\nann/über uns.wav,b\n")
    utterances, left_out = audiofolder.read(tmp_path)
    assert [u.text for u in utterances] == ["a", "b"] and not left_out


def test_one_persons_name_is_one_speaker_whatever_spelt_it(tmp_path):
    trees.audio(tmp_path / "1.wav")
    trees.audio(tmp_path / "2.wav")
    names = ("Jörg", unicodedata.normalize("NFD", " Jörg\u200b"))
    trees.text(
        tmp_path / "t.csv",
        f"file,text,speaker\n1.wav,a,{names[0]}\n2.wav,b,{names[1]}\n",
    )
    utterances, _ = audiofolder.read(tmp_path)
    assert [u.speaker for u in utterances] == ["Jörg", "Jörg"]


def test_a_cell_without_a_speaker_is_no_folders(tmp_path):
    trees.audio(tmp_path / "monday" / "1.wav")
    trees.audio(tmp_path / "monday" / "2.wav")
    trees.text(
        tmp_path / "t.csv",
        "file,text,Participant,Split\nmonday/1.wav,a,ann,test\n"
        "monday/2.wav,b\n",
    )
    one, left_out = audiofolder.read(tmp_path)
    assert [(u.speaker, u.split) for u in one] == [("ann", "test")]
    assert trees.reasons(left_out) == {"row without a speaker": 1}
    both, _ = audiofolder.read(tmp_path, speaker="bo")
    assert [u.speaker for u in both] == ["ann", "bo"]


@pytest.mark.parametrize("second", ["two,ann", "one,bo"])
def test_a_recording_with_two_texts_or_speakers_is_nobodys(tmp_path, second):
    trees.audio(tmp_path / "1.wav")
    trees.text(
        tmp_path / "t.csv",
        f"file,text,speaker,id\n1.wav,one,ann,1\n1.wav,{second},2\n",
    )
    utterances, left_out = audiofolder.read(tmp_path)
    assert not utterances
    assert trees.reasons(left_out) == {
        "one recording with several texts or speakers": 2
    }


def test_two_columns_of_one_name_are_refused(tmp_path):
    trees.text(tmp_path / "t.csv", "file,text,Text\n1.wav,one,two\n")
    with pytest.raises(ValueError, match="two columns called text"):
        audiofolder.read(tmp_path)


def test_files_that_no_row_names_are_listed_whatever_they_are(tmp_path):
    trees.audio(tmp_path / "ann" / "1.wav")
    trees.text(tmp_path / "t.csv", "file,text\nann/1.wav,yes\n")
    for name in (
        "a.xyz",
        "README.txt",
        "texts.xlsx",
        "prices.csv",
        ".DS_Store",
    ):
        trees.text(tmp_path / name, "x,y\n")
    trees.text(tmp_path / "all.jsonl", "ours")
    utterances, left_out = audiofolder.read(tmp_path)
    assert len(utterances) == 1
    assert sorted(each.where for each in left_out) == [
        "README.txt",
        "a.xyz",
        "prices.csv",
        "texts.xlsx",
    ]
    assert "is a spreadsheet; save it as CSV" in left_out.describe(None)
