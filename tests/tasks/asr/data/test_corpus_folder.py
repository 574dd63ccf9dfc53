import json

import pytest

from tasks.asr.data import corpus_folder


def test_existing_compares_requests(tmp_path):
    assert corpus_folder.existing(tmp_path, "m.json", {"seed": 1}) is None
    content = {"request": {"seed": 1}}
    (tmp_path / "m.json").write_text(json.dumps(content))
    assert corpus_folder.existing(tmp_path, "m.json", {"seed": 1}) == content
    with pytest.raises(FileExistsError, match="seed is 1 there and 2 here"):
        corpus_folder.existing(tmp_path, "m.json", {"seed": 2})


def test_damaged_metadata_is_refused(tmp_path):
    (tmp_path / "m.json").write_text("{")
    with pytest.raises(FileExistsError, match="m.json is damaged"):
        corpus_folder.existing(tmp_path, "m.json", {})
