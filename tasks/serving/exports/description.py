"""An export's description of itself for programs: description.json.

It lies beside saved_model.pb. Reading it takes no TensorFlow, so that clients
and tools learn the sample rate, the limits and the layout at once.
"""

import bisect
import dataclasses
import hashlib
import operator
import os
from typing import TYPE_CHECKING

from lingvo_like import hyperparams, json_values, languages

if TYPE_CHECKING:
    from lingvo_like.submodel import layout as submodel_layout

FILE = "description.json"
FORMAT_VERSION = 3
MAX_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Description:
    """An exported base: its identity, and the inputs that it takes.

    Attributes:
        sample_rate: of all audio, in hertz.
        max_samples: of the longest utterance.
        bucket_limits: ascending; an utterance of n samples falls in the first
            bucket with n <= limit. The last one is `max_samples`.
        bucket_samples: the length to which each bucket's utterances are
            padded inside.
        parts: the layout of a Submodel, see `Layout.to_json`.
        num_values: length of a packed Submodel.
        beam_size: 1 for greedy decoding.
        requires_tensorflow_text: whether the graph has operations of
            TensorFlow Text, which a program that loads it must register.
        languages: codes that the base can write, as `BaseModel.languages`. If
            there are several, every signature has the input `language_index`,
            which says for each row the place of its language here.
        default_language: of rows that name none and whose Submodel has none;
            "" where every row has to name one, or where there is one alone.
        base_description: of `BaseModel.description()`.
        submodel: metadata of the Submodel that is folded in; empty for an
            export that takes Submodels as input.
        signatures: by name, their "inputs" and "outputs"; each by name to the
            tensor's name in the graph, dtype and shape (-1: any), for
            programs that do not read SignatureDefs.
        files: every other file's path to its SHA-256 in hex.
        sha256: of all of the above, in hex; filled in when it is written.

    Raises:
        ValueError: a value is out of range or contradicts another.
    """

    format_version: int
    base_fingerprint: str
    experiment: str
    sample_rate: int
    max_samples: int
    bucket_limits: tuple[int, ...]
    bucket_samples: tuple[int, ...]
    parts: tuple[dict, ...]
    num_values: int
    max_tokens: int
    beam_size: int
    requires_tensorflow_text: bool
    languages: tuple[str, ...]
    default_language: str
    base_description: dict
    submodel: dict
    signatures: dict = dataclasses.field(default_factory=dict)
    files: dict = dataclasses.field(default_factory=dict)
    sha256: str = ""

    def __post_init__(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise ValueError(_wrong_format(self.format_version))
        if not self.base_fingerprint:
            raise ValueError("`base_fingerprint` must not be empty")
        for name in ("sample_rate", "num_values", "beam_size", "max_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"`{name}` must be positive. Received: "
                    f"{getattr(self, name)}."
                )
        if not self.languages:
            raise ValueError("`languages` must not be empty")
        if self.default_language not in ("", *self.languages):
            raise ValueError(
                "`default_language` must be one of the base's. "
                f"{self._known_languages()} Received: "
                f"{self.default_language!r}."
            )
        limits, samples = self.bucket_limits, self.bucket_samples
        is_ascending = all(map(operator.lt, (0, *limits), limits))
        if not limits or not is_ascending or limits[-1] != self.max_samples:
            raise ValueError(
                "`bucket_limits` must ascend up to `max_samples`, "
                f"{self.max_samples}. Received: {limits}."
            )
        is_room = all(map(operator.ge, samples, limits))
        if len(samples) != len(limits) or not is_room:
            raise ValueError(
                "`bucket_samples` must have a length for each of the bucket "
                f"limits {limits}, and none below it. Received: {samples}."
            )

    @property
    def layout(self) -> "submodel_layout.Layout":
        """The `Layout` of the Submodels that fit."""
        # Imported here because it imports Keras.
        from lingvo_like.submodel import layout as submodel_layout

        return submodel_layout.from_json(self.parts)

    def language_index(self, asked: str = "", own: str = "") -> int:
        """The place in `languages` of an utterance's language.

        Args:
            asked: the code that the request names; may be "".
            own: that of its Submodel; may be "".

        Raises:
            ValueError: the base does not know it, or nothing names one.
        """
        try:
            asked = languages.folded(asked)
        except ValueError as error:
            raise ValueError(f"{error}. {self._known_languages()}") from None
        if asked and self.languages == languages.NONE:
            raise ValueError(
                f"the base model has no languages to choose from, and "
                f"{asked!r} was asked for; leave it out"
            )
        code = asked or own or self.default_language
        if not code and len(self.languages) > 1:
            raise ValueError(
                "nothing says in which language to write: not the request, "
                "not the Submodel, and the export has no default. "
                f"{self._known_languages()} Name one with the request."
            )
        return languages.index(self.languages, code)

    def _known_languages(self) -> str:
        return f"It knows: {languages.known(self.languages)}."

    def bucket(self, num_samples: int) -> int:
        """The index of an utterance's bucket, by its own length alone.

        Raises:
            ValueError: it is empty or longer than `max_samples`.
        """
        if num_samples < 1:
            raise ValueError(
                f"an utterance needs at least 1 sample. Received: {num_samples}"
            )
        if num_samples > self.max_samples:
            raise ValueError(
                f"the utterance lasts {num_samples / self.sample_rate:.2f} s; "
                "this base takes at most "
                f"{self.max_samples / self.sample_rate:g} s. Cut it."
            )
        return bisect.bisect_left(self.bucket_limits, num_samples)


def read(folder: str | os.PathLike[str]) -> Description:
    """The description of the export in a local folder.

    Raises:
        ValueError: it is missing, damaged, altered or contradicts itself.
        OSError: it cannot be read.
    """
    path = os.path.join(folder, FILE)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ValueError(
            f"{path} is missing: this is no export, or an incomplete one"
        ) from None
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path}: must have at most {MAX_BYTES} bytes")
    try:
        return _from_json(data.decode())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write(folder: str | os.PathLike[str], description: Description) -> None:
    """Writes description.json into a folder that nobody reads yet."""
    sealed = dataclasses.replace(description, sha256=_checksum(description))
    with open(os.path.join(folder, FILE), "w", encoding="utf-8") as file:
        file.write(hyperparams.to_json(sealed))


def file_digests(folder: str | os.PathLike[str]) -> dict[str, str]:
    """SHA-256 of every file but the description, by path with slashes."""
    digests = {}
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(parent, name)
            relative = os.path.relpath(path, folder).replace(os.sep, "/")
            if relative != FILE:
                with open(path, "rb") as file:
                    digest = hashlib.file_digest(file, "sha256")
                digests[relative] = digest.hexdigest()
    return digests


def check_files(
    folder: str | os.PathLike[str], description: Description
) -> None:
    """Refuses an export if one of its files is missing or altered.

    Files that the description does not list are ignored.

    Raises:
        ValueError: names the file.
    """
    found = file_digests(folder)
    for name, digest in description.files.items():
        path = os.path.join(folder, name)
        if name not in found:
            raise ValueError(f"{path} is missing")
        if found[name] != digest:
            raise ValueError(
                f"{path} is cut or altered: its SHA-256 must be {digest}. "
                f"Received: {found[name]}."
            )


def _from_json(text: str) -> Description:
    fields = json_values.strict_object(text)
    # First, since another format has other fields.
    if fields.get("format_version") != FORMAT_VERSION:
        raise ValueError(_wrong_format(fields.get("format_version")))
    description = hyperparams.from_dict(Description, fields)
    if description.sha256 != _checksum(description):
        raise ValueError(
            f"altered: its SHA-256 must be {_checksum(description)}. "
            f"Received: {description.sha256}."
        )
    return description


def _checksum(description: Description) -> str:
    unsealed = dataclasses.replace(description, sha256="")
    return hashlib.sha256(hyperparams.to_json(unsealed).encode()).hexdigest()


def _wrong_format(version: object) -> str:
    return (
        f"the format version must be {FORMAT_VERSION}. Received: {version!r}. "
        "Export again with this version of the project."
    )
