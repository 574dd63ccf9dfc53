"""The folder in which the short-context forms of Whispers are kept.

A form is made once, by `tasks.asr.bases.short_form`, and found again by every
command that is given the Whisper it was made of. Its folder is named after that
Whisper's content and how it is made, and not after the speech or its language:
a run stores the folder's path and the fingerprint of what is in it.
"""

import dataclasses
import hashlib
import json
import os
import posixpath
import re

from lingvo_like import cache
from lingvo_like.base_models.whisper import checkpoints
from params import bases

_KIND = "short_bases"
# How a form is made where nobody chose otherwise. Its values are in the
# folder's name.
RECIPE = bases.ContextShortening(max_utterances=200)
# Beside the weights of a form: the Whisper, the values and the speech that it
# was made of.
MADE_OF_FILE = "made_of.json"


def is_short(path: str) -> bool:
    """Whether a Whisper was made for a short audio context.

    Raises:
        ValueError, OSError: as `checkpoints.outline`.
    """
    _, record = checkpoints.outline(path)
    return record.get("audio_context") == "short"


def folder() -> str:
    """The folder of all kept bases."""
    return cache.folder(_KIND)


def is_kept(path: str) -> bool:
    """Whether a path is that of a kept base."""
    parent = os.path.dirname(os.path.abspath(path))
    return parent == os.path.abspath(folder())


def path_of(base: str) -> str:
    """The folder of a Whisper's short-context form, whether it is there or not.

    Args:
        base: the Whisper, as `checkpoints.read` takes it.
    """
    identity = json.dumps(
        [checkpoints.content_digest(base), dataclasses.asdict(RECIPE)]
    )
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    name = posixpath.basename(base.rstrip("/"))
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".") or "whisper"
    return os.path.join(folder(), f"{name}-{digest}")


def find(base: str) -> str:
    """The path of a Whisper's short-context form; empty if there is none."""
    path = path_of(base)
    return path if os.path.isdir(path) else ""
