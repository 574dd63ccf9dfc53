"""Reads Whisper's weights from a CTranslate2 `model.bin`.

The format is that of CTranslate2's python/ctranslate2/specs/model_spec.py:
little endian, length-prefixed names, then the aliases of tied weights.
"""

import re
import struct

import numpy as np

from lingvo_like.base_models.whisper import architecture

_FLOAT32, _INT8, _INT16, _INT32, _FLOAT16, _BFLOAT16 = range(6)
_TYPES = {
    _FLOAT32: np.float32,
    _INT8: np.int8,
    _INT16: np.int16,
    _INT32: np.int32,
    _FLOAT16: np.float16,
    _BFLOAT16: np.uint16,
}
_OLDEST_VERSION, _NEWEST_VERSION = 4, 6
# What Whisper's function is, where a file says it: CTranslate2's switches and
# its number of the exact GELU.
_FUNCTION = {
    "decoder/activation": 3,
    "encoder/activation": 3,
    "decoder/alibi": 0,
    "decoder/pre_norm": 1,
    "encoder/pre_norm": 1,
    "decoder/scale_embeddings": 0,
    "decoder/start_from_zero_embedding": 0,
}


class _Reader:
    """A cursor over the file that never reads past its end."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    def take(self, num_bytes: int) -> memoryview:
        taken = self._data[self._at : self._at + num_bytes]
        if len(taken) != num_bytes:
            raise ValueError(
                f"it ends at byte {len(self._data)}, where at least "
                f"{self._at + num_bytes} are needed: the file is truncated"
            )
        self._at += num_bytes
        return taken

    def number(self, form: str) -> int:
        return struct.unpack(f"<{form}", self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        return bytes(self.take(self.number("H")))[:-1].decode("utf-8")

    def at_end(self) -> bool:
        return self._at == len(self._data)


def parse(
    data: bytes | memoryview, widen: bool = True
) -> dict[str, np.ndarray]:
    """The variables of a `model.bin`.

    Args:
        widen: makes float32 of 16-bit floats; else nothing is copied, and the
            shapes of a large file cost nothing.

    Raises:
        ValueError: the bytes are truncated, or hold another kind of model.
    """
    reader = _Reader(memoryview(data).toreadonly())
    try:
        version = reader.number("I")
        if not _OLDEST_VERSION <= version <= _NEWEST_VERSION:
            raise ValueError(
                f"its format version is {version}; versions {_OLDEST_VERSION} "
                f"to {_NEWEST_VERSION} can be read"
            )
        spec = reader.text()
        if spec != "WhisperSpec":
            raise ValueError(f"it holds a {spec!r}, not a 'WhisperSpec'")
        reader.number("I")
        count = reader.number("I")
        variables = dict(_variable(reader, widen) for _ in range(count))
        for _ in range(reader.number("I")):
            alias, name = reader.text(), reader.text()
            variables[alias] = variables[name]
    except (UnicodeDecodeError, KeyError) as error:
        raise ValueError("it is damaged, or no CTranslate2 model") from error
    if not reader.at_end():
        raise ValueError("it holds more bytes than its contents: damaged")
    return variables


def _variable(reader: _Reader, widen: bool) -> tuple[str, np.ndarray]:
    name, rank = reader.text(), reader.number("B")
    shape = tuple(reader.number("I") for _ in range(rank))
    code, num_bytes = reader.number("B"), reader.number("I")
    if code not in _TYPES:
        raise ValueError(f"{name!r} has the unknown type {code}")
    raw = np.frombuffer(reader.take(num_bytes), _TYPES[code])
    if raw.size != int(np.prod(shape, dtype=np.int64)):
        raise ValueError(f"{name!r} does not have its shape {shape}: damaged")
    if code == _BFLOAT16 and widen:
        raw = (raw.astype(np.uint32) << 16).view(np.float32)
    value = raw.reshape(shape)
    is_half = code == _FLOAT16 and widen
    return name, value.astype(np.float32) if is_half else value


class _Variables:
    """Variables by name, with quantised weights widened to float32."""

    def __init__(self, variables: dict[str, np.ndarray]) -> None:
        self._variables = variables

    def __call__(self, name: str) -> np.ndarray:
        if name not in self._variables:
            raise ValueError(f"it has no variable {name!r}")
        value = self._variables[name]
        if value.dtype in (np.int8, np.int16) and value.ndim:
            scale = self(f"{name}_scale").astype(np.float32)
            ones = (1,) * (value.ndim - scale.ndim)
            scale = scale.reshape(scale.shape + ones)
            return value.astype(np.float32) / scale
        return value

    def __contains__(self, name: str) -> bool:
        return name in self._variables

    def count(self, prefix: str) -> int:
        """The number of blocks whose names start with `prefix`."""
        pattern = re.compile(rf"{prefix}(\d+)/")
        return len({m[1] for m in map(pattern.match, self._variables) if m})


def dimensions(data: bytes | memoryview) -> architecture.Dimensions:
    """The dimensions of a `model.bin`, whose weights are not read.

    Raises:
        ValueError: as `read`.
    """
    get = _Variables(parse(data, widen=False))
    _check_function(get)
    return _dimensions(get)


def read(
    data: bytes | memoryview,
) -> tuple[architecture.Dimensions, dict[str, np.ndarray]]:
    """Dimensions, and float32 weights by our names, of a `model.bin`.

    Raises:
        ValueError: see `parse`; or a variable is missing.
    """
    get = _Variables(parse(data))
    _check_function(get)
    dimensions = _dimensions(get)
    weights = {"decoder/tokens": get("decoder/embeddings/weight")}

    def add_norm(name: str, source: str) -> None:
        for part in ("gamma", "beta"):
            weights[f"{name}/{part}"] = get(f"{source}/{part}")

    def add_dense(name: str, source: str) -> None:
        # Theirs have the output first, ours the input; also convolutions.
        weights[f"{name}_kernel"] = get(f"{source}/weight").T
        weights[f"{name}_bias"] = get(f"{source}/bias")

    def add_joint(name: str, source: str) -> np.ndarray:
        weights[f"{name}_kernel"] = get(f"{source}/weight").T
        return get(f"{source}/bias")

    for i in (1, 2):
        add_dense(f"encoder/convolution_{i}", f"encoder/conv{i}")
    dim = dimensions.model_dim
    for side, num_blocks in (
        ("encoder", dimensions.num_blocks),
        ("decoder", dimensions.num_decoder_blocks),
    ):
        positions = get(f"{side}/position_encodings/encodings")
        weights[f"{side}/positions"] = positions
        add_norm(f"{side}/norm", f"{side}/layer_norm")
        for i in range(num_blocks):
            name, source = f"{side}/block_{i}", f"{side}/layer_{i}"
            own, cross = f"{source}/self_attention", f"{source}/attention"
            add_norm(f"{name}/attention_norm", f"{own}/layer_norm")
            bias = add_joint(f"{name}/query_key_value", f"{own}/linear_0")
            weights[f"{name}/query_bias"] = bias[:dim]
            weights[f"{name}/value_bias"] = bias[2 * dim :]
            add_dense(f"{name}/output", f"{own}/linear_1")
            if side == "decoder":
                add_norm(f"{name}/source_norm", f"{cross}/layer_norm")
                add_dense(f"{name}/source_query", f"{cross}/linear_0")
                bias = add_joint(
                    f"{name}/source_key_value", f"{cross}/linear_1"
                )
                weights[f"{name}/source_value_bias"] = bias[dim:]
                add_dense(f"{name}/source_output", f"{cross}/linear_2")
            add_norm(f"{name}/feed_forward_norm", f"{source}/ffn/layer_norm")
            add_dense(f"{name}/expand", f"{source}/ffn/linear_0")
            add_dense(f"{name}/contract", f"{source}/ffn/linear_1")
    return dimensions, weights


def _check_function(get: _Variables) -> None:
    for name, expected in _FUNCTION.items():
        if name in get and int(get(name)) != expected:
            raise ValueError(
                f"{name!r} must be {expected}, as Whisper has it. Received: "
                f"{int(get(name))}; another function cannot be computed here"
            )


def _dimensions(get: _Variables) -> architecture.Dimensions:
    model_dim, num_bins, _ = get("encoder/conv1/weight").shape

    def rows(name: str) -> int:
        return get(name).shape[0]

    return architecture.Dimensions(
        num_bins=num_bins,
        model_dim=model_dim,
        num_heads=int(get("encoder/num_heads")),
        num_blocks=get.count("encoder/layer_"),
        num_decoder_blocks=get.count("decoder/layer_"),
        feed_forward_dim=rows("encoder/layer_0/ffn/linear_0/weight"),
        vocabulary_size=rows("decoder/embeddings/weight"),
        max_source_positions=rows("encoder/position_encodings/encodings"),
        max_target_positions=rows("decoder/position_encodings/encodings"),
    )
