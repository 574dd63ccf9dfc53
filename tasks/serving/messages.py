"""What goes into the server and comes out, free of any transport."""

import dataclasses
import enum

import numpy as np

from tasks.serving import errors as status

SERVED_BY_SUBMODEL = "submodel"
SERVED_BY_BASE = "base"
SERVED_BY_REQUEST = "request"


@dataclasses.dataclass(frozen=True)
class Caller:
    """Who asks, as the access control found out.

    Args:
        tenant: string.
        speakers: frozenset of the speaker ids it may use; None for all of the
            tenant's.
        is_admin: bool, may load, pin, unload and list the tenant's Submodels.
        name: string, for the access log.
        is_operator: bool, may do what concerns every tenant: reload models,
            read metrics.
    """

    tenant: str
    speakers: frozenset | None = None
    is_admin: bool = False
    name: str = ""
    is_operator: bool = False

    def allows(self, speaker):
        return self.speakers is None or speaker in self.speakers

    def require_admin(self):
        """Raises PERMISSION_DENIED unless the caller administers."""
        self._require(self.is_admin, "admin")

    def require_operator(self):
        """Raises PERMISSION_DENIED unless it runs the whole server."""
        self._require(self.is_operator, "operator")

    def _require(self, has_role, role):
        if not has_role:
            raise status.ServingError(
                status.Code.PERMISSION_DENIED,
                f"only a credential with `{role}` may do this",
            )


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """A model by name; its newest version, or one by number or by label."""

    name: str
    version: int | None = None
    label: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Utterance:
    """One row of a request.

    Args:
        audio: `[samples]` float32.
        submodel_id: string, the speaker whose Submodel answers.
        row: `[num_values]` float32, a packed Submodel sent along; with neither
            of the two, the base answers.
        sample_rate: int, of the audio, in hertz; None where nobody says.
    """

    audio: np.ndarray
    submodel_id: str | None = None
    row: np.ndarray | None = None
    sample_rate: int | None = None


@dataclasses.dataclass(frozen=True)
class Answer:
    """What was recognised in one utterance, and by what.

    Args:
        text: bytes, UTF-8.
        score: float.
        status: string, "OK" or why there is no text.
        submodel_version: string, "NUMBER-" and twelve digits of the file's
            SHA-256; empty where no Submodel of the store answered.
        served_by: "submodel", "base" or "request" (the row sent along).
    """

    text: bytes
    score: float
    status: str
    submodel_version: str
    served_by: str


@dataclasses.dataclass(frozen=True)
class LoadedSubmodel:
    """A Submodel that is ready: `submodel_version` as in `Answer`."""

    submodel_id: str
    submodel_version: str
    base_fingerprint: str
    num_bytes: int
    pinned: bool
    in_use: int


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A model to serve, as TensorFlow Serving's ModelConfig.

    Args:
        name: string.
        base_path: string, a folder of exports named by version number.
        latest: int, how many of the newest versions to serve.
        specific: tuple of int, serve exactly these; instead of `latest`.
        all_versions: bool, serve every version; instead of both.
        labels: dict of string to version; only for available versions.
    """

    name: str
    base_path: str
    latest: int = 1
    specific: tuple[int, ...] = ()
    all_versions: bool = False
    labels: dict = dataclasses.field(default_factory=dict)


class State(enum.Enum):
    """TensorFlow Serving's ModelVersionStatus.State; `.value` its number."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """`error`: None, or the `status.ServingError` that loading ended with."""

    version: int
    state: State
    error: Exception | None = None
