"""Submodels that a store takes only when it is told to."""

from lingvo_like.store import audit, filesystem, records


class RefusedError(ValueError):
    """The store does not take this Submodel unless it is told to.

    Attributes:
        option: the argument of `publish` that tells it to.
    """

    def __init__(self, message: str, option: str):
        super().__init__(message)
        self.option = option


def check_base(
    speaker: str, base_fingerprint: str, current: records.Version | None
) -> None:
    """Refuses a Submodel for another base model than that which serves."""
    if current and current.base_fingerprint != base_fingerprint:
        raise RefusedError(
            f"{speaker!r} is served by version {current.name} for the base "
            f"model {current.base_fingerprint[:12]}; this Submodel is for "
            f"{base_fingerprint[:12]}, and servers of the other would answer "
            "with errors",
            "change_base",
        )


def check_erased(
    tree: filesystem.Files,
    tenant: str,
    speaker: str,
    current: records.Version | None,
) -> None:
    """Refuses a speaker who was erased and has not been published since."""
    if current is not None:
        return
    erasure = audit.erasure(tree, tenant, speaker)
    if erasure is not None:
        raise RefusedError(
            f"{speaker!r} was erased at {erasure.get('at')} "
            f"({str(erasure.get('reason'))[:200]})",
            "again",
        )
