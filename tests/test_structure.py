"""The house's rules hold, and each checker fails where its rule is broken."""

import pathlib

import pytest

from tests import structure

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(scope="module")
def repository():
    return structure.Source(ROOT)


@pytest.fixture
def tree(tmp_path):
    """Makes up packages out of paths and texts."""

    def make(files):
        for package in structure.PACKAGES:
            files.setdefault(f"{package}/__init__.py", "")
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        return structure.Source(tmp_path)

    return make


@pytest.mark.parametrize(
    "checker", structure.CHECKERS, ids=lambda checker: checker.__name__
)
def test_the_repository_keeps_the_rule(repository, checker):
    assert "\n".join(checker(repository)) == ""


def test_the_repository_is_read_whole(repository):
    paths = {str(file.path) for file in repository.files}
    on_disk = {
        str(path.relative_to(ROOT))
        for package in structure.PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    assert paths == on_disk
    assert "lingvo_like/base_models/base_model.py" in paths


def test_a_clean_tree_has_no_problem(tree):
    source = tree(
        {
            "lingvo_like/hyperparams.py": "import dataclasses\n",
            "lingvo_like/files.py": "from lingvo_like import hyperparams\n",
            "lingvo_like/layers/adapter.py": "from keras import ops\n",
            "params/schema.py": "from lingvo_like import hyperparams\n",
            "tpu/distribute/strategy.py": "import tensorflow as tf\n",
            "tasks/train.py": (
                "from absl import app, flags\n"
                "from lingvo_like.layers import adapter\n"
                "from params import schema\n"
                "from tpu.distribute import strategy\n"
            ),
        }
    )
    for checker in structure.CHECKERS:
        assert checker(source) == []


def test_an_init_file_with_contents_is_found(tree):
    source = tree({"tasks/asr/__init__.py": "from tasks.asr import text\n"})
    assert structure.init_problems(source) == [
        "tasks/asr/__init__.py:1: must be empty"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "from absl import flags\n",
        "import absl.flags\n",
        "from absl.flags import DEFINE_string\n",
        "from absl import app\n",
    ],
)
def test_flags_outside_binaries_are_found(tree, text):
    files = {"tasks/asr/task.py": text, "tasks/train.py": text}
    problems = structure.flag_problems(tree(files))
    assert problems == ["tasks/asr/task.py:1: flags belong in tasks/*.py"]


@pytest.mark.parametrize(
    "text",
    [
        "from lingvo_like.stack.stack import Stack\n",
        "from lingvo_like.stack.stack import gather\n",
        "from pathlib import Path\n",
        "from functools import partial\n",
        "from keras.layers import Dense\n",
    ],
)
def test_an_imported_symbol_is_found(tree, text):
    files = {"lingvo_like/stack/stack.py": "", "tasks/a.py": text}
    assert len(structure.symbol_problems(tree(files))) == 1


def test_imported_modules_and_listed_symbols_are_allowed(tree):
    source = tree(
        {
            "lingvo_like/stack/stack.py": "",
            "tasks/a.py": (
                "from collections import abc\n"
                "from concurrent import futures\n"
                "from keras import ops\n"
                "from lingvo_like.stack import stack\n"
                "from whisper_normalizer.english import Normalizer\n"
            ),
        }
    )
    allowed = ("whisper_normalizer.english",)
    assert structure.symbol_problems(source, allowed) == []
