"""Speakers whose recordings cannot be read any more, while a job runs.

Each is set aside, with what it has learned so far. The others go on as they
would have, to the bit: nothing of theirs depends on who is beside them. Once
the recordings are back, a later start goes on with the speaker, too.
"""

import dataclasses
import sys
from collections import abc
from typing import Any

import numpy as np
import tqdm

from tasks import tables
from tasks.asr.batches import minibatch_schedule
from tasks.asr.training import sharding as sharding_lib


class SetAsideError(OSError):
    """Speakers of a job were set aside; the others are done."""


class SetAside:
    """The speakers who were set aside.

    Args:
        speakers: ids by slot.

    Attributes:
        unreadable: slots whose recordings could not be read, with the reason;
            the loaders of batches add to it, and leave the places empty.
        reasons: slots that are set aside, in all processes, with the reason.
    """

    def __init__(
        self, speakers: abc.Sequence[str], sharding: sharding_lib.Sharding
    ) -> None:
        self.unreadable: dict[int, str] = {}
        self.reasons: dict[int, str] = {}
        self._speakers = speakers
        self._sharding = sharding

    def add(self, slot: int, reason: str) -> None:
        """Sets a speaker aside, and says so."""
        if slot not in self.reasons:
            self.reasons[slot] = reason
            tqdm.tqdm.write(
                f"warning: {self._speakers[slot]} is set aside, and the "
                f"others go on: {reason}",
                file=sys.stderr,
            )

    def told(self) -> list[Any]:
        """The reasons that other processes need, for their `learn`."""
        return list(self.reasons.items())

    def learn(self, told: abc.Iterable[Any]) -> None:
        """Takes what another process `told`."""
        self.reasons |= {slot: reason for slot, reason in told}

    def without(
        self, group: minibatch_schedule.Group
    ) -> minibatch_schedule.Group:
        """The group without the minibatches of those set aside."""
        if not self.reasons:
            return group
        placed = tuple(
            (place, each)
            for place, each in group.placed
            if each.slot not in self.reasons
        )
        return dataclasses.replace(group, placed=placed)

    def empty_places(
        self,
        groups: abc.Sequence[minibatch_schedule.Group],
        batches: list[dict[str, Any]],
    ) -> list[dict[str, Any]]:
        """The batches of a call, in which those set aside do not train.

        A place whose recordings could not be read is empty. What was read of
        the speaker's later steps must not be trained on either.

        Args:
            groups: of the call's steps.
            batches: one for each replica of this process.
        """
        if not self.unreadable:
            return batches
        places = self._sharding.places
        first = self._sharding.replicas.local.start
        actives = [
            np.array(batch["active"]).reshape(-1, places) for batch in batches
        ]
        for step, group in enumerate(groups):
            for place, minibatch in self._sharding.own(group):
                replica, place = divmod(place, places)
                active = actives[replica - first][step]
                if not active[place]:
                    self.add(minibatch.slot, self.unreadable[minibatch.slot])
                if minibatch.slot in self.reasons:
                    active[place] = False
        return [
            {**batch, "active": active.reshape(batch["active"].shape)}
            for batch, active in zip(batches, actives, strict=True)
        ]

    def raise_if_any(self) -> None:
        """Says in the end who was set aside.

        Raises:
            SetAsideError: with the reasons.
        """
        if not self.reasons:
            return
        named = [
            f"{self._speakers[slot]} ({reason})"
            for slot, reason in sorted(self.reasons.items())
        ]
        raise SetAsideError(
            f"{len(named)} of {len(self._speakers)} speakers were set aside: "
            f"{tables.first_names(named, 3)}. The others are done. When the "
            "recordings are as they were, the same command goes on with these "
            "speakers; without their lines in the manifests it leaves them out."
        )
