"""The rules of the house that no linter checks.

`make lint` checks the rest: which package may import which, and that no
imports run in a circle (import-linter's contracts in pyproject.toml).

Every checker takes a `Source` and returns problems as strings, `path:line:
problem`; an empty list means that the rule holds.
"""

import ast
import dataclasses
import importlib
import importlib.util
import pathlib
import sys
import types

PACKAGES = ("lingvo_like", "params", "tasks", "tpu")

# Modules whose symbols are imported: hints would be hard to read without.
SYMBOL_MODULES = ("typing",)


@dataclasses.dataclass(frozen=True)
class File:
    """One source file: its path, dotted module name, text and syntax tree."""

    path: pathlib.PurePosixPath
    module: str
    text: str
    tree: ast.Module


class Source:
    """The Python files of some packages under a root folder."""

    def __init__(self, root, packages=PACKAGES):
        root = pathlib.Path(root)
        self.packages = packages
        self.files = [
            _parse(root, path)
            for package in packages
            for path in sorted((root / package).rglob("*.py"))
        ]
        self.modules = {file.module for file in self.files}

    def imports(self, file):
        """Pairs of line and dotted name, `from a import b` as `a.b`."""
        for node in ast.walk(file.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield node.lineno, alias.name
            elif isinstance(node, ast.ImportFrom):
                prefix = "." * node.level + (node.module or "")
                for alias in node.names:
                    yield node.lineno, f"{prefix}.{alias.name}".strip()

    def targets(self, file):
        """Pairs of line and module of ours that the file imports."""
        for line, name in self.imports(file):
            if name.partition(".")[0] not in self.packages:
                continue
            while name not in self.modules and "." in name:
                name = name.rpartition(".")[0]
            yield line, name


def _parse(root, path):
    relative = path.relative_to(root)
    parts = relative.with_suffix("").parts
    if parts[-1] == "__init__":
        parts = parts[:-1]
    text = path.read_text(encoding="utf-8")
    return File(
        pathlib.PurePosixPath(relative.as_posix()),
        ".".join(parts),
        text,
        ast.parse(text, str(relative)),
    )


def init_problems(source):
    """`__init__.py` files that hold anything."""
    return [
        f"{file.path}:1: must be empty"
        for file in source.files
        if file.path.name == "__init__.py" and file.text.strip()
    ]


def flag_problems(source):
    """absl flags outside the binaries, `tasks/*.py`."""
    return [
        f"{file.path}:{line}: flags belong in tasks/*.py"
        for file in source.files
        if file.path.parent.as_posix() != "tasks"
        for line, name in source.imports(file)
        if name == "absl.app"
        or name == "absl.flags"
        or name.startswith("absl.flags.")
    ]


def symbol_problems(source, allowed=SYMBOL_MODULES):
    """`from module import symbol`, where the symbol is no module."""
    problems = []
    for file in source.files:
        for node in ast.walk(file.tree):
            if not isinstance(node, ast.ImportFrom) or node.level:
                continue
            if node.module in allowed:
                continue
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if not _is_module(source, name):
                    problems.append(
                        f"{file.path}:{node.lineno}: imports the symbol "
                        f"{name}; import its module"
                    )
    return problems


def _is_module(source, name):
    top = name.partition(".")[0]
    if top in source.packages:
        return name in source.modules
    parent, _, last = name.rpartition(".")
    if top in sys.stdlib_module_names:
        package = importlib.import_module(parent)
        if isinstance(getattr(package, last, None), types.ModuleType):
            return True
        return hasattr(package, "__path__") and bool(
            importlib.util.find_spec(name)
        )
    # Others are slow to import: a class is told by its capital letter.
    return not last[:1].isupper()


CHECKERS = (init_problems, flag_problems, symbol_problems)
