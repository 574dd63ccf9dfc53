"""Recognises folders that are named in place of one another."""

import os

from lingvo_like.store import layout as store_layout
from tasks.serving.exports import description as export_description

VERSION = "one version of an export"
RUN = "a training run"
STORE = "a store of Submodels"
BASE = "a base model"
# By the file that each of them has. The modules that write these files are not
# imported: a server does not wait for trainers and the code of base models.
_KINDS = {
    export_description.FILE: VERSION,
    "experiment.json": RUN,
    store_layout.MARKER: STORE,
    "submodels_base.json": BASE,
}
_EXPORT = "python -m tasks.export --model_dir={run} --export_dir=EXPORTS"
_PUBLISH = (
    "python -m tasks.store publish --store=STORE --tenant=default "
    "--model_dir={run}"
)


def kind(path: str | os.PathLike[str]) -> str:
    """One of the kinds above for a local folder; empty for any other."""
    for file, what in _KINDS.items():
        if os.path.isfile(os.path.join(path, file)):
            return what
    return ""


def check_exports(path: str | os.PathLike[str]) -> None:
    """Refuses a folder that holds no versions of an export, if its kind shows.

    Raises:
        ValueError: it is missing, or of another kind; says which, and what to
            name or do instead.
    """
    if not os.path.exists(path):
        raise ValueError(
            f"{path}: there is no export, no such folder; write one by "
            f"{_EXPORT.format(run='RUN')}"
        )
    what, run = _kind_and_run(path)
    export = _EXPORT.format(run=run or "RUN")
    advice = {
        "": "",
        VERSION: f"name the folder around it, {_above(path)}",
        RUN: f"export it first: {export}",
        STORE: "it goes to --store; --export_dir is what tasks.export wrote",
        BASE: f"export a run that was trained on it: {export}",
    }[what]
    if what:
        raise ValueError(f"{path} is {what}, no folder of exports; {advice}")


def check_store(path: str | os.PathLike[str]) -> None:
    """Refuses a folder that is known to be no store.

    Raises:
        ValueError: as `check_exports`.
    """
    what, run = _kind_and_run(path)
    if what not in ("", STORE):
        advice = _PUBLISH.format(run=run or "RUN")
        raise ValueError(
            f"{path} is {what}, no store; publish Submodels to one: {advice}"
        )


def _kind_and_run(path: str | os.PathLike[str]) -> tuple[str, str]:
    """The kind of a folder, and the path of its run; empty if there is none.

    The `submodels` of a run count as the run.
    """
    what = kind(path)
    if what == RUN:
        return RUN, os.fspath(path)
    above = _above(path)
    is_inside = os.path.basename(os.path.abspath(path)) == "submodels"
    if is_inside and kind(above) == RUN:
        return RUN, above
    return what, ""


def _above(path: str | os.PathLike[str]) -> str:
    """The folder around a folder; relative if that one is."""
    path = os.fspath(path)
    above = os.path.dirname(os.path.abspath(path))
    return above if os.path.isabs(path) else os.path.relpath(above)
