"""The store's commands: what they print, refuse and leave behind."""

import collections
import contextlib
import json
import os
import pathlib
import sys

import pytest
from absl import flags

from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tasks import cli
from tests import stored
from tests.tasks.serving import test_gate_evidence as gates

Done = collections.namedtuple("Done", "code out errors")


@pytest.fixture
def run(tmp_path):
    """Runs the binary in a fork, which is much faster than from the start."""

    def runner(command, *arguments, tenant="clinic"):
        argv = ["store", command, f"--store={tmp_path / 'store'}"]
        argv += [f"--tenant={tenant}"] if tenant else []
        argv += map(str, arguments)
        out, err = tmp_path / "out", tmp_path / "err"
        pid = os.fork()
        if pid == 0:
            _child(argv, out, err)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        assert "Traceback" not in err.read_text()
        errors = [
            line.removeprefix("error: ")
            for line in err.read_text().splitlines()
            if line.startswith("error: ")
        ]
        return Done(code, out.read_text(), errors)

    return runner


def _child(argv, out, err):
    code = 1
    try:
        with (
            open(out, "w") as stdout,
            open(err, "w") as stderr,
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
        ):
            sys.argv = argv
            # Here alone: flags of two binaries do not fit into one process.
            _forget_flags_of_binaries()
            from tasks import store

            try:
                cli.run(store.main)
            except SystemExit as exit_:
                code = exit_.code or 0
    finally:
        os._exit(code)


def _forget_flags_of_binaries():
    """Other tests of this process may have imported another binary."""
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        if module.startswith("tasks.") and module != cli.__name__:
            for flag in list(defined):
                delattr(flags.FLAGS, flag.name)


@pytest.fixture
def store(tmp_path):
    return submodel_store.SubmodelStore(tmp_path / "store")


def write(folder, speaker, value=1.0, **fields):
    folder.mkdir(exist_ok=True)
    path = folder / submodel_file.file_name(speaker)
    path.write_bytes(stored.data(value, speaker, **fields))
    return path


def test_published_files_can_be_resolved(run, store, tmp_path):
    paths = [write(tmp_path, speaker) for speaker in ("F01", "M02")]
    done = run("publish", *paths)
    assert (done.code, done.errors) == (0, [])
    version = store.resolve("clinic", "F01")
    assert f"published F01 {version.name}" in done.out.splitlines()
    assert "python -m tasks.serve" in done.out.splitlines()[-1]
    assert store.read(version) == paths[0].read_bytes()
    assert "unchanged F01 1-" in run("publish", paths[0]).out


def test_a_run_is_published_whole(run, store, tmp_path):
    folder = tmp_path / "run" / "submodels"
    folder.parent.mkdir()
    for number in range(5):
        write(folder, f"S{number}")
    (folder / ".writing-00").write_bytes(b"half")
    done = run("publish", f"--model_dir={tmp_path / 'run'}", "--json")
    assert (done.code, done.errors) == (0, [])
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["speaker"] for row in rows] == [f"S{n}" for n in range(5)]
    assert {row["state"] for row in rows} == {"published"}
    assert stored.speakers(store, "clinic") == [f"S{n}" for n in range(5)]


def test_a_batch_goes_on_after_what_is_refused(run, store, tmp_path):
    good = [write(tmp_path, speaker) for speaker in ("F01", "F03")]
    broken = tmp_path / "broken"
    broken.write_bytes(stored.data()[:-1])
    odd = write(tmp_path, "\u8a71\u8005/../1")
    missing = tmp_path / "missing"
    done = run("publish", good[0], broken, odd, missing, good[1])
    assert done.code == 1
    assert len(done.errors) == 4
    assert done.errors[0].startswith(f"{broken}: ")
    assert "speaker id must be" in done.errors[1]
    assert done.errors[1].isascii()
    assert done.errors[2].startswith(f"{missing}: cannot read: No such file")
    assert done.errors[3] == "published 2 of 5"
    assert stored.speakers(store, "clinic") == ["F01", "F03"]


def test_one_file_may_be_published_under_another_id(run, store, tmp_path):
    path = write(tmp_path, "\u8a71\u8005")
    assert run("publish", path, "--speaker=user-17").code == 0
    assert stored.speakers(store, "clinic") == ["user-17"]
    done = run("publish", path, path, "--speaker=user-17")
    assert done.errors == ["--speaker is for one file; publish one by one"]


def test_the_gate_lets_the_better_ones_through(run, store, tmp_path):
    paths = [write(tmp_path, each, 0.0) for each in ("F01", "F02", "F03")]
    results = gates.results(
        tmp_path, {"F01": [(False, True)] * 9, "F02": [(True, True)] * 9}
    )
    done = run("publish", *paths, f"--gate={results}", "--force")
    assert done.code == 1
    assert "word error rate 0.0 % of the base, 0.0 % of" in done.errors[0]
    assert "+0.0 to +0.0, which must lie below 0 (9 utt" in done.errors[0]
    assert "no figures on 'F03'" in done.errors[1]
    assert stored.speakers(store, "clinic") == ["F01"]
    shown = run("show", "F01").out
    assert "the change of -60.0 points has the 95 % interval" in shown


def test_what_breaks_a_live_user_is_refused_unless_allowed(
    run, store, tmp_path
):
    first = run("publish", write(tmp_path, "F01"))
    assert first.code == 0
    path = write(tmp_path, "F01", 2.0, base_fingerprint="cd" * 32)
    done = run("publish", path)
    assert done.code == 1
    assert done.errors[0].endswith("add --change_base")
    assert store.resolve("clinic", "F01").number == 1
    assert run("publish", path, "--change_base").code == 0
    assert store.resolve("clinic", "F01").base_fingerprint == "cd" * 32


def test_what_learned_nothing_is_refused_unless_forced(run, store, tmp_path):
    identity = write(tmp_path, "F01", 0.0)
    untrained = write(tmp_path, "F02", 1.0, training={"step": 0})
    # Out of a trained space, no update is needed.
    enrolled = {"step": 0, "mode": "zero_shot"}
    paths = [
        identity,
        untrained,
        write(tmp_path, "F03", 1.0, training=enrolled),
    ]
    done = run("publish", *paths)
    assert done.code == 1
    assert "with these weights it is the base model" in done.errors[0]
    assert "the weights of step 0; --force" in done.errors[1]
    assert stored.speakers(store, "clinic") == ["F03"]
    assert run("publish", *paths, "--force").code == 0
    assert stored.speakers(store, "clinic") == ["F01", "F02", "F03"]


def test_who_was_erased_is_published_again_only_when_asked(
    run, store, tmp_path
):
    path = write(tmp_path, "F01")
    run("publish", path)
    run("erase", "F01", "--reason=withdrew")
    done = run("publish", path)
    assert done.code == 1
    assert "was erased at 2" in done.errors[0]
    assert done.errors[0].endswith(
        "(withdrew); to publish it all the same, add --again"
    )
    assert stored.speakers(store, "clinic") == []
    assert run("publish", path, "--again").code == 0
    assert store.resolve("clinic", "F01").source == str(path)


def test_list_is_a_table_and_json_is_a_line_each(run, store):
    assert run("list").errors[0].endswith("publish a Submodel to make one")
    versions = [
        store.publish(stored.data(), tenant, speaker)
        for tenant, speaker in (("clinic", "F01"), ("a", "F02"))
    ]
    header, *rows = run("list", tenant="").out.splitlines()
    assert header.split()[:3] == ["tenant", "speaker", "version"]
    assert rows[0].split()[:3] == ["a", "F02", versions[1].name]
    assert len(rows) == 2
    rows = run("list", "--json").out.splitlines()
    assert len(rows) == 1
    assert json.loads(rows[0])["sha256"] == versions[0].sha256
    assert run("list", tenant="nobody").out == "nothing is published\n"


def test_list_goes_on_after_a_damaged_speaker(run, store):
    for speaker in ("F01", "F02"):
        version = store.publish(stored.data(), "clinic", speaker)
    path = pathlib.Path(store.root, version.folder, "current.json")
    path.write_text("{")
    done = run("list")
    assert done.code == 1
    assert len(done.out.splitlines()) == 2
    assert "damaged" in done.errors[0]
    assert done.errors[1] == "speakers that cannot be read: 1; see verify"


def test_show_marks_the_current_version(run, store):
    for value in range(3):
        store.publish(stored.data(value), "clinic", "F01")
    assert "rolled back F01 3-" in run("rollback", "F01").out
    rows = map(json.loads, run("show", "F01", "--json").out.splitlines())
    assert [row["current"] for row in rows] == [False, True, False]
    lines = run("show", "F01").out.splitlines()
    assert [line[0] for line in lines if "sha256" not in line] == [
        " ",
        "*",
        " ",
    ]
    done = run("show", "F09")
    assert done.code == 1
    assert "no Submodel of 'F09' is published" in done.errors[0]


def test_rollback_goes_to_a_number_and_says_who(run, store):
    for value in range(3):
        store.publish(stored.data(value), "clinic", "F01")
    assert run("rollback", "F01", "--number=1").code == 0
    assert store.resolve("clinic", "F01").number == 1
    line = pathlib.Path(store.root, "audit.jsonl").read_text().splitlines()[0]
    assert "@" in json.loads(line)["by"]
    done = run("rollback", "F01")
    assert (done.code, len(done.errors)) == (1, 2)
    assert "no version before" in done.errors[0]


def test_erase_needs_a_reason_and_says_how_many(run, store):
    for value in range(2):
        store.publish(stored.data(value), "clinic", "F01")
    assert "--reason is missing" in run("erase", "F01").errors[0]
    done = run("erase", "F01", "F02", "--reason=asked")
    assert done.out == "erased F01: 2 versions\n"
    assert done.code == 1
    assert "no Submodel of 'F02'" in done.errors[0]
    assert stored.speakers(store, "clinic") == []


def test_erase_names_what_is_left_and_takes_a_person_out_of_a_run(
    run, store, tmp_path
):
    folder = tmp_path / "run"
    (folder / "submodels").mkdir(parents=True)
    paths = {s: write(folder / "submodels", s) for s in ("F01", "F02")}
    run("publish", f"--model_dir={folder}")
    done = run("erase", "F01", "--reason=withdrew", "--run=/nowhere")
    assert "/nowhere: not the folder of a run" in done.errors[0]
    assert store.resolve("clinic", "F01").number == 1
    done = run("erase", "F01", "--reason=withdrew")
    assert done.out.splitlines() == [
        "erased F01: 1 versions",
        f"  still there: {paths['F01']}; --run={folder} removes it",
    ]
    arguments = ("--reason=withdrew", f"--run={folder}")
    done = run("erase", "F01", *arguments)
    assert (done.code, paths["F01"].exists()) == (0, False)
    assert done.out.splitlines()[:2] == [
        "erased F01: not in the store",
        f"  {folder}: submodels/F01.safetensors",
    ]
    done = run("erase", "F02", *arguments, "--json")
    assert json.loads(done.out) == {
        "speaker": "F02",
        "num_versions": 1,
        "removed": {str(folder): ["submodels/F02.safetensors"]},
        "remains": [],
        "files": [],
    }
    write(folder / "submodels", "F02")
    done = run("erase", "F02", f"--run={folder}", "--store=", tenant="")
    assert done.out.splitlines()[:2] == [
        "erased F02: from folders only",
        f"  {folder}: submodels/F02.safetensors",
    ]
    done = run("erase", "F02", "--store=", tenant="")
    assert done.errors == ["--store is missing; see --help"]
    done = run("erase", "F03", *arguments)
    assert (done.code, done.errors[0]) == (
        1,
        f"F03: neither in the store nor in {folder}",
    )
    assert list(store.verify()) == []


def test_a_file_that_no_run_has_is_named_alone(run, tmp_path):
    folder = tmp_path / "run" / "submodels"
    folder.mkdir(parents=True)
    loose, other = write(tmp_path, "F01"), write(folder, "F02")
    run("publish", loose)
    run("publish", other, "--speaker=ann")
    done = run("erase", "F01", "ann", "--reason=withdrew")
    assert done.out.splitlines()[1::2] == [
        f"  still there: {path}; remove it" for path in (loose, other)
    ]


def test_verify_names_problems_and_removes_leftovers(run, store):
    version = store.publish(stored.data(), "clinic", "F01")
    assert run("verify", tenant="").out == f"{store.root}: whole\n"
    leftover = pathlib.Path(store.root, version.folder, ".writing-0")
    leftover.write_bytes(b"half")
    done = run("verify", tenant="")
    assert (done.code, done.errors) == (
        1,
        [f"{store.root}: not whole; problems: 1"],
    )
    assert "left by a writer that was killed" in done.out
    done = run("verify", "--remove_leftovers", tenant="")
    assert done.out.endswith(f"; removed\n{store.root}: whole now\n")
    assert (done.code, leftover.exists()) == (0, False)
    pathlib.Path(store.root, version.blob_path).unlink()
    row = json.loads(run("verify", "--json", tenant="").out)
    assert row["path"] == version.blob_path


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["pubish"], "name one of publish, list, show, rollback"),
        (["publish"], "name Submodel files or --model_dir"),
        (["publish", "--tenant="], "--tenant is missing"),
        (["list", "--store="], "--store is missing"),
        (["list", "F01"], "unexpected argument 'F01'"),
        (["show"], "name at least one speaker"),
        (["publish", "--model_dir=/nowhere"], "/nowhere/submodels"),
        (["publish", "x", "--gate=/nowhere"], "cannot read: No such file"),
        (["publish", "x", "--tenant=../x"], "the tenant id must be"),
        (["verify"], "no Submodel store is there"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_is_one_line(run, tmp_path, arguments, message):
    done = run(*arguments)
    assert done.code == 1
    assert any(message in error for error in done.errors), done.errors
    assert not (tmp_path / "store").exists()


def test_a_store_that_cannot_be_written_stops_the_batch(run, tmp_path):
    (tmp_path / "store").write_bytes(b"a file")
    paths = [write(tmp_path, speaker) for speaker in ("F01", "F02")]
    done = run("publish", *paths)
    assert done.code == 1
    assert len(done.errors) == 1
    (error,) = done.errors
    assert error.startswith(f"the store {tmp_path / 'store'} cannot be used: ")
    assert "F01" not in error and error.endswith("(published before: 0)")
    assert (tmp_path / "store").read_bytes() == b"a file"
