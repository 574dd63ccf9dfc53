"""The corpora that can be imported, by name."""

import dataclasses
import inspect
import os
import textwrap
from collections import abc

from lingvo_like import hyperparams
from tasks.asr.corpora import (
    audiofolder,
    common,
    commonvoice,
    euphonia,
    kaldi,
    librispeech,
    sap,
    textfiles,
    torgo,
    uaspeech,
)
from tasks.asr.data import rejections

CORPORA: dict[str, abc.Callable[..., common.Imported]] = {
    "textfiles": textfiles.read,
    "audiofolder": audiofolder.read,
    "commonvoice": commonvoice.read,
    "euphonia": euphonia.read,
    "kaldi": kaldi.read,
    "librispeech": librispeech.read,
    "sap": sap.read,
    "torgo": torgo.read,
    "uaspeech": uaspeech.read,
}

# Corpora of one language.
_LANGUAGES: dict[str, str] = {
    "librispeech": "en",
    "sap": "en",
    "torgo": "en",
    "uaspeech": "en",
}
# A folder with the files of one of these is no other.
_SURE_SIGNS = {
    "commonvoice": commonvoice.recognises,
    "kaldi": kaldi.recognises,
}
# A folder may look like both of these.
_SIGNS = {
    "audiofolder": audiofolder.recognises,
    "textfiles": textfiles.recognises,
}


def guess(root: str | os.PathLike) -> str:
    """The corpus whose layout a folder has, where that is beyond doubt.

    Raises:
        ValueError: it has none, or two.
        OSError: `root` is no folder.
    """
    _check_folder(root)
    for name, is_there in _SURE_SIGNS.items():
        if is_there(root):
            return name
    found = [name for name, is_there in _SIGNS.items() if is_there(root)]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(
            f"{root} holds a table of recordings and text files beside them; "
            "say which to use, --from=audiofolder or --from=textfiles, or name "
            "the folders of each: --root=A,B"
        )
    raise ValueError(
        f"{root}: neither a table of recordings (CSV with the columns "
        "file_name and text) nor text files beside them were found"
        f"{audiofolder.unfit(root)}. Layouts that --from names: "
        "--list_corpora shows them"
    )


def layout(name: str) -> str:
    """The first lines of a corpus's module: its name and its layout."""
    return (inspect.getdoc(inspect.getmodule(CORPORA[name])) or "").rstrip()


def options(name: str) -> list[str]:
    """The keyword options that a corpus's importer takes."""
    return list(inspect.signature(CORPORA[name]).parameters)[1:]


def listing() -> str:
    """The layouts of all corpora, and the options of their importers."""
    parts = []
    for name in CORPORA:
        lines = f"{layout(name)}\n\nOptions: {_flags(name) or 'none'}"
        parts.append(f"--from={name}\n{textwrap.indent(lines, '    ')}\n")
    return "\n".join(parts)


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
    _check_folder(root)
    utterances, left_out = CORPORA[name](root, **given)
    if not utterances:
        why = left_out.summary() or "nothing of that layout was found"
        raise ValueError(
            f"{root} has no usable utterance of {name} "
            f"(--list_corpora shows the layout that it needs): {why}"
        )
    utterances = common.with_language(utterances, _LANGUAGES.get(name, ""))
    return utterances, left_out


def read_all(
    layouts: abc.Mapping[str, str], **given: object
) -> common.Imported:
    """Imports several folders as one.

    Where there are several, ids of utterances begin with the folder's name and
    places with its path.

    Args:
        layouts: the name of the corpus by folder.

    Raises:
        ValueError, OSError: as `read`.
    """
    utterances, left_out = [], rejections.Rejections()
    for root, prefix in zip(layouts, _prefixes(list(layouts)), strict=True):
        found, lost = read(layouts[root], root, **given)
        utterances += [
            dataclasses.replace(each, utt_id=prefix + each.utt_id)
            for each in found
        ]
        folder = root if prefix else ""
        left_out.extend(_placed(lost, folder))
        left_out.remarks += _placed(lost.remarks, folder)
    return utterances, left_out


def _placed(
    found: abc.Iterable[rejections.Rejection], folder: str
) -> list[rejections.Rejection]:
    """Rejections with their folder before their places."""
    # An absolute place stays what it is.
    return [
        dataclasses.replace(each, where=os.path.join(folder, each.where))
        for each in found
    ]


def _prefixes(roots: abc.Sequence[str]) -> list[str]:
    """Prefixes that keep the ids of several folders apart; "" for one."""
    if len(roots) < 2:
        return [""] * len(roots)
    names = [os.path.basename(os.path.abspath(root)) for root in roots]
    return [
        f"{name}/" if names.count(name) == 1 else f"{name}-{number}/"
        for number, name in enumerate(names, start=1)
    ]


def _check_folder(root: str | os.PathLike) -> None:
    if not os.path.exists(root):
        raise FileNotFoundError(f"corpus folder {root} does not exist")
    if not os.path.isdir(root):
        raise NotADirectoryError(f"corpus folder {root} is not a folder")
