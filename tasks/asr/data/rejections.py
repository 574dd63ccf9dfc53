"""An account of everything left out; nothing goes away silently."""

import collections
import dataclasses
from collections import abc

from tasks import tables


class UnusableError(ValueError):
    """The reason that something cannot be used.

    Attributes:
        reason: what is wrong, in the same words for the same fault.
        detail: what is wrong with this very one, or "".
        where: the path of what is unusable, or "".
    """

    def __init__(self, reason: str, detail: str = "", where: str = "") -> None:
        super().__init__(": ".join(filter(None, (where, reason, detail))))
        self.reason = reason
        self.detail = detail
        self.where = where

    @property
    def described(self) -> str:
        """The place and the detail, for a report that groups by reason."""
        return " ".join(filter(None, (self.where, self.detail)))


@dataclasses.dataclass(frozen=True)
class Rejection:
    """One thing that cannot be used.

    Attributes:
        where: the place to look at, such as `manifest.jsonl:12` or a path.
        utt_id: the utterance, or "" where none is known yet.
        reason, detail: as those of `UnusableError`.
    """

    where: str
    utt_id: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return "  ".join(filter(None, (self.where, self.utt_id, self.detail)))


class Rejections(list[Rejection]):
    """A list of `Rejection` that can describe itself.

    Attributes:
        remarks: of the same form, on what is used all the same and should be
            looked at.
    """

    def __init__(self) -> None:
        super().__init__()
        self.remarks: list[Rejection] = []

    def extend(self, items: abc.Iterable[Rejection]) -> None:
        """Appends rejections, with their remarks."""
        super().extend(items)
        if isinstance(items, Rejections):
            self.remarks.extend(items.remarks)

    def remark(
        self, where: str, utt_id: str, reason: str, detail: str = ""
    ) -> None:
        """Adds a remark on what is used."""
        self.remarks.append(Rejection(where, utt_id, reason, detail))

    def add(
        self, where: str, utt_id: str, reason: str, detail: str = ""
    ) -> None:
        """Appends one rejection."""
        self.append(Rejection(where, utt_id, reason, detail))

    def by_reason(self) -> dict[str, list[Rejection]]:
        """The rejections of each reason, the commonest reason first."""
        return _by_reason(self)

    def summary(self) -> str:
        """One line: each reason with its count and its first place."""
        return "; ".join(
            f"{len(group)} x {reason} (first: {group[0]})"
            for reason, group in self.by_reason().items()
        )

    def describe(self, examples: int | None = 3) -> str:
        """Lines of text, grouped by reason; "" when there is nothing to tell.

        Args:
            examples: how many of each reason to list; None lists all.
        """
        text = _listed(f"{len(self)} left out:", self, examples)
        title = f"{len(self.remarks)} to look at, which are used:"
        return text + _listed(title, self.remarks, examples)

    def account(self) -> str:
        """Everything that is left out, as the text of a file."""
        return self.describe(examples=None) or "Nothing left out.\n"

    def raise_if_any(self, subject: str) -> None:
        """Raises a ValueError that names `subject` and its first few."""
        if not self:
            return
        named = [
            f"{rejection.where}: {rejection.reason}"
            + (f" ({rejection.detail})" if rejection.detail else "")
            for rejection in self
        ]
        raise ValueError(
            f"{subject} has {tables.counted(len(self), 'unusable utterance')}"
            f": {'; '.join(tables.shortened(named, 3))}"
        )


def _by_reason(found: abc.Iterable[Rejection]) -> dict[str, list[Rejection]]:
    groups = collections.defaultdict(list)
    for each in found:
        groups[each.reason].append(each)
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def _listed(
    title: str, found: abc.Sequence[Rejection], examples: int | None
) -> str:
    if not found:
        return ""
    width, lines = len(str(len(found))), [title]
    for reason, group in _by_reason(found).items():
        lines.append(f"  {len(group):>{width}}  {reason}")
        shown = list(map(str, group))
        if examples is not None:
            shown = tables.shortened(shown, examples, "... ")
        lines += [f"  {'':>{width}}    {each}" for each in shown]
    return "\n".join(lines) + "\n"
