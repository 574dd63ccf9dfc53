"""Serves one base model and everyone's Submodels over gRPC and REST.

    python -m tasks.serve --export_dir=EXPORTS --store=STORE

TensorFlow Serving's clients work unchanged; the user is named in the request:
input `submodel_id`, gRPC metadata `x-submodel-id` or header `X-Submodel-Id`.
New versions in EXPORTS and in STORE are noticed while it runs.

It listens on loopback. To let others in, give each of them a credential in
--access_file (tasks/serving/fronts/access.py shows the format) and encrypt with
--tls_certificate and --tls_private_key. Live and ready are open, everything
else takes a credential; load and unload take `admin`, metrics and reload
`operator`.

SIGTERM: not ready, then no new requests, then exit 0 once every request that
was admitted is answered. A second one stops at once.
"""

import asyncio
import dataclasses
import os

from absl import flags

from tasks import cli

_EXPORT_DIR = flags.DEFINE_string(
    "export_dir", "", "Folder of exports by version, as tasks.export writes."
)
_MODEL_NAME = flags.DEFINE_string(
    "model_name", "submodels", "Under which requests find --export_dir."
)
_MODEL_CONFIG_FILE = flags.DEFINE_string(
    "model_config_file",
    "",
    "TensorFlow Serving's ModelServerConfig as text, instead of --export_dir: "
    "several models, versions, labels.",
)
_STORE = flags.DEFINE_string(
    "store",
    "",
    "Folder or bucket of Submodels, where tasks.store published one; without, "
    "the base alone.",
)
_FALLBACK = flags.DEFINE_enum(
    "fallback",
    "error",
    ["error", "base"],
    "What a user without a Submodel gets: an error, or the base's answer, "
    "marked served_by=base.",
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
_TLS_CERTIFICATE = flags.DEFINE_string(
    "tls_certificate", "", "PEM file of the server's certificate chain."
)
_TLS_PRIVATE_KEY = flags.DEFINE_string(
    "tls_private_key", "", "PEM file of its private key."
)
_TLS_CLIENT_CA = flags.DEFINE_string(
    "tls_client_ca",
    "",
    "PEM file of whose client certificates count (mutual TLS). gRPC then "
    "demands one of every client; HTTP takes a token instead.",
)
_LIMIT = flags.DEFINE_multi_string(
    "limit",
    [],
    "NAME=VALUE, repeatable: what the server takes on, such as "
    "queue_requests=512; tasks/serving/queueing/limits.py lists them.",
)
_ACCESS_LOG = flags.DEFINE_string(
    "access_log", "", "File to append a JSON line per request to; - is stdout."
)
_ACCESS_LOG_KEY_FILE = flags.DEFINE_string(
    "access_log_key_file",
    "",
    "File of at least 16 random bytes that hash tenants and Submodels in the "
    "access log; without, their hashes change with every start.",
)
_LAME_DUCK_SECONDS = flags.DEFINE_float(
    "lame_duck_seconds",
    1.0,
    "After SIGTERM: not ready but still serving, for balancers to notice.",
    lower_bound=0,
)
_DRAIN_SECONDS = flags.DEFINE_float(
    "drain_seconds",
    60.0,
    "Then: the longest time for requests that were admitted.",
    lower_bound=0,
)


def main(_):
    if bool(_EXPORT_DIR.value) == bool(_MODEL_CONFIG_FILE.value):
        cli.fail("give --export_dir or --model_config_file, one of them")
    # Late, so that --help answers at once.
    from lingvo_like import hyperparams
    from tasks.serving.fronts import access, access_log, listening, service
    from tasks.serving.queueing import limits

    # Whatever can fail does so before the base is loaded.
    addresses = {
        front: listening.parse(flag.name, flag.value)
        for front, flag in _ADDRESSES.items()
    }
    if not (addresses["grpc"] or addresses["rest"]):
        cli.fail("give --grpc_address or --rest_address")
    tls = listening.Tls(
        _TLS_CERTIFICATE.value, _TLS_PRIVATE_KEY.value, _TLS_CLIENT_CA.value
    )
    control = access.NoAccessControl(_TENANT.value)
    if _ACCESS_FILE.value:
        control = access.read(_ACCESS_FILE.value)
    if control.has_certificates and not tls.client_ca:
        cli.fail("--access_file names certificates; give --tls_client_ca")
    for warning in listening.warnings(
        list(filter(None, addresses.values())), control.is_on, tls
    ):
        print(f"warning: {warning}", flush=True)
    bounds = limits.Limits()
    if not control.is_on:
        # All are one tenant, and need no protection from another.
        bounds = dataclasses.replace(bounds, tenant_share=1.0)
    bounds = hyperparams.override(bounds, _LIMIT.value)
    log = access_log.AccessLog(_ACCESS_LOG.value, _access_log_key())
    service.raise_file_limit()
    is_drained = asyncio.run(_serve(addresses, tls, control, bounds, log))
    if not is_drained:
        # Not by way of Python: the call that hangs would hold it up.
        os._exit(1)


async def _serve(addresses, tls, control, bounds, log):
    """Serves till a signal; whether everything admitted was answered."""
    from lingvo_like.store import store as submodel_store
    from tasks.serving import errors, server
    from tasks.serving.exports import saved_model
    from tasks.serving.fronts import intake, service
    from tasks.serving.submodels import source as submodel_source

    source = None
    if _STORE.value:
        store = submodel_store.SubmodelStore(_STORE.value)
        # A mistyped path would else fail every request of a ready server.
        store.check()
        source = submodel_source.StoreSource(store)
    served = server.Server(
        source, saved_model.SavedModelEngine, _models(), bounds, _FALLBACK.value
    )
    served.watch(
        "access_log_dropped",
        "Lines that a slow disk had no time for.",
        lambda: log.dropped,
    )
    try:
        running = service.Service(
            served, control, intake.Intake(bounds), log, tls
        )
        bound = await running.start(addresses)
    except errors.ServingError as error:
        raise ValueError(error.message) from None
    # Before anyone reads that it is ready.
    asked = service.asked_to_stop()
    where = " ".join(f"{front}={each}" for front, each in bound.items())
    print(f"ready: {where}", flush=True)
    return await running.run(
        asked, _LAME_DUCK_SECONDS.value, _DRAIN_SECONDS.value
    )


def _models():
    """The list of `ModelConfig` that the flags ask for."""
    from tasks.serving import messages
    from tasks.serving.fronts import model_messages

    if not _MODEL_CONFIG_FILE.value:
        return [
            messages.ModelConfig(
                _MODEL_NAME.value, os.path.abspath(_EXPORT_DIR.value)
            )
        ]
    with open(_MODEL_CONFIG_FILE.value, encoding="utf-8") as file:
        return model_messages.configs_from_text(file.name, file.read())


def _access_log_key():
    if not _ACCESS_LOG_KEY_FILE.value:
        return None
    with open(_ACCESS_LOG_KEY_FILE.value, "rb") as file:
        return file.read(1 << 12)


if __name__ == "__main__":
    cli.run(main)
