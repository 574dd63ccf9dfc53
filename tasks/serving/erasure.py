"""Erases a person from a store, and from the folders that hold their data."""

import contextlib
import dataclasses
import posixpath
from collections import abc

from lingvo_like import files
from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tasks.asr.training import withdrawal


@dataclasses.dataclass(frozen=True)
class Erasure:
    """The result of an erasure: what is removed, and what is left.

    Attributes:
        num_versions: of the speaker, that were in the store.
        removed: folder to the paths below it, each with what was removed of it.
        remains: sentences about what stays in the folders.
        files: the paths that versions were published from, where a file is
            still there.
    """

    speaker: str
    num_versions: int
    removed: dict[str, tuple[str, ...]]
    remains: list[str]
    files: list[str]

    def describe(self, is_stored: bool) -> str:
        """The erasure in lines for people.

        Args:
            is_stored: whether it was also of a store.
        """
        state = f"{self.num_versions} versions"
        if not self.num_versions:
            state = "not in the store" if is_stored else "from folders only"
        lines = [f"erased {self.speaker}: {state}"]
        for folder, parts in self.removed.items():
            lines.append(f"  {folder}: {', '.join(parts) or 'not in it'}")
        lines += [f"  remains: {text}" for text in self.remains]
        lines += [f"  still there: {self._advice(path)}" for path in self.files]
        if self.removed:
            lines.append(
                "  recordings and lines of manifests are yours to remove; "
                "a new training would take them again"
            )
        return "\n".join(lines)

    def _advice(self, path: str) -> str:
        """The path of a file that is left, and how to remove it."""
        folder, name = posixpath.split(path)
        run, submodels = posixpath.split(folder)
        # It may have been published for another speaker than it was made for.
        is_theirs = name == submodel_file.file_name(self.speaker)
        if is_theirs and submodels == "submodels":
            return f"{path}; --run={run} removes it"
        return f"{path}; remove it"


def erase(
    store: submodel_store.SubmodelStore | None,
    tenant: str,
    speaker: str,
    reason: str,
    by: str,
    folders: abc.Sequence[str],
) -> Erasure:
    """Erases every version of a speaker, and takes the speaker out of folders.

    Args:
        store: None for an erasure from folders alone.
        tenant, reason, by: see `SubmodelStore.erase`.
        folders: of runs, enrolments and evaluations.

    Raises:
        ValueError: the speaker is in none of them.
        OSError: the store fails, or a folder cannot be changed.
    """
    sources, count = [], 0
    if store is not None:
        sources = _sources(store, tenant, speaker)
        count = store.erase(tenant, speaker, reason, by, bool(folders))
    done = [_withdraw(folder, speaker) for folder in folders]
    if not count and not any(each.removed for each in done):
        where = "not" if store is None else "neither in the store nor"
        raise ValueError(f"{where} in {', '.join(folders)}")
    return Erasure(
        speaker=speaker,
        num_versions=count,
        removed={each.folder: each.removed for each in done},
        remains=[
            f"{each.folder}: {text}" for each in done for text in each.remains
        ],
        files=[path for path in sources if files.exists(path)],
    )


def _sources(
    store: submodel_store.SubmodelStore, tenant: str, speaker: str
) -> list[str]:
    """The files that a speaker's versions were published from."""
    # A damaged version is erased all the same; its source is then not known.
    with contextlib.suppress(OSError, LookupError):
        found = store.versions(tenant, speaker)
        return sorted({each.source for each in found if each.source})
    return []


def _withdraw(folder: str, speaker: str) -> withdrawal.Withdrawal:
    try:
        return withdrawal.withdraw(folder, speaker)
    except (OSError, ValueError) as error:
        raise OSError(
            f"not yet erased from {folder}: {error}. Then give the same "
            "command again"
        ) from None
