"""Item 7: the base is exchanged under load, and once for a corrupt one."""

import asyncio
import itertools
import os
import pathlib
import shutil

import grpc
from grpc import aio
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
)

from tests.benchmarks.serving import load, requests, results, speech, users

SECONDS = 1.0
SCALE = 1e-3
USERS = 16
IN_FLIGHT = 8
# From a version's folder to the first answer of it.
LOAD_SECONDS = 120.0
# Of the later half of the reloads; an export takes more than that.
GROWTH_MIB = 150.0
AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE


def run(bench):
    """Adds version after version and asks for it, while requests run."""
    reloads = bench.arguments.reloads
    corrupt = 1 + reloads // 2
    clips = speech.cut(bench.speakers, SECONDS, USERS)
    store = users.publish(
        bench.folder("reload_store"), bench.description, USERS, SCALE
    )
    exports = pathlib.Path(bench.fresh_folder("reload_exports"))
    original = bench.export().folder / "1"
    shutil.copytree(original, exports / "1", copy_function=os.link)
    result = results.Result(
        "reload",
        f"{reloads} new versions of the base, number {corrupt} of them "
        f"corrupt, with {IN_FLIGHT} requests of {SECONDS:g} s under way",
    )
    source = itertools.cycle(
        [
            (requests.predict(clip, users.name(number)), None)
            for number, clip in enumerate(clips)
        ]
    )
    # None is to be refused for being slow: two bases share the processors.
    limits = {"queue_seconds": 60}
    with bench.serve(store.root, exports=exports, **limits) as server:
        usage = [server.usage().resident_bytes]
        outcomes, states = asyncio.run(
            _reload(server, source, original, exports, reloads, corrupt, usage)
        )
    _describe(result, outcomes, states, corrupt, usage)
    return result


async def _reload(server, source, original, exports, reloads, corrupt, usage):
    """Outcomes, and (reloaded, serving version afterwards) of each reload."""
    states = []
    async with (
        server.client() as client,
        aio.insecure_channel(server.grpc) as channel,
    ):
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        await load.warm_up(client, source)
        stop = asyncio.Event()
        running = asyncio.create_task(
            load.closed_loop(client, source, IN_FLIGHT, stop=stop)
        )
        for number in range(1, reloads + 1):
            _add_version(original, exports, number + 1, number == corrupt)
            reloaded = await _ask(models, server, exports)
            states.append((reloaded, await _serving(models, server)))
            # For some answers of it, and the end of the one before.
            await asyncio.sleep(1.0)
            usage.append(server.usage().resident_bytes)
        stop.set()
        return await running, states


def _add_version(original, exports, number, is_corrupt):
    """A version's folder, which appears whole."""
    hidden = exports / f".{number}"
    shutil.copytree(original, hidden, copy_function=os.link)
    if is_corrupt:
        graph = hidden / "saved_model.pb"
        data = graph.read_bytes()
        # Unlinked first: the other versions share the file.
        graph.unlink()
        graph.write_bytes(data[: len(data) // 2])
    hidden.rename(exports / str(number))


async def _ask(models, server, exports):
    """Whether HandleReloadConfigRequest says that the version serves."""
    request = model_management_pb2.ReloadConfigRequest()
    config = request.config.model_config_list.config.add()
    config.name = requests.MODEL
    config.base_path = str(exports)
    config.model_platform = "tensorflow"
    try:
        response = await models.HandleReloadConfigRequest(
            request, timeout=LOAD_SECONDS, metadata=server.metadata
        )
    except aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
            return False
        raise
    return response.status.error_code == 0


async def _serving(models, server):
    """The newest available version."""
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = requests.MODEL
    response = await models.GetModelStatus(request, metadata=server.metadata)
    return max(
        each.version
        for each in response.model_version_status
        if each.state == AVAILABLE
    )


def _describe(result, outcomes, states, corrupt, usage):
    failed = [each for each in outcomes if not each.ok]
    wrong = 0
    for number, (reloaded, version) in enumerate(states, start=1):
        expected = number if number == corrupt else number + 1
        is_right = reloaded == (number != corrupt) and version == expected
        wrong += not is_right
        if not is_right:
            result.note(
                f"reload {number}: said {reloaded}, serves {version}, "
                f"expected {expected}"
            )
    versions = {each.model_version for each in outcomes if each.ok}
    result.add("reloads", len(states))
    result.add("reload_requests", len(outcomes), "requests", at_least=1)
    result.add("failed_requests_during_reload", len(failed), at_most=0)
    if failed:
        result.note(f"first: {failed[0].code}: {failed[0].details}")
    result.add("wrong_reloads", wrong, at_most=0)
    result.add("answers_of_corrupt", int(corrupt + 1 in versions), at_most=0)
    result.add("versions_that_answered", len(versions), at_least=len(states))
    seconds = [each.seconds for each in outcomes if each.ok]
    results.percentiles_ms(result, "reload", seconds)
    megabytes = [each / 2**20 for each in usage]
    result.add("reload_rss_first_mib", megabytes[0], "MiB")
    result.add("reload_rss_most_mib", max(megabytes), "MiB")
    result.add("reload_rss_last_mib", megabytes[-1], "MiB")
    # One base more each time would show at once; a few reloads show nothing.
    settled = megabytes[len(megabytes) // 2 :]
    result.add(
        "reload_rss_growth_mib",
        results.slope(settled),
        f"MiB in {len(settled) - 1}",
        at_most=GROWTH_MIB if len(settled) > 4 else None,
    )
