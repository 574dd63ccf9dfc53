"""The values that enter and leave the server, independent of any transport."""

import dataclasses
import enum
from collections import abc

import numpy as np

from tasks.serving import errors

SERVED_BY_SUBMODEL = "submodel"
SERVED_BY_BASE = "base"
SERVED_BY_REQUEST = "request"
_NO_ROLE = "this takes a credential with `{}`"


@dataclasses.dataclass(frozen=True)
class Caller:
    """The sender of a request, as access control identified it.

    Args:
        speakers: ids whose Submodels it may use; None for all of the tenant's.
        is_admin: whether it may load, pin, unload and list the tenant's
            Submodels.
        name: for the access log.
        is_operator: whether it may do what concerns every tenant: reload
            models and read metrics.
    """

    tenant: str
    speakers: frozenset[str] | None = None
    is_admin: bool = False
    name: str = ""
    is_operator: bool = False

    def __post_init__(self) -> None:
        if not self.tenant:
            raise ValueError("`tenant` must not be empty")

    def allows(self, speaker: str) -> bool:
        return self.speakers is None or speaker in self.speakers

    def require_admin(self) -> None:
        """Raises PERMISSION_DENIED unless the caller is an administrator."""
        if not self.is_admin:
            raise errors.permission_denied(_NO_ROLE.format("admin"))

    def require_operator(self) -> None:
        """Raises PERMISSION_DENIED unless the caller operates the server."""
        if not self.is_operator:
            raise errors.permission_denied(_NO_ROLE.format("operator"))


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """A model's newest version, or the one with a number or a label."""

    name: str
    version: int | None = None
    label: str | None = None

    def __post_init__(self) -> None:
        if self.version is not None and self.label is not None:
            raise ValueError(
                "a model is chosen by `version` or by `label`, not by both. "
                f"Received: {self.version}, {self.label!r}."
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Utterance:
    """One row of a request; the base answers if it names no Submodel.

    Args:
        audio: `[samples]` float32, or the bytes of a recording's file, which
            the server decodes.
        submodel_id: the speaker whose Submodel is to be used.
        vector: `[num_values]` float32, a packed Submodel sent along.
        sample_rate: of the samples, in hertz; None if the sender did not say.
        language: code of what to write, such as "en"; "" for that of the
            Submodel, or else of the export.
    """

    audio: np.ndarray | bytes
    submodel_id: str | None = None
    vector: np.ndarray | None = None
    sample_rate: int | None = None
    language: str = ""

    def __post_init__(self) -> None:
        if self.submodel_id is not None and self.vector is not None:
            raise ValueError(
                "an utterance names a Submodel or brings one, not both"
            )

    @property
    def is_recording(self) -> bool:
        """Whether the audio has yet to be decoded."""
        return isinstance(self.audio, bytes)


@dataclasses.dataclass(frozen=True)
class Answer:
    """The transcript of one utterance, and what produced it.

    Args:
        text: UTF-8.
        score: mean log probability of a token.
        status: "OK"; "CUT: ..." if the end of the text is missing; or the
            reason why there is no text.
        submodel_version: "NUMBER-" and the first twelve digits of the file's
            SHA-256; empty if no Submodel of the store answered.
        served_by: "submodel", "base" or "request" (the Submodel sent along).
    """

    text: bytes
    score: float
    status: str
    submodel_version: str
    served_by: str


@dataclasses.dataclass(frozen=True)
class LoadedSubmodel:
    """A Submodel that is in memory, ready to answer.

    Args:
        submodel_version: as in `Answer`.
        in_use: the number of requests that hold it.
    """

    submodel_id: str
    submodel_version: str
    base_fingerprint: str
    num_bytes: int
    pinned: bool
    in_use: int


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A model to serve, as in TensorFlow Serving's ModelConfig.

    Args:
        base_path: folder of exports, each named by its version number.
        latest: how many of the newest versions to serve.
        specific: versions to serve, instead of the `latest`.
        all_versions: whether to serve every version, instead of either.
        labels: label to version; the version must be served.
    """

    name: str
    base_path: str
    latest: int = 1
    specific: tuple[int, ...] = ()
    all_versions: bool = False
    labels: abc.Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a model must have a name")
        if not self.base_path:
            raise ValueError(f"model {self.name!r}: `base_path` is missing")
        if self.latest < 1:
            raise ValueError(
                f"model {self.name!r}: `latest` must be at least 1. Received: "
                f"{self.latest}."
            )


class State(enum.Enum):
    """The life of a version, with the numbers of TensorFlow Serving."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """The state of one version, and the error if it could not be loaded."""

    version: int
    state: State
    error: errors.ServingError | None = None
