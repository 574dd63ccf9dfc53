"""`python -m tasks.serve` as a process on free ports of loopback."""

import asyncio
import contextlib
import hashlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import httpx

from tests.benchmarks.serving import load, metrics, processes, users

START_SECONDS = 300.0
_READY = re.compile(r"ready: (.*)")


class ServerProcess:
    """A server, as a context manager; ends with it.

    Args:
        exports: `pathlib.Path` of a folder of exports by version.
        store: str, root of the store.
        folder: `pathlib.Path` for its credentials and its log.
        access_log: str, a file; empty for none.
        **limits: of `limits.Limits`.

    Attributes:
        grpc, rest, admin_address: str, `host:port`.
        token: str, of an administrator of the tenant `users.TENANT`.
        metadata: tuple, for gRPC; headers: dict, for HTTP.
    """

    def __init__(self, exports, store, folder, access_log="", **limits):
        folder.mkdir(parents=True, exist_ok=True)
        self.token = secrets.token_hex(16)
        authorization = f"Bearer {self.token}"
        self.metadata = (("authorization", authorization),)
        self.headers = {"Authorization": authorization}
        credential = {
            "name": "benchmark",
            "token_sha256": hashlib.sha256(self.token.encode()).hexdigest(),
            "tenant": users.TENANT,
            "speakers": "*",
            "admin": True,
            "operator": True,
        }
        access_file = folder / "access.json"
        access_file.write_text(json.dumps({"credentials": [credential]}))
        self.log = folder / "server.log"
        self._command = [
            sys.executable,
            "-m",
            "tasks.serve",
            f"--export_dir={exports}",
            f"--store={store}",
            f"--access_file={access_file}",
            f"--access_log={access_log}",
            *(f"--{n}_address=127.0.0.1:0" for n in ("grpc", "rest", "admin")),
            *(f"--limit={name}={value}" for name, value in limits.items()),
        ]
        self._process = None

    def __enter__(self):
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        timer = threading.Timer(START_SECONDS, self._process.kill)
        timer.start()
        try:
            self._read_addresses()
        finally:
            timer.cancel()
        return self

    def __exit__(self, *exception):
        if self.is_running():
            self.signal(signal.SIGTERM)
            try:
                self._process.wait(30.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def run(self, coroutine):
        """Runs a coroutine that talks to the server."""
        return asyncio.run(coroutine)

    def client(self, **arguments):
        """A `load.Client` with a credential."""
        return load.Client(self.grpc, metadata=self.metadata, **arguments)

    @contextlib.asynccontextmanager
    async def admin(self):
        """An object with coroutines `load` and `unload` of a speaker, and
        `load_many` of several."""
        async with httpx.AsyncClient(
            headers=self.headers, timeout=300.0
        ) as client:
            yield _Admin(client, self.admin_address)

    def metrics(self):
        """A `metrics.Scrape`."""
        request = urllib.request.Request(
            f"http://{self.rest}/metrics", headers=self.headers
        )
        with urllib.request.urlopen(request, timeout=60.0) as answer:
            return metrics.Scrape(answer.read().decode())

    def usage(self):
        """Its `processes.Usage`."""
        return processes.usage(self._process.pid)

    def is_running(self):
        return self._process.poll() is None

    def signal(self, number):
        self._process.send_signal(number)

    def wait(self, seconds):
        """Its exit status; it is killed if it has not ended by then."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _read_addresses(self):
        started = time.monotonic()
        for line in self._process.stdout:
            match = _READY.match(line)
            if match:
                found = dict(each.split("=", 1) for each in match[1].split())
                self.grpc = found["grpc"]
                self.rest = found["rest"]
                self.admin_address = found["admin"]
                self.start_seconds = time.monotonic() - started
                return
        self._process.wait()
        raise RuntimeError(
            f"the server did not start: {' '.join(self._command)}\n"
            + self.log.read_text(errors="replace")[-3000:]
        )


class _Admin:
    def __init__(self, client, address):
        self._client = client
        self._url = f"http://{address}/v1/submodels"

    async def load(self, speaker):
        await self._post(f"/{speaker}:load")

    async def load_many(self, speakers):
        content = await self._post(":load", {"submodel_ids": speakers})
        if content["errors"]:
            raise RuntimeError(f"load: {content['errors']}")

    async def unload(self, speaker):
        await self._post(f"/{speaker}:unload")

    async def _post(self, path, content=None):
        response = await self._client.post(self._url + path, json=content)
        if response.status_code != 200:
            raise RuntimeError(
                f"{path}: {response.status_code} {response.text}"
            )
        return response.json()
