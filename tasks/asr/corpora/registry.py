"""The corpora that can be imported, by name."""

import inspect
import os
from collections import abc

from lingvo_like import hyperparams
from tasks.asr.corpora import (
    audiofolder,
    common,
    euphonia,
    kaldi,
    librispeech,
    sap,
    torgo,
    uaspeech,
)

CORPORA: dict[str, abc.Callable[..., common.Imported]] = {
    "audiofolder": audiofolder.read,
    "euphonia": euphonia.read,
    "kaldi": kaldi.read,
    "librispeech": librispeech.read,
    "sap": sap.read,
    "torgo": torgo.read,
    "uaspeech": uaspeech.read,
}


def layout(name: str) -> str:
    """The first lines of a corpus's module: its name and its layout."""
    return (inspect.getdoc(inspect.getmodule(CORPORA[name])) or "").rstrip()


def options(name: str) -> list[str]:
    """The keyword options that a corpus's importer takes."""
    return list(inspect.signature(CORPORA[name]).parameters)[1:]


def listing() -> str:
    """The layouts of all corpora, and the options of their importers."""
    return "\n".join(
        f"--from={name}\n{layout(name)}\nOptions: {_flags(name) or 'none'}\n"
        for name in CORPORA
    )


def _flags(name: str) -> str:
    return ", ".join(f"--{each}" for each in options(name))


def read(
    name: str, root: str | os.PathLike, **given: object
) -> common.Imported:
    """Imports a corpus, with options of its importer.

    Raises:
        ValueError: no such corpus or option, or nothing usable below `root`.
        OSError: `root` is no folder.
    """
    if name not in CORPORA:
        raise ValueError(
            f"unknown corpus {name!r}. "
            f"{hyperparams.did_you_mean(name.lower(), CORPORA)}"
        )
    unknown = sorted(given.keys() - set(options(name)))
    if unknown:
        raise ValueError(
            f"--{unknown[0]} means nothing for {name}; it takes "
            f"{_flags(name) or 'no option'}"
        )
    if not os.path.exists(root):
        raise FileNotFoundError(f"corpus folder {root} does not exist")
    if not os.path.isdir(root):
        raise NotADirectoryError(f"corpus folder {root} is not a folder")
    utterances, left_out = CORPORA[name](root, **given)
    if not utterances:
        why = left_out.summary() or "nothing of that layout was found"
        raise ValueError(
            f"{root} has no usable utterance of {name} "
            f"(--list_corpora shows the layout that it needs): {why}"
        )
    return utterances, left_out
