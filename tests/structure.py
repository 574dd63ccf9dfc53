"""Reads the packages' source and says where the house's rules are broken.

Every checker takes a `Source` and returns problems as strings, `path:line:
what`; an empty list means that the rule holds.
"""

import ast
import dataclasses
import importlib
import importlib.util
import pathlib
import sys
import types

PACKAGES = ("lingvo_like", "params", "tasks", "tpu")

# What a package may import of ours: modules, or packages with all of theirs.
FLOORS = {
    "lingvo_like": ("lingvo_like",),
    "tpu": ("tpu",),
    "params": ("params", "lingvo_like.hyperparams"),
    "tasks": ("tasks", "params", "lingvo_like", "tpu"),
}
MAX_LINES = 400
# Symbols, not modules, that the code may import all the same.
ALLOWED_SYMBOLS = ()


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


def floor_problems(source):
    """Imports of ours that run up, or sideways to another package."""
    problems = []
    for file in source.files:
        package = file.module.partition(".")[0]
        for line, name in source.imports(file):
            top = name.partition(".")[0]
            if name.startswith("."):
                problems.append(f"{file.path}:{line}: relative import")
            elif top == "tests":
                problems.append(f"{file.path}:{line}: imports {name}")
            elif top in source.packages and not any(
                name == floor or name.startswith(f"{floor}.")
                for floor in FLOORS[package]
            ):
                problems.append(
                    f"{file.path}:{line}: {package} must not import {name}"
                )
    return problems


def cycle_problems(source):
    """Circles of imports between files, also those inside functions."""
    graph = {
        file.module: sorted({name for _, name in source.targets(file)})
        for file in source.files
    }
    problems, done = [], set()

    def visit(module, trail):
        if module in trail:
            circle = trail[trail.index(module) :] + [module]
            problems.append(" -> ".join(circle))
            return
        if module in done:
            return
        for target in graph.get(module, ()):
            visit(target, trail + [module])
        done.add(module)

    for module in graph:
        visit(module, [])
    return problems


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


def assert_problems(source):
    """`assert` statements; Python's -O drops them."""
    return [
        f"{file.path}:{node.lineno}: assert outside tests"
        for file in source.files
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Assert)
    ]


def layer_problems(source):
    """Layers that import a backend instead of `keras.ops`."""
    backends = ("tensorflow", "jax", "torch")
    return [
        f"{file.path}:{line}: layers import no {name.partition('.')[0]}"
        for file in source.files
        if file.path.is_relative_to("lingvo_like/layers")
        for line, name in source.imports(file)
        if name.partition(".")[0] in backends
    ]


def length_problems(source):
    """Files longer than `MAX_LINES`."""
    return [
        f"{file.path}: {lines} lines, at most {MAX_LINES}"
        for file in source.files
        if (lines := len(file.text.splitlines())) > MAX_LINES
    ]


def symbol_problems(source, allowed=ALLOWED_SYMBOLS):
    """`from module import symbol`, where the symbol is no module."""
    problems = []
    for file in source.files:
        for node in ast.walk(file.tree):
            if not isinstance(node, ast.ImportFrom) or node.level:
                continue
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                if name not in allowed and not _is_module(source, name):
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


CHECKERS = (
    floor_problems,
    cycle_problems,
    init_problems,
    flag_problems,
    assert_problems,
    layer_problems,
    length_problems,
    symbol_problems,
)
