"""Cases: valid inputs that are altered, made-up ones, and plain noise."""

import functools
import io
import json
import warnings

import av
import hypothesis
import numpy as np
import safetensors.numpy
import soundfile
from hypothesis import errors, strategies
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow_serving.apis import predict_pb2

from lingvo_like import hyperparams, json_values
from lingvo_like.submodel import file as submodel_file
from lingvo_like.submodel.kinds import by_name
from tests.fuzz import targets

_TOKENS = (
    *(b"NaN", b"-Infinity", b"1e999", b"-0", b"9" * 5000, b"0x10", b"null"),
    *(b"[", b"]", b"{", b"}", b'"', b"[" * 2000, b'{"a":' * 2000, b",,"),
    *(b"\\ud800", b"\\u0000", b"\xff\xfe", b"\xc0\xaf", b"\x00", b"../../"),
    *(b"%2e%2e%2f", b"\xef\xbb\xbf", b'{"b64":"=="}', b"true", b'"1"'),
    # 2^63 as a varint, as a float and as little-endian bytes.
    *(b"\x80" * 9 + b"\x01", b"9223372036854775808", b"\xff" * 9 + b"\x01"),
    *((1 << 63).to_bytes(8, "little"), (1 << 31).to_bytes(4, "little")),
    *(b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\x80\x04\x95."),
)
_PLACE = strategies.floats(0.0, 1.0)
_EDITS = strategies.one_of(
    strategies.tuples(
        strategies.just("set"),
        _PLACE,
        strategies.binary(min_size=1, max_size=8),
    ),
    strategies.tuples(strategies.just("insert"), _PLACE, strategies.binary()),
    strategies.tuples(
        strategies.just("insert"), _PLACE, strategies.sampled_from(_TOKENS)
    ),
    strategies.tuples(
        strategies.just("set"), _PLACE, strategies.sampled_from(_TOKENS)
    ),
    strategies.tuples(strategies.just("drop"), _PLACE, _PLACE),
    strategies.tuples(strategies.just("repeat"), _PLACE, _PLACE),
    strategies.tuples(strategies.just("cut"), _PLACE, strategies.just(b"")),
)


def altered(data, edits):
    """Bytes after some edits, each (kind, place from 0 to 1, argument)."""
    for kind, place, argument in edits:
        start = int(place * len(data))
        if kind == "set":
            data = data[:start] + argument + data[start + len(argument) :]
        elif kind == "insert":
            data = data[:start] + argument + data[start:]
        elif kind == "cut":
            data = data[:start]
        else:
            stop = start + int(argument * (len(data) - start) / 4)
            part = data[start:stop][:256]
            again = part * 16 if kind == "repeat" else b""
            data = data[:start] + again + data[stop:]
    return data


def strategy(name):
    """The cases of a target, as a Hypothesis strategy of bytes."""
    edited = strategies.builds(
        altered,
        strategies.sampled_from(seeds(name)),
        strategies.lists(_EDITS, min_size=1, max_size=3),
    )
    return strategies.one_of(
        edited, edited, _MADE_UP.get(name, edited), strategies.binary()
    )


def draw(name, count, seed):
    """A list of at least `count` cases of a target."""
    return _drawn(strategy(name), count, seed)


def draw_http(count, seed, model, token):
    """As `draw`: altered HTTP requests, of which some are whole."""
    edited = strategies.builds(
        altered,
        strategies.sampled_from(_http_seeds(model, token)),
        strategies.lists(_EDITS, max_size=4),
    )
    return _drawn(edited, count, seed)


def _drawn(source, count, seed):
    found = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(source)
    def collect(data):
        found.append(data)

    with warnings.catch_warnings():
        # The long tokens above make long names of strategies.
        warnings.simplefilter("ignore", errors.HypothesisWarning)
        collect()
    return found


def seeds(name):
    """Some valid inputs of a target."""
    return _SEEDS[name]()


def _json_seeds():
    audio = [[0.0, 0.25, -0.5, 1.0], [0.5, 1e-3, 0.0, -1.0]]
    rows = [
        {"audio": row, "length": 4, "submodel_id": "user-1"} for row in audio
    ]
    requests = (
        {"instances": rows},
        {"inputs": {"audio": audio, "submodel_id": ["a", "b"]}},
        {"inputs": {"audio": audio, "submodel_id": [{"b64": "YQ=="}] * 2}},
        {"inputs": {"audio": [{"b64": "UklGRg=="}], "submodel_id": "a"}},
        {"signature_name": "base", "instances": audio},
        {
            "signature_name": "base",
            "inputs": {"audio": audio, "length": [4, 2]},
        },
        {
            "signature_name": "grouped",
            "inputs": {
                "audio": audio,
                "submodels": [[0.0] * 6],
                "index": [0, 0],
            },
        },
    )
    return [json.dumps(request).encode() for request in requests]


def _tensor(dtype, shape, **fields):
    proto = tensor_pb2.TensorProto(dtype=dtype, **fields)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


def _audio():
    content = np.linspace(-1, 1, 8, dtype=np.float32).tobytes()
    return _tensor(types_pb2.DT_FLOAT, [2, 4], tensor_content=content)


def _tensor_seeds():
    return [
        proto.SerializeToString()
        for proto in (
            _audio(),
            _tensor(types_pb2.DT_FLOAT, [3], float_val=[0.0, 1.0, -1.0]),
            _tensor(types_pb2.DT_FLOAT, [3], float_val=[0.5]),
            _tensor(types_pb2.DT_INT32, [2], int_val=[4, -4]),
            _tensor(types_pb2.DT_STRING, [2], string_val=[b"a", b"b"]),
            _tensor(types_pb2.DT_INT64, [1], int64_val=[1 << 62]),
            _tensor(types_pb2.DT_BOOL, [2], bool_val=[True, False]),
        )
    ]


def _predict_seeds():
    found = []
    for signature, more in (
        ("", {"submodel_id": (types_pb2.DT_STRING, [1], b"user-1")}),
        ("base", {}),
        ("grouped", {"index": (types_pb2.DT_INT32, [2], 0)}),
    ):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "submodels"
        request.model_spec.signature_name = signature
        request.inputs["audio"].CopyFrom(_audio())
        for name, (dtype, shape, value) in more.items():
            field = "string_val" if isinstance(value, bytes) else "int_val"
            proto = _tensor(dtype, shape, **{field: [value] * shape[0]})
            request.inputs[name].CopyFrom(proto)
        if signature == "grouped":
            request.inputs["submodels"].CopyFrom(
                _tensor(types_pb2.DT_FLOAT, [1, 6], float_val=[0.0])
            )
        found.append(request.SerializeToString(deterministic=True))
    return found


@functools.cache
def _recording_seeds():
    tone = 0.3 * np.sin(np.arange(2000) / 3)
    found = []
    for kind, subtype in (
        ("WAV", "PCM_16"),
        ("WAV", "GSM610"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
        ("AIFF", "PCM_16"),
    ):
        file = io.BytesIO()
        soundfile.write(file, tone, 8000, subtype, format=kind)
        found.append(file.getvalue())
    for kind, codec in (("mp4", "aac"), ("webm", "libopus")):
        file = io.BytesIO()
        with av.open(file, "w", format=kind) as container:
            stream = container.add_stream(codec, rate=48000, layout="mono")
            frame = av.AudioFrame.from_ndarray(
                np.tile(tone, 6)[None].astype("float32"), "flt", "mono"
            )
            frame.sample_rate = 48000
            resampled = av.AudioResampler(
                stream.format.name, "mono", 48000, stream.frame_size or 960
            )
            for each in resampled.resample(frame) + resampled.resample(None):
                container.mux(stream.encode(each))
            container.mux(stream.encode(None))
        found.append(file.getvalue())
    return found


def _submodel(**changes):
    layout = targets.LAYOUT
    values = np.linspace(-1, 1, layout.num_values, dtype=np.float32)
    fields = {
        "base_fingerprint": targets.FINGERPRINT,
        "speaker": "F01",
        "experiment": "whisper.ShortStacked",
    }
    return submodel_file.create(
        layout, layout.unpack(values), **fields | changes
    )


def _submodel_seeds():
    whole = _submodel()
    return [
        submodel_file.to_bytes(each)
        for each in (
            whole,
            submodel_file.rounded(whole, "float16"),
            _submodel(training={"loss": 0.5, "steps": [1, 2]}),
            _submodel(base_fingerprint="0" * 64),
        )
    ]


def _http_seeds(model, token):
    body = _json_seeds()[0]
    common = f"Host: localhost\r\nAuthorization: Bearer {token}\r\n"
    found = [
        f"{method} {path} HTTP/1.1\r\n{common}\r\n".encode()
        for method, path in (
            ("GET", f"/v1/models/{model}"),
            ("GET", f"/v1/models/{model}/versions/1/metadata"),
            ("GET", "/v1/models/..%2f..%2fetc%2fpasswd"),
            ("GET", "/ready"),
            ("GET", "/v1/submodels"),
            ("POST", "/v1/submodels/user-00000:load"),
            ("POST", "/v1/submodels/..%2f..%00:unload"),
        )
    ]
    for extra in (
        "",
        "X-Submodel-Id: user-00000\r\n",
        "X-Submodel-Id: ../../etc\r\n",
        "Content-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Expect: 100-continue\r\n",
    ):
        head = (
            f"POST /v1/models/{model}:predict HTTP/1.1\r\n{common}{extra}"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        found.append(head.encode() + body)
    return found


_SEEDS = {
    "json_request": _json_seeds,
    "json_base64": lambda: [b"YQ==", b"dXNlci0x", b"", b"YWI", b"_-+/"],
    "tensor_proto": _tensor_seeds,
    "predict_request": _predict_seeds,
    "recording": _recording_seeds,
    "submodel_file": _submodel_seeds,
}

_SCALARS = strategies.one_of(
    strategies.none(),
    strategies.booleans(),
    strategies.integers(),
    strategies.floats(),
    strategies.text(max_size=8),
    strategies.just({"b64": "YQ=="}),
)
_FINITE = strategies.floats(allow_nan=False, allow_infinity=False)
_VALUES_OF_JSON = strategies.recursive(
    strategies.none()
    | strategies.booleans()
    | strategies.integers()
    | _FINITE
    | strategies.text(max_size=8),
    lambda inner: (
        strategies.lists(inner, max_size=3)
        | strategies.dictionaries(
            strategies.text(max_size=4), inner, max_size=3
        )
    ),
    max_leaves=6,
)
_VALUES = strategies.recursive(
    _SCALARS,
    lambda inner: strategies.one_of(
        strategies.lists(inner, max_size=4),
        strategies.dictionaries(
            strategies.sampled_from(
                ("audio", "length", "submodel_id", "submodel", "b64", "x")
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)
_SIGNATURES = strategies.sampled_from(
    ("", "base", "grouped", "serving_default", "x", None, 7)
)


def _json_body(key, values, signature):
    body = {key: values}
    if signature is not None:
        body["signature_name"] = signature
    return json.dumps(body).encode()


def _made_up_tensor(dtype, shape, numbers, content, unknown_rank):
    proto = tensor_pb2.TensorProto(dtype=dtype)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    proto.tensor_shape.unknown_rank = unknown_rank
    if content is not None:
        proto.tensor_content = content
    proto.float_val.extend(numbers)
    return proto.SerializeToString()


def _file_of_parts(parts):
    """A Submodel's file whose metadata have another layout."""
    data = submodel_file.to_bytes(_submodel())
    fields = hyperparams.to_dict(submodel_file.load(data).metadata)
    text = json_values.canonical_json(fields | {"parts": parts})
    return safetensors.numpy.save(
        safetensors.numpy.load(data), {"submodel": text}
    )


def _made_up_file(names, fields, values):
    tensors = {
        name: np.full(2, value, np.float32)
        for name, value in zip(names, values, strict=False)
    }
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return safetensors.numpy.save(tensors, {"submodel": text})


_WIDTHS = strategies.one_of(strategies.integers(), strategies.booleans())
_SITES = strategies.lists(
    strategies.one_of(
        strategies.tuples(strategies.text(max_size=8), _WIDTHS, _WIDTHS),
        _VALUES_OF_JSON,
    ),
    max_size=3,
)
_HYPERPARAMETERS = strategies.dictionaries(
    strategies.sampled_from(("bottleneck_dim", "residual_weight", "rank", "x")),
    _VALUES_OF_JSON,
    max_size=3,
)
_PARTS = strategies.lists(
    strategies.one_of(
        strategies.fixed_dictionaries(
            {
                "kind": strategies.one_of(
                    strategies.sampled_from(sorted(by_name.KINDS)),
                    _VALUES_OF_JSON,
                ),
                "values": strategies.one_of(_HYPERPARAMETERS, _VALUES_OF_JSON),
                "sites": strategies.one_of(_SITES, _VALUES_OF_JSON),
            }
        ),
        _VALUES_OF_JSON,
    ),
    max_size=3,
)

_MADE_UP = {
    "json_request": strategies.builds(
        _json_body,
        strategies.sampled_from(("instances", "inputs")),
        _VALUES,
        _SIGNATURES,
    ),
    "json_base64": strategies.binary(max_size=64),
    "tensor_proto": strategies.builds(
        _made_up_tensor,
        strategies.integers(0, 30),
        strategies.lists(
            strategies.one_of(
                strategies.integers(-(2**63), 2**63 - 1),
                strategies.integers(-1, 4),
            ),
            max_size=10,
        ),
        strategies.lists(strategies.floats(width=32), max_size=8),
        strategies.one_of(strategies.none(), strategies.binary(max_size=64)),
        strategies.booleans(),
    ),
    "submodel_file": strategies.builds(_file_of_parts, _PARTS)
    | strategies.builds(
        _made_up_file,
        strategies.lists(
            strategies.one_of(
                strategies.sampled_from(sorted(targets.LAYOUT.shapes)),
                strategies.text(min_size=1, max_size=8),
            ),
            unique=True,
            max_size=6,
        ),
        _VALUES,
        strategies.lists(strategies.floats(width=32), min_size=6, max_size=6),
    ),
}
