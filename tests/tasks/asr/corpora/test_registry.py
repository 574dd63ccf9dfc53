import inspect

import pytest

from tasks.asr.corpora import registry


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
