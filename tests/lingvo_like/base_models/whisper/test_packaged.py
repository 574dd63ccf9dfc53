"""Whispers that come as packages, on packages made up here."""

import hashlib
import os
import pathlib
import sys

import pytest

from lingvo_like import cache
from lingvo_like.base_models.whisper import (
    checkpoints,
    model as whisper,
    packaged,
)
from tests.lingvo_like.base_models.whisper import (
    test_checkpoints,
    whisper_bases,
)

PACKAGES = ("made_up_part1", "made_up_part2")


@pytest.fixture
def base():
    return whisper_bases.small()


@pytest.fixture
def site(base, tmp_path, monkeypatch):
    """Two packages in which the weights of a small Whisper lie."""
    made = test_checkpoints.make_ctranslate2(base, tmp_path / "made")
    data = (made / "model.bin").read_bytes()
    middle = len(data) // 2
    parts = (data[:middle], data[middle:])
    for number, name in enumerate(PACKAGES, start=1):
        folder = tmp_path / "site" / name / "data"
        folder.mkdir(parents=True)
        (folder.parent / "__init__.py").write_text("")
        (folder / f"model.bin.part{number}").write_bytes(parts[number - 1])
        monkeypatch.delitem(sys.modules, name, raising=False)
    tokenizer = (made / "tokenizer.json").read_bytes()
    first = tmp_path / "site" / PACKAGES[0] / "data"
    (first / "tokenizer.json").write_bytes(tokenizer)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "cache"))
    digest = hashlib.sha256(data).hexdigest()
    monkeypatch.setitem(
        packaged.WHISPERS,
        packaged.BASE,
        packaged.Parts(PACKAGES, digest, len(data)),
    )
    return tmp_path / "site"


def kept(tmp_path):
    folder = tmp_path / "cache" / packaged.KIND
    return sorted(os.listdir(folder)) if folder.exists() else []


def test_parts_are_joined_once(site, tmp_path):
    folder = pathlib.Path(packaged.folder("base"))
    assert sorted(os.listdir(folder)) == ["model.bin", "tokenizer.json"]
    made = (tmp_path / "made" / "model.bin").read_bytes()
    assert (folder / "model.bin").read_bytes() == made
    assert kept(tmp_path) == [folder.name]
    before = os.stat(folder / "model.bin").st_mtime_ns
    assert checkpoints.local_path("base") == str(folder)
    assert os.stat(folder / "model.bin").st_mtime_ns == before
    # What is kept needs the packages no longer.
    for name in PACKAGES:
        (site / name / "__init__.py").write_text("raise ImportError")
        sys.modules.pop(name, None)
    assert checkpoints.known_languages("base") == ("en",)


def test_the_whole_is_the_model_that_was_parted(base, site):
    loaded = whisper.load("base", max_tokens=8)
    wanted = whisper_bases.weights(base)
    for name, value in whisper_bases.weights(loaded).items():
        assert value.tolist() == wanted[name].tolist(), name


def test_a_whole_that_was_cut_off_is_joined_again(site, tmp_path):
    path = pathlib.Path(packaged.folder("base"), "model.bin")
    data = path.read_bytes()
    path.write_bytes(data[:100])
    assert packaged.folder("base") == str(path.parent)
    assert path.read_bytes() == data
    path.unlink()
    packaged.folder("base")
    assert path.read_bytes() == data
    assert kept(tmp_path) == [path.parent.name]


@pytest.mark.parametrize("lost", PACKAGES)
def test_a_missing_part_names_the_extra_and_keeps_nothing(
    lost, site, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, lost, None)
    message = r"\.\[base-multilingual\].*folder of that name is \./base"
    with pytest.raises(ValueError, match=message):
        whisper.load("base")
    assert not kept(tmp_path)


def test_parts_of_another_release_are_refused_and_not_kept(site, tmp_path):
    part = site / PACKAGES[1] / "data" / "model.bin.part2"
    data = part.read_bytes()
    part.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ValueError, match="not those that belong to it"):
        whisper.load("base")
    assert not kept(tmp_path)
    part.unlink()
    with pytest.raises(OSError, match="model.bin.part2"):
        whisper.load("base")
    assert not kept(tmp_path)


def test_a_name_is_no_folder_of_the_user(site):
    assert checkpoints.is_name("base")
    assert not checkpoints.is_name("./base")


def test_the_real_parts_are_a_multilingual_whisper(tmp_path, monkeypatch):
    for package in packaged.WHISPERS["base"].packages:
        pytest.importorskip(package, reason="the extra base-multilingual")
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path / "cache"))
    dimensions, _ = checkpoints.outline("base")
    assert (dimensions.model_dim, dimensions.num_blocks) == (512, 6)
    known = checkpoints.known_languages("base")
    assert {"en", "es", "fr", "ca", "ro", "be", "it"} < set(known)


def test_every_name_has_its_extra():
    assert packaged.WHISPERS.keys() == packaged.EXTRAS.keys()
