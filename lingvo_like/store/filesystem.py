"""The files of a Submodel store, in a local folder or in a bucket.

Both kinds take paths relative to the store's root, with `/` between names, and
raise OSErrors that name the file. A missing file is a FileNotFoundError.
"""

import os

from lingvo_like import files
from lingvo_like.store import local_files, remote_files

Files = local_files.LocalFiles | remote_files.RemoteFiles


def open_root(root: str | os.PathLike) -> Files:
    """The files below a folder or, if the root is a URL, in a bucket."""
    root = os.fspath(root)
    if not root:
        raise ValueError("the store's folder is empty; name one")
    if files.is_local(root):
        return local_files.LocalFiles(root)
    return remote_files.RemoteFiles(root)
