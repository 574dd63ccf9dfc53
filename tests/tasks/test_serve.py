"""The binary: what it refuses to start with, and a whole life of it."""

import concurrent.futures
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import numpy as np
import pytest
import soundfile
from absl import flags
from absl.testing import flagsaver

from lingvo_like.store import store as submodel_store
from tasks import serve
from tasks.serving import client
from tests.tasks.serving import example_exports

SPEAKER = "F01"


@pytest.fixture(autouse=True)
def parsed_flags():
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()


def _write(path, text):
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    "values, message",
    [
        ({}, "--export_dir or --model_config_file, one of them"),
        ({"model_config_file": "a", "export_dir": "b"}, "one of them"),
        ({"grpc_address": "8500"}, "--grpc_address must be HOST:PORT"),
        ({"grpc_address": "", "rest_address": ""}, "give --grpc_address"),
        ({"rest_address": "0.0.0.0:1"}, "refusing to listen on 0.0.0.0:1"),
        ({"admin_address": "[::]:1"}, r"refusing to listen on \[::\]:1"),
        ({"tls_certificate": "a"}, "and its private key"),
        ({"access_file": "missing.json"}, "missing.json"),
        ({"tenant": "../x"}, "tenant"),
        ({"limit": ["queue_request=1"]}, "queue_requests"),
        ({"limit": ["queue_requests=-1"]}, "must be positive"),
        ({"access_log_key_file": "KEY"}, "at least 16 bytes"),
        ({"access_log": "log", "store": "mistyped"}, "no Submodel store"),
        ({"model_config_file": "MODELS"}, "models.txt: .*nonsense"),
        ({"export_dir": "EMPTY"}, "no versions"),
        ({"export_dir": "gone"}, "gone: there is no export, no such folder"),
        ({"export_dir": "all/1"}, "one version .* name the folder .*, all$"),
        ({"export_dir": "run"}, "tasks.export --model_dir=run --export_dir="),
        ({"export_dir": "run/submodels"}, "tasks.export --model_dir=run "),
        ({"export_dir": "store"}, "store of Submodels.* it goes to --store"),
        ({"store": "run"}, "--tenant=default --model_dir=run"),
        ({"store": "all/1"}, "one version of an export, no store"),
        ({"store": "mistyped"}, "mistyped: no Submodel store is there"),
        ({"store": "EMPTY"}, "no Submodel store is there"),
    ],
)
def test_a_wrong_start_is_one_clear_message(
    values, message, tmp_path, capsys, monkeypatch
):
    for file in (
        "all/1/description.json",
        "run/experiment.json",
        "run/submodels/F01.safetensors",
        "store/store.json",
    ):
        path = tmp_path / "other" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    monkeypatch.chdir(tmp_path / "other")
    places = {
        "KEY": _write(tmp_path / "key", "short"),
        "MODELS": _write(tmp_path / "models.txt", "nonsense {"),
        "EMPTY": str(tmp_path),
    }
    values = {
        name: places.get(value, value) if isinstance(value, str) else value
        for name, value in values.items()
    }
    free = dict.fromkeys(
        ("grpc_address", "rest_address", "admin_address"), "127.0.0.1:0"
    )
    if values and "model_config_file" not in values:
        values.setdefault("export_dir", str(tmp_path))
    with flagsaver.flagsaver(**(free | values)):
        with pytest.raises((SystemExit, ValueError, OSError)) as caught:
            serve.main(["serve"])
    out, err = capsys.readouterr()
    # Nothing looks like a start before what can be checked was checked.
    assert not out or message == "no versions"
    text = err + str(caught.value)
    assert sorted(os.listdir()) == ["all", "run", "store"]
    assert re.search(message, text, re.DOTALL), text


def test_a_port_in_use_is_found_before_anything_is_loaded(tmp_path, capsys):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_text("")
    free = dict.fromkeys(
        ("grpc_address", "rest_address", "admin_address"), "127.0.0.1:0"
    )
    for front in free:
        with socket.create_server(("127.0.0.1", 0)) as used:
            address = f"127.0.0.1:{used.getsockname()[1]}"
            values = {**free, front: address, "export_dir": str(tmp_path)}
            with flagsaver.flagsaver(**values):
                with pytest.raises(OSError, match=f"--{front}: .*{address}"):
                    serve.main(["serve"])
        assert not capsys.readouterr().out


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with one speaker's Submodel for the small export."""
    folder = tmp_path_factory.mktemp("store")
    row = example_exports.rows("conformer", 2)[0]
    data = example_exports.submodel("conformer", SPEAKER, row)
    submodel_store.SubmodelStore(str(folder)).publish(data, "clinic", SPEAKER)
    return folder


@pytest.mark.slow
def test_a_server_lives_from_ready_to_sigterm_under_load(store, tmp_path):
    export_dir = os.path.dirname(example_exports.folder("conformer"))
    log = tmp_path / "access.jsonl"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tasks.serve",
            f"--export_dir={export_dir}",
            f"--store={store}",
            "--tenant=clinic",
            f"--access_log={log}",
            "--lame_duck_seconds=0.2",
            *(f"--{name}_address=127.0.0.1:0" for name in serve._ADDRESSES),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert "no --access_file" in process.stdout.readline()
        assert f"loading {export_dir} for" in process.stdout.readline()
        ready = process.stdout.readline()
        assert ready.startswith("ready: grpc=127.0.0.1:"), process.stderr.read()
        bound = dict(each.split("=") for each in ready.split()[1:])
        _check_rest(bound)
        answers = _stop_under_load(process, bound["grpc"])
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    served = [each for each in answers if not isinstance(each, Exception)]
    refused = [each for each in answers if isinstance(each, Exception)]
    assert served and {each.served_by for each in served} == {"submodel"}
    assert all(each.submodel_version.startswith("1-") for each in served)
    # Each request ended with an answer or a plain refusal.
    assert {each.code for each in refused} <= {"UNAVAILABLE"}
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert sum(each["code"] == "OK" for each in lines) >= len(served)
    assert SPEAKER not in log.read_text()


def _check_rest(bound):
    rest, admin = f"http://{bound['rest']}", f"http://{bound['admin']}"
    model = f"{rest}/v1/models/submodels"
    assert _get(f"{rest}/ready") == {"status": "ok"}
    (version,) = _get(model)["model_version_status"]
    assert (version["version"], version["state"]) == ("1", "AVAILABLE")
    signatures = _get(f"{model}/metadata")["metadata"]["signature_def"]
    assert set(signatures["signature_def"]) == {
        "base",
        "grouped",
        "serving_default",
    }
    one = {"audio": [0.1, -0.1] * 4000, "submodel_id": SPEAKER}
    body = {"instances": [one]}
    (answer,) = _get(f"{model}:predict", body)["predictions"]
    assert answer["status"] == "OK" and answer["served_by"] == "submodel"
    file = io.BytesIO()
    tone = 0.1 * np.sin(np.arange(8000) / 5)
    soundfile.write(file, tone, 8000, format="FLAC")
    request = urllib.request.Request(
        f"{model}:transcribe", file.getvalue(), {"x-submodel-id": SPEAKER}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)
    assert found["status"] == "OK" and found["served_by"] == "submodel"
    (loaded,) = _get(f"{admin}/v1/submodels")["submodels"]
    assert loaded["submodel_id"] == SPEAKER
    with urllib.request.urlopen(f"{rest}/metrics", timeout=60) as answer:
        found = answer.read().decode()
    assert SPEAKER not in found
    assert "submodels_access_log_dropped 0.0" in found


def _get(url, body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(url, data, timeout=60) as answer:
        return json.load(answer)


def _stop_under_load(process, address):
    """SIGTERM in the middle of requests; what each of them came to."""
    samples = np.resize(np.float32([0.1, -0.1]), 8000)

    def ask(place):
        if place == 20:
            process.send_signal(signal.SIGTERM)
        try:
            return recogniser.transcribe(samples, SPEAKER)
        except client.TranscriptionError as error:
            return error

    with client.Client(address) as recogniser:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            return list(pool.map(ask, range(60)))
