"""Serves one base model and everyone's Submodels over gRPC and REST.

    python -m tasks.serve --export_dir=EXPORTS --store=STORE

TensorFlow Serving's clients work unchanged. A request names its user in input
`submodel_id`, gRPC metadata `x-submodel-id` or header `X-Submodel-Id`. New
versions in EXPORTS and in STORE are picked up while the server runs.

The server listens on loopback. To let others in, give each of them a credential
in --access_file (tasks/serving/README.md shows the format) and encrypt with
--tls_certificate and --tls_private_key. Live and ready are open, and
everything else takes a credential; load and unload take `admin`, metrics and
reload take `operator`.

On SIGTERM the server reports that it is not ready, then refuses new requests,
and exits with 0 once every admitted request is answered. A second SIGTERM stops
it at once.
"""

import os

from absl import flags

from lingvo_like import hyperparams
from params import settings
from tasks import cli
from tasks.serving.queueing import limits

_EXPORT_DIR = flags.DEFINE_string(
    "export_dir", "", "Folder of exports by version, as tasks.export writes."
)
_MODEL_NAME = flags.DEFINE_string(
    "model_name", "submodels", "Under which requests find --export_dir."
)
_MODEL_CONFIG_FILE = flags.DEFINE_string(
    "model_config_file", "", "ModelServerConfig as text, not --export_dir."
)
_STORE = flags.DEFINE_string(
    "store", "", "Folder or bucket of Submodels; only the base if empty."
)
_FALLBACK = flags.DEFINE_enum(
    "fallback",
    "error",
    ["error", "base"],
    "For a user without a Submodel: base answers, marked served_by=base.",
)
_ADDRESSES = {
    front: flags.DEFINE_string(
        f"{front}_address",
        f"127.0.0.1:{port}",
        f"HOST:PORT of {what}; port 0 for a free one, empty for none.",
    )
    for front, port, what in (
        ("grpc", 8500, "gRPC"),
        ("rest", 8501, "REST, health and metrics"),
        ("admin", 8502, "load, pin, unload and list"),
    )
}
_ACCESS_FILE = flags.DEFINE_string(
    "access_file", "", "JSON of who may use whose Submodels."
)
_TENANT = flags.DEFINE_string(
    "tenant", "default", "Whose Submodels are served without --access_file."
)
_TLS = {
    name: flags.DEFINE_string(f"tls_{name}", "", f"PEM file of {what}.")
    for name, what in (
        ("certificate", "the server's certificate chain"),
        ("private_key", "its private key"),
        ("client_ca", "the clients' authority; gRPC then demands certificates"),
    )
}
_LIMIT = flags.DEFINE_multi_string(
    "limit", [], "A limit to change, as NAME=VALUE; see --list_limits."
)
_LIST_LIMITS = flags.DEFINE_bool(
    "list_limits",
    False,
    "Print every NAME of --limit with its default, type and meaning, and exit.",
)
_ACCESS_LOG = flags.DEFINE_string(
    "access_log", "", "File to append a JSON line per request to; - is stdout."
)
_ACCESS_LOG_KEY_FILE = flags.DEFINE_string(
    "access_log_key_file",
    "",
    "At least 16 random bytes for its hashes; if empty, new at every start.",
)
_LAME_DUCK_SECONDS = flags.DEFINE_float(
    "lame_duck_seconds",
    1.0,
    "How long to serve after SIGTERM while not ready, for balancers to notice.",
    lower_bound=0,
)
_DRAIN_SECONDS = flags.DEFINE_float(
    "drain_seconds",
    60.0,
    "After that, the longest time for requests that were admitted.",
    lower_bound=0,
)


def main(_: list[str]) -> None:
    if _LIST_LIMITS.value:
        print(settings.describe(limits.Limits()))
        return
    # Late, so that --help answers at once.
    from tasks.serving import program

    request = program.Request(
        export_dir=_EXPORT_DIR.value,
        model_name=_MODEL_NAME.value,
        model_config_file=_MODEL_CONFIG_FILE.value,
        store=_STORE.value,
        fallback=_FALLBACK.value,
        addresses={front: each.value for front, each in _ADDRESSES.items()},
        access_file=_ACCESS_FILE.value,
        tenant=_TENANT.value,
        tls={name: each.value for name, each in _TLS.items()},
        limits=hyperparams.assignments(_LIMIT.value),
        access_log=_ACCESS_LOG.value,
        access_log_key_file=_ACCESS_LOG_KEY_FILE.value,
    )
    is_drained = program.serve(
        request, _LAME_DUCK_SECONDS.value, _DRAIN_SECONDS.value
    )
    if not is_drained:
        # Python's own way out would wait for the call that hangs.
        os._exit(1)


if __name__ == "__main__":
    cli.run(main)
