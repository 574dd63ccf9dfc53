"""What an export says of itself to machines: description.json.

It lies beside saved_model.pb. Reading it takes no TensorFlow, so that clients
and tools learn of sample rate, limits and layout at once.
"""

import dataclasses
import hashlib
import os

from lingvo_like import hyperparams, json_values

FILE = "description.json"
FORMAT_VERSION = 1
MAX_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Description:
    """What an exported base takes and what it is.

    Attributes:
        format_version: int, of this description.
        base_fingerprint: string; a Submodel must have the same.
        experiment: string, the registered name.
        sample_rate: int, in hertz, of all audio.
        max_samples: int, longest utterance.
        bucket_limits: ascending; an utterance of n samples falls in the
            first bucket with n <= limit. The last one is `max_samples`.
        bucket_samples: what each bucket's utterances are padded to, inside.
        model_dim, bottleneck_dim, blocks: of a Submodel, see `Layout`.
        num_values: int, length of a packed Submodel.
        residual_weight: float, which a Submodel's must equal: it is in the
            graph, not in the packed vector.
        max_tokens: int, most tokens of a text.
        beam_size: int, 1 for greedy.
        requires_tensorflow_text: whether the graph has operations of
            TensorFlow Text, which whoever loads it must have registered.
        base_description: dict, `BaseModel.description()`.
        submodel: dict, the metadata of the Submodel that is folded in; empty
            for an export that takes Submodels as input.
        signatures: dict of a signature's name to its "inputs" and "outputs",
            and they by name to the tensor's name in the graph, dtype and
            shape (-1: any), for programs that know no SignatureDef.
        files: dict of every other file's path to its SHA-256 in hex.
        sha256: string, of all of the above, in hex; writing fills it in.
    """

    format_version: int
    base_fingerprint: str
    experiment: str
    sample_rate: int
    max_samples: int
    bucket_limits: tuple[int, ...]
    bucket_samples: tuple[int, ...]
    model_dim: int
    bottleneck_dim: int
    blocks: tuple[int, ...]
    num_values: int
    residual_weight: float
    max_tokens: int
    beam_size: int
    requires_tensorflow_text: bool
    base_description: dict
    submodel: dict
    signatures: dict = dataclasses.field(default_factory=dict)
    files: dict = dataclasses.field(default_factory=dict)
    sha256: str = ""

    @property
    def layout(self):
        """The `Layout` of the Submodels that fit."""
        # Here: it imports Keras.
        from lingvo_like.submodel import layout as submodel_layout

        return submodel_layout.Layout(
            self.model_dim, self.bottleneck_dim, self.blocks
        )

    def bucket(self, num_samples):
        """The index of an utterance's bucket, by its own length alone.

        Raises:
            ValueError: it is empty or longer than `max_samples`.
        """
        if num_samples < 1:
            raise ValueError(
                f"an utterance needs at least 1 sample. Received: {num_samples}"
            )
        for index, limit in enumerate(self.bucket_limits):
            if num_samples <= limit:
                return index
        raise ValueError(
            f"the utterance lasts {num_samples / self.sample_rate:.2f} s; this "
            f"base takes at most {self.max_samples / self.sample_rate:g} s. "
            "Cut it."
        )


def to_json(description):
    """A description as text, with its checksum."""
    sha256 = _checksum(description)
    return hyperparams.to_json(dataclasses.replace(description, sha256=sha256))


def from_json(text):
    """The inverse of `to_json`.

    Raises:
        ValueError: it is not JSON, of another format version, altered, or a
            field is missing, unknown, of another type or contradicts another.
    """
    fields = json_values.strict_json(text)
    if not isinstance(fields, dict):
        raise ValueError("must be a JSON object")
    version = fields.get("format_version")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"the format version must be {FORMAT_VERSION}. Received: "
            f"{version!r}. Export again with this version of the project."
        )
    description = hyperparams.from_dict(Description, fields)
    if description.sha256 != _checksum(description):
        raise ValueError(
            f"altered: its SHA-256 must be {_checksum(description)}. "
            f"Received: {description.sha256}."
        )
    _check(description)
    return description


def read(folder):
    """The description of the export in a local folder.

    Raises:
        ValueError: it is missing, damaged or contradicts itself.
        OSError: it cannot be read.
    """
    path = os.path.join(folder, FILE)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ValueError(
            f"{path} is missing: no export of tasks.export, or not all of it"
        ) from None
    if len(data) > MAX_BYTES:
        raise ValueError(f"{path}: must have at most {MAX_BYTES} bytes")
    try:
        return from_json(data.decode())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def write(folder, description):
    """Writes description.json into a folder that nobody reads yet."""
    with open(os.path.join(folder, FILE), "w", encoding="utf-8") as file:
        file.write(to_json(description))


def file_digests(folder):
    """SHA-256 of every file under an export's folder but the description.

    Returns:
        dict of the path within the folder, with slashes, to hex.

    Raises:
        OSError: a file cannot be read.
    """
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


def check_files(folder, description):
    """Refuses an export of which a file is missing or altered.

    Files that the description does not know are nobody's concern.

    Raises:
        ValueError: names the file.
        OSError: a file cannot be read.
    """
    found = file_digests(folder)
    for name, digest in description.files.items():
        if name not in found:
            raise ValueError(f"{os.path.join(folder, name)} is missing")
        if found[name] != digest:
            raise ValueError(
                f"{os.path.join(folder, name)} is cut or altered: its SHA-256 "
                f"must be {digest}. Received: {found[name]}."
            )


def _checksum(description):
    plain = dataclasses.replace(description, sha256="")
    return hashlib.sha256(hyperparams.to_json(plain).encode()).hexdigest()


def _check(description):
    if not description.base_fingerprint:
        raise ValueError("`base_fingerprint` must not be empty")
    limits, samples = description.bucket_limits, description.bucket_samples
    ascending = all(
        low < high for low, high in zip((0, *limits), limits, strict=False)
    )
    if not limits or not ascending or limits[-1] != description.max_samples:
        raise ValueError(
            "`bucket_limits` must ascend up to `max_samples`, "
            f"{description.max_samples}. Received: {limits}."
        )
    if len(samples) != len(limits) or any(
        room < limit for room, limit in zip(samples, limits, strict=False)
    ):
        raise ValueError(
            "`bucket_samples` must give each of the bucket limits "
            f"{limits} its room. Received: {samples}."
        )
    for name in ("sample_rate", "beam_size", "max_tokens"):
        if getattr(description, name) < 1:
            raise ValueError(
                f"`{name}` must be positive. Received: "
                f"{getattr(description, name)}."
            )
