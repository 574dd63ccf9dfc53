"""The folder of what is made once and found again by later commands."""

import os

# Names another folder.
FOLDER_VARIABLE = "SUBMODELS_CACHE"


def folder(kind: str) -> str:
    """The folder of all that is kept of a kind, whether it is there or not."""
    chosen = os.environ.get(FOLDER_VARIABLE)
    if not chosen:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        chosen = os.path.join(cache, "submodels")
    return os.path.join(os.path.expanduser(chosen), kind)
