"""Runs a server, from the operator's flags to the last request."""

import asyncio
import dataclasses
import os
from collections import abc
from typing import Any

from lingvo_like import hyperparams
from lingvo_like.store import store as submodel_store
from tasks.serving import messages, server
from tasks.serving.exports import places, saved_model
from tasks.serving.fronts import (
    access,
    access_log,
    listening,
    model_messages,
    service,
)
from tasks.serving.fronts.http import listener
from tasks.serving.queueing import limits as limits_lib
from tasks.serving.submodels import source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """An operator's choices for a server, each from a flag of `tasks.serve`.

    Attributes:
        export_dir: a folder of exports by version; empty if
            `model_config_file` names them.
        model_name: the name by which requests find `export_dir`.
        store: a store of Submodels; empty to serve the base alone.
        fallback: "error" or "base", for a user without a Submodel.
        addresses: front ("grpc", "rest", "admin") to HOST:PORT, or to empty.
        access_file: says who may do what; without it, everybody may use the
            Submodels of `tenant`.
        tls: the fields of `listening.Tls`, by name.
        limits: the fields of `limits.Limits` to change, by name.
        access_log: a path; "-" is stdout, and empty is no log.
    """

    export_dir: str
    model_name: str
    model_config_file: str
    store: str
    fallback: str
    addresses: abc.Mapping[str, str]
    access_file: str
    tenant: str
    tls: abc.Mapping[str, str]
    limits: abc.Mapping[str, Any]
    access_log: str
    access_log_key_file: str

    def __post_init__(self) -> None:
        if bool(self.export_dir) == bool(self.model_config_file):
            raise ValueError(
                "give --export_dir or --model_config_file, one of them"
            )
        if not (self.addresses["grpc"] or self.addresses["rest"]):
            raise ValueError("give --grpc_address or --rest_address")


def serve(
    request: Request, lame_duck_seconds: float, drain_seconds: float
) -> bool:
    """Serves until SIGTERM.

    Args:
        lame_duck_seconds: how long to serve after SIGTERM while not ready.
        drain_seconds: after that, the longest time for requests that were
            admitted.

    Returns:
        whether every admitted request was answered.

    Raises:
        ValueError, OSError: the server cannot be what is asked for. Whatever
            can fail does so before the base is loaded.
    """
    addresses = {
        front: listening.parse(f"{front}_address", address)
        for front, address in request.addresses.items()
    }
    tls = listening.Tls(**request.tls)
    control = access.NoAccessControl(request.tenant)
    if request.access_file:
        control = access.read(request.access_file)
    notices = listening.notices(addresses.values(), control, tls)
    # A single tenant needs no protection from others.
    share = {} if control.is_on else {"tenant_share": 1}
    limits = hyperparams.replace(
        limits_lib.Limits(), {**share, **request.limits}
    )
    log_key = access_log.read_key(request.access_log_key_file)
    models, submodels = _models(request), _submodels(request)
    for front, address in addresses.items():
        if address is not None:
            listener.check_free(front, address)
    # Last, so that no start that fails before leaves its file behind.
    log = access_log.AccessLog(request.access_log, log_key)
    served = server.Server(
        submodels,
        saved_model.SavedModelEngine,
        models,
        limits,
        request.fallback,
    )
    running = service.Service(served, control, limits, log, tls)
    what = ", ".join(model.base_path for model in models)
    whose = f" for the Submodels of {request.store}" if request.store else ""
    notices.append(f"loading {what}{whose}; this can take half a minute ...")
    print("\n".join(notices), flush=True)
    return asyncio.run(
        running.serve(addresses, lame_duck_seconds, drain_seconds)
    )


def _models(request: Request) -> list[messages.ModelConfig]:
    """The models to serve."""
    if request.model_config_file:
        models = model_messages.read_configs(request.model_config_file)
        for model in models:
            places.check_exports(model.base_path)
        return models
    places.check_exports(request.export_dir)
    path = os.path.abspath(request.export_dir)
    return [messages.ModelConfig(request.model_name, path)]


def _submodels(request: Request) -> source.StoreSource | None:
    """The source of Submodels; None to serve the base alone."""
    if not request.store:
        return None
    places.check_store(request.store)
    store = submodel_store.SubmodelStore(request.store)
    # A mistyped path would otherwise fail every request of a ready server.
    store.check()
    return source.StoreSource(store)
