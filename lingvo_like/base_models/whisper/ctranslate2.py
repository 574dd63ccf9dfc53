"""Reads Whisper's weights from a CTranslate2 `model.bin`.

The format is CTranslate2's python/ctranslate2/specs/model_spec.py: little
endian, length-prefixed names, then the aliases of tied weights.
"""

import struct

import numpy as np

from lingvo_like.base_models.whisper import layers as whisper_layers

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


class _Reader:
    """A cursor over the file that never reads past its end."""

    def __init__(self, data):
        self._data = data
        self._at = 0

    def take(self, num_bytes):
        taken = self._data[self._at : self._at + num_bytes]
        if len(taken) != num_bytes:
            raise ValueError(
                f"it ends at byte {len(self._data)}, where at least "
                f"{self._at + num_bytes} are needed: the file is truncated"
            )
        self._at += num_bytes
        return taken

    def number(self, form):
        return struct.unpack(f"<{form}", self.take(struct.calcsize(form)))[0]

    def text(self):
        return bytes(self.take(self.number("H")))[:-1].decode("utf-8")

    def at_end(self):
        return self._at == len(self._data)


def parse(data):
    """The variables of a `model.bin`.

    Args:
        data: bytes, the whole file.

    Returns:
        dict of name to array; 16-bit floats are widened to float32.

    Raises:
        ValueError: the bytes are truncated, or no Whisper of CTranslate2's.
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
        variables = dict(_variable(reader) for _ in range(reader.number("I")))
        for _ in range(reader.number("I")):
            alias, name = reader.text(), reader.text()
            variables[alias] = variables[name]
    except (UnicodeDecodeError, KeyError) as error:
        raise ValueError("it is damaged, or no CTranslate2 model") from error
    if not reader.at_end():
        raise ValueError("it holds more bytes than its contents: damaged")
    return variables


def _variable(reader):
    name, rank = reader.text(), reader.number("B")
    shape = tuple(reader.number("I") for _ in range(rank))
    code, num_bytes = reader.number("B"), reader.number("I")
    if code not in _TYPES:
        raise ValueError(f"{name!r} has the unknown type {code}")
    raw = np.frombuffer(reader.take(num_bytes), _TYPES[code])
    if raw.size != int(np.prod(shape, dtype=np.int64)):
        raise ValueError(f"{name!r} does not have its shape {shape}: damaged")
    if code == _BFLOAT16:
        raw = (raw.astype(np.uint32) << 16).view(np.float32)
    value = raw.reshape(shape)
    return name, value.astype(np.float32) if code == _FLOAT16 else value


class _Variables:
    """Variables by name, with quantised weights widened."""

    def __init__(self, variables):
        self._variables = variables

    def __call__(self, name):
        if name not in self._variables:
            raise ValueError(f"it has no variable {name!r}")
        value = self._variables[name]
        if value.dtype in (np.int8, np.int16) and value.ndim:
            scale = self(f"{name}_scale").astype(np.float32)
            scale = scale.reshape(
                scale.shape + (1,) * (value.ndim - scale.ndim)
            )
            return value.astype(np.float32) / scale
        return value

    def count(self, prefix):
        blocks = {
            name[len(prefix) :].split("/")[0]
            for name in self._variables
            if name.startswith(prefix)
        }
        return len([block for block in blocks if block.isdigit()])


def read(data):
    """Dimensions and weights of a `model.bin`.

    Args:
        data: bytes, the whole file.

    Returns:
        `whisper_layers.Dimensions` and a dict of weights by the names of
        `Whisper.named_weights`, float32.

    Raises:
        ValueError: as `parse` does, or a variable is missing.
    """
    get = _Variables(parse(data))
    first = get("encoder/conv1/weight")
    tokens = get("decoder/embeddings/weight")
    dimensions = whisper_layers.Dimensions(
        num_bins=first.shape[1],
        model_dim=first.shape[0],
        num_heads=int(get("encoder/num_heads")),
        num_blocks=get.count("encoder/layer_"),
        num_decoder_blocks=get.count("decoder/layer_"),
        feed_forward_dim=get("encoder/layer_0/ffn/linear_0/weight").shape[0],
        vocabulary_size=tokens.shape[0],
        max_source_positions=get("encoder/position_encodings/encodings").shape[
            0
        ],
        max_target_positions=get("decoder/position_encodings/encodings").shape[
            0
        ],
    )
    weights = {
        "encoder/positions": get("encoder/position_encodings/encodings"),
        "decoder/positions": get("decoder/position_encodings/encodings"),
        "decoder/tokens": tokens,
    }
    for i in (1, 2):
        kernel = get(f"encoder/conv{i}/weight")
        weights[f"encoder/convolution_{i}_kernel"] = kernel.transpose(2, 1, 0)
        weights[f"encoder/convolution_{i}_bias"] = get(f"encoder/conv{i}/bias")
    for side, num_blocks in (
        ("encoder", dimensions.num_blocks),
        ("decoder", dimensions.num_decoder_blocks),
    ):
        _norm(weights, f"{side}/norm", get, f"{side}/layer_norm")
        for i in range(num_blocks):
            _block(weights, f"{side}/block_{i}", get, f"{side}/layer_{i}", side)
    return dimensions, weights


def _norm(weights, name, get, source):
    for part in ("gamma", "beta"):
        weights[f"{name}/{part}"] = get(f"{source}/{part}")


def _dense(weights, name, get, source):
    weights[f"{name}_kernel"] = get(f"{source}/weight").T
    weights[f"{name}_bias"] = get(f"{source}/bias")


def _block(weights, name, get, source, side):
    attention = f"{source}/self_attention"
    _norm(weights, f"{name}/attention_norm", get, f"{attention}/layer_norm")
    joint = get(f"{attention}/linear_0/bias")
    dim = joint.shape[0] // 3
    weights[f"{name}/query_key_value_kernel"] = get(
        f"{attention}/linear_0/weight"
    ).T
    weights[f"{name}/query_bias"] = joint[:dim]
    weights[f"{name}/value_bias"] = joint[2 * dim :]
    _dense(weights, f"{name}/output", get, f"{attention}/linear_1")
    if side == "decoder":
        cross = f"{source}/attention"
        _norm(weights, f"{name}/source_norm", get, f"{cross}/layer_norm")
        _dense(weights, f"{name}/source_query", get, f"{cross}/linear_0")
        weights[f"{name}/source_key_value_kernel"] = get(
            f"{cross}/linear_1/weight"
        ).T
        weights[f"{name}/source_value_bias"] = get(f"{cross}/linear_1/bias")[
            dim:
        ]
        _dense(weights, f"{name}/source_output", get, f"{cross}/linear_2")
    _norm(weights, f"{name}/feed_forward_norm", get, f"{source}/ffn/layer_norm")
    _dense(weights, f"{name}/expand", get, f"{source}/ffn/linear_0")
    _dense(weights, f"{name}/contract", get, f"{source}/ffn/linear_1")
