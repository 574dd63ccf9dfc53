"""Requirements are declared, and the README names what exists."""

import ast
import configparser
import pathlib
import re
import subprocess
import sys

import pytest

from tests import structure

ROOT = pathlib.Path(__file__).parent.parent

# Import names that are not their distribution's name in lower case.
DISTRIBUTIONS = {
    "absl": "absl-py",
    "google": "protobuf",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "libtpu": "libtpu",
    "tensorflow_serving": "tensorflow-serving-api",
    "tensorflow_text": "tensorflow-text",
}


@pytest.fixture(scope="module")
def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_the_packages_resolve_in_the_repository_from_another_folder(tmp_path):
    names = ", ".join(structure.PACKAGES)
    done = subprocess.run(
        [
            *(sys.executable, "-c"),
            f"import {names}\nfor module in ({names}): print(module.__file__)",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (
        f"{done.stderr}\nInstall the repository: pip install -e ."
    )
    assert [pathlib.Path(line) for line in done.stdout.splitlines()] == [
        ROOT / package / "__init__.py" for package in structure.PACKAGES
    ]


def _requirements(text):
    names = (
        re.match(r"[\w.-]+", line)
        for line in text.splitlines()
        if not line.startswith("#")
    )
    return {match[0].lower().replace("_", "-") for match in names if match}


def _distribution(module):
    top = module.partition(".")[0]
    return DISTRIBUTIONS.get(top, top.lower().replace("_", "-"))


def _third_party(source, file, nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module]
        else:
            continue
        for module in modules:
            top = module.partition(".")[0]
            if top in source.packages or top in sys.stdlib_module_names:
                continue
            yield f"{file.path}:{node.lineno}", _distribution(module)


def test_every_import_is_declared(setup_cfg):
    source = structure.Source(ROOT)
    declared = _requirements(setup_cfg["options"]["install_requires"])
    for text in setup_cfg["options.extras_require"].values():
        declared |= _requirements(text)
    missing = [
        f"{place}: {name}"
        for file in source.files
        for place, name in _third_party(source, file, ast.walk(file.tree))
        if name not in declared
    ]
    assert missing == []


def _eager_needs(source, always):
    """Optional packages that importing each module needs, and through what."""
    needs, eager = {}, {}
    for file in source.files:
        needs[file.module] = {
            name: place
            for place, name in _third_party(source, file, file.tree.body)
            if name not in always
        }
        lines = {node.lineno for node in file.tree.body}
        eager[file.module] = {
            target for line, target in source.targets(file) if line in lines
        }
    changed = True
    while changed:
        changed = False
        for module, targets in eager.items():
            for target in targets:
                for name, place in needs[target].items():
                    if name not in needs[module]:
                        needs[module][name] = place
                        changed = True
    return needs


def test_no_binary_needs_an_optional_package_to_start(setup_cfg):
    extras = setup_cfg["options.extras_require"]
    always = _requirements(setup_cfg["options"]["install_requires"])
    always |= _requirements(extras["tensorflow"])
    needs = _eager_needs(structure.Source(ROOT), always)
    problems = [
        f"{module} needs {name}, imported at {place}"
        for module, names in needs.items()
        if module.count(".") == 1 and module.startswith("tasks.")
        for name, place in names.items()
    ]
    assert problems == []


def test_a_need_is_found_through_other_modules(tmp_path):
    files = {
        "lingvo_like/a.py": "import os\n\nimport av\n",
        "tasks/b.py": "from lingvo_like import a\n",
        "tasks/c.py": "from tasks import b\n",
        "tasks/d.py": "def f():\n    from lingvo_like import a\n",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    needs = _eager_needs(structure.Source(tmp_path), {"numpy"})
    place = {"av": "lingvo_like/a.py:3"}
    assert needs["tasks.b"] == needs["tasks.c"] == place
    assert needs["tasks.d"] == {}


def test_the_readme_names_binaries_and_targets_that_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    binaries = re.findall(r"python -m ((?:tasks|tests)[\w.]+)", readme)
    assert "tasks.train" in binaries
    for name in binaries:
        path = ROOT / name.replace(".", "/")
        places = path.with_suffix(".py"), path / "__main__.py"
        assert any(p.is_file() for p in places), f"README.md names {name}"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", readme, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets
