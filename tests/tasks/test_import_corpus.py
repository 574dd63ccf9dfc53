import os
import re

import pytest

from tasks.asr.data import inspection
from tests import binaries
from tests.tasks.asr.corpora import trees


def run(*arguments):
    return binaries.run("import_corpus", *arguments)


@pytest.fixture
def root(tmp_path):
    session = tmp_path / "torgo" / "F01" / "Session1"
    for number in range(5):
        trees.text(session / "prompts" / f"{number:04}.txt", "SAY YES")
        trees.audio(session / "wav_headMic" / f"{number:04}.wav")
    for number in range(5, 9):
        trees.text(session / "prompts" / f"{number:04}.txt", "[breathe]")
        trees.audio(session / "wav_headMic" / f"{number:04}.wav")
    return tmp_path / "torgo"


def test_manifest_and_account_are_written(root):
    table = trees.text(
        root.parent / "severity.csv", "speaker,severity\nF01,severe\nF09,mild\n"
    )
    output = root.parent / "new" / "torgo.jsonl"
    done = run(
        *("--from=torgo", f"--root={root}", f"--output={output}"),
        *("--lowercase", f"--severity_table={table}"),
    )
    assert done.returncode == 0, done.stderr
    utterances, left_out = inspection.read(str(output))
    assert not left_out
    assert len(utterances) == 5
    assert {(u.severity, u.text) for u in utterances} == {("severe", "say yes")}
    assert {u.language for u in utterances} == {"en"}
    assert "Languages: en 5" in done.stdout
    assert "5 utterances of 1 speaker, 0.1 minutes" in done.stdout
    assert "not in the manifest: F09" in done.stdout
    assert "4  instruction or comment in brackets" in done.stdout
    assert "... and 1 more" in done.stdout
    assert f"What was left out, in full: {output}.left_out.txt" in done.stdout
    account = (output.parent / "torgo.jsonl.left_out.txt").read_text()
    assert account.count("[breathe]") == 4
    assert len(os.listdir(output.parent)) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("--from=togro", "unknown corpus 'togro'. Did you mean torgo?"),
        ("--language=Spanish", "--language: a language is a code of two"),
        ("--root=none", "corpus folder none does not exist"),
        ("--from=sap", "no usable utterance of sap"),
        ("--mic=throat", "--mic must be one of head, array, any, both"),
        ("--speaker=ann", "--speaker means nothing for torgo"),
        ("--severity_table=none.csv", "none.csv"),
        ("--output=", "--output is missing"),
    ],
)
def test_errors_are_one_line_and_write_nothing(root, change, message):
    output = root.parent / "new" / "torgo.jsonl"
    done = run("--from=torgo", f"--root={root}", f"--output={output}", change)
    assert done.returncode == 1
    (error,) = done.stderr.strip().splitlines()
    assert error.startswith("error: ") and message in error
    assert not output.parent.exists()


def test_an_output_that_cannot_be_written_is_named(root):
    taken = trees.text(root.parent / "taken", "a file")
    output = f"{taken}/all.jsonl"
    done = run("--from=torgo", f"--root={root}", f"--output={output}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: --output={output}: ")
    assert ".writing-" not in done.stderr


def test_list_of_corpora_shows_layouts_and_options():
    done = run("--list_corpora")
    assert done.returncode == 0
    assert "--from=euphonia" in done.stdout
    assert "Options: --mic, --strip_comments" in done.stdout


def test_two_folders_of_three_people_become_one_manifest(tmp_path):
    for person, name in (("Ann Smith", "1.wav"), ("bo", "1.ogg")):
        trees.audio(tmp_path / "phone" / person / name)
        trees.text(tmp_path / "phone" / person / "1.txt", "turn on")
    trees.audio(tmp_path / "laptop" / "cleo" / "1.wav")
    trees.text(tmp_path / "laptop" / "texts.csv", "file;text\n1.wav;off\n")
    output = tmp_path / "all.jsonl"
    roots = f"--root={tmp_path / 'phone'},{tmp_path / 'laptop'}"
    done = run(roots, f"--output={output}")
    assert done.returncode == 1
    assert "Ann Smith/1.wav: 'Ann Smith'" in done.stderr
    assert "--map_ids" in done.stderr and not output.exists()
    done = run(roots, f"--output={output}", "--map_ids")
    assert done.returncode == 0, done.stderr
    assert "phone: read as --from=textfiles" in done.stdout
    assert "laptop: read as --from=audiofolder" in done.stdout
    assert re.search(r"Speakers: Ann-Smith-\w{8} 1, bo 1, cleo 1", done.stdout)
    assert f"tasks.split_manifest --manifest={output}" in done.stdout
    assert "several manifests go with commas" in done.stdout
    assert "\nNothing was left out.\n" in done.stdout
    table = (tmp_path / "all.jsonl.ids.csv").read_text()
    assert re.fullmatch(r"id,speaker\nAnn-Smith-\w{8},Ann Smith\n", table)
    utterances, left_out = inspection.read(output)
    assert not left_out and len(utterances) == 3
