import inspect
import os
import pathlib

import pytest

from tasks.asr.corpora import registry
from tests.tasks.asr.corpora import trees


@pytest.mark.parametrize("name", registry.CORPORA)
def test_every_corpus_explains_an_empty_folder(tmp_path, name):
    with pytest.raises(ValueError, match=str(tmp_path)):
        registry.read(name, str(tmp_path))


@pytest.mark.parametrize("name", registry.CORPORA)
def test_every_corpus_shows_its_layout_and_documents_its_options(name):
    assert len(registry.layout(name).splitlines()) >= 3
    for option in registry.options(name):
        assert f"{option}:" in inspect.getdoc(registry.CORPORA[name])


def test_unknown_corpus_names_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="Did you mean torgo?"):
        registry.read("Togo", str(tmp_path))


def test_option_of_another_corpus_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--mic means nothing for sap; .*keep"):
        registry.read("sap", str(tmp_path), mic="head")


def test_missing_folder_is_a_clear_error(tmp_path):
    with pytest.raises(OSError, match="does not exist"):
        registry.read("torgo", str(tmp_path / "none"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="not a folder"):
        registry.read("torgo", str(tmp_path / "file"))


def with_table(folder):
    trees.audio(folder / "ann" / "1.wav")
    trees.text(folder / "t.csv", "file,text\nann/1.wav,yes\n")


def with_texts(folder):
    trees.audio(folder / "ann" / "1.wav")
    trees.text(folder / "ann" / "1.txt", "yes")


def with_clips(folder):
    (folder / "clips").mkdir()
    trees.text(folder / "train.tsv", "client_id\tpath\tsentence\n")


def with_kaldi(folder):
    for name in ("wav.scp", "text", "utt2spk"):
        trees.text(folder / name, "")


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (with_table, "audiofolder"),
        (with_texts, "textfiles"),
        (with_clips, "commonvoice"),
        (with_kaldi, "kaldi"),
    ],
)
def test_an_unmistakable_layout_is_recognised(tmp_path, make, name):
    make(tmp_path)
    assert registry.guess(tmp_path) == name


def test_a_layout_that_may_be_mistaken_is_asked_for(tmp_path):
    with pytest.raises(ValueError, match="neither a table .* --list_corpora"):
        registry.guess(tmp_path)
    (tmp_path / "x.xlsx").write_bytes(b"PK")
    with pytest.raises(ValueError, match="x.xlsx is a spreadsheet; save it"):
        registry.guess(tmp_path)
    (tmp_path / "a.csv").write_bytes("datei;größe\n".encode("latin-1"))
    with pytest.raises(ValueError, match="a.csv cannot be read as CSV in"):
        registry.guess(tmp_path)
    trees.text(tmp_path / "a.csv", "Datei;Text\n")
    with pytest.raises(ValueError, match="a.csv must name .* 'datei, text'"):
        registry.guess(tmp_path)
    with_table(tmp_path)
    with_texts(tmp_path)
    with pytest.raises(ValueError, match="--from=audiofolder or"):
        registry.guess(tmp_path)
    with pytest.raises(OSError, match="does not exist"):
        registry.guess(tmp_path / "none")


def test_several_folders_are_read_as_one_and_ids_stay_apart(tmp_path):
    for name in ("a", "b"):
        with_texts(tmp_path / name)
        trees.text(tmp_path / name / "ann" / "2.txt", "no")
    one = str(tmp_path / "a")
    utterances, left_out = registry.read_all({one: "textfiles"})
    assert [each.utt_id for each in utterances] == ["ann/1"]
    assert [each.where for each in left_out] == ["ann/2.txt"]
    both = {one: "textfiles", str(tmp_path / "b"): "textfiles"}
    utterances, left_out = registry.read_all(both)
    assert [each.utt_id for each in utterances] == ["a/ann/1", "b/ann/1"]
    assert left_out[1].where == str(tmp_path / "b" / "ann" / "2.txt")


def test_remarks_on_several_folders_have_their_paths(tmp_path):
    roots = [str(tmp_path / name) for name in ("a", "b")]
    for root in roots:
        with_texts(pathlib.Path(root))
    trees.audio(pathlib.Path(roots[1]) / "ann" / "1.wav", seconds=31.0)
    _, left_out = registry.read_all(dict.fromkeys(roots, "textfiles"))
    (remark,) = left_out.remarks
    assert remark.where == os.path.join(roots[1], "ann", "1.wav")
