"""Publishes Submodels to servers, lists them, rolls back, erases, verifies.

    python -m tasks.store publish --store=STORE --tenant=T F01.safetensors
    python -m tasks.store publish --store=STORE --tenant=T --model_dir=RUN
    python -m tasks.store list --store=STORE
    python -m tasks.store show --store=STORE --tenant=T F01
    python -m tasks.store rollback --store=STORE --tenant=T F01
    python -m tasks.store erase --store=STORE --tenant=T F01 --reason=asked
    python -m tasks.store verify --store=STORE

STORE is a folder or a bucket. A Submodel is published under the speaker that
its file names. With --gate it has to be better than the base: the interval of
the change of the speaker's word error rate must lie below zero in the
results.json that `tasks.evaluate --test_manifest=dev.jsonl` wrote. What is
refused is one line on stderr, the rest goes on, and the exit status is 1.
"""

import dataclasses
import getpass
import json
import posixpath
import socket
import sys

from absl import flags

from tasks import cli, tables

_STORE = flags.DEFINE_string("store", "", "Folder or bucket of the store.")
_TENANT = flags.DEFINE_string("tenant", "", "Whose speakers; list: all.")
_MODEL_DIR = flags.DEFINE_string(
    "model_dir", "", "publish: every Submodel of this run."
)
_SPEAKER = flags.DEFINE_string(
    "speaker", "", "publish: the id of one file's speaker, if another one."
)
_GATE = flags.DEFINE_string(
    "gate", "", "publish: results.json on dev speech that has to show a gain."
)
_NUMBER = flags.DEFINE_integer(
    "number", None, "rollback: to this version; the one before if not given."
)
_REASON = flags.DEFINE_string("reason", "", "erase: why, for the audit log.")
_REMOVE_LEFTOVERS = flags.DEFINE_bool(
    "remove_leftovers", False, "verify: remove what killed writers left."
)
_JSON = flags.DEFINE_bool("json", False, "Print lines of JSON.")


@cli.takes_arguments
def main(argv):
    command = COMMANDS.get(argv[1] if len(argv) > 1 else "")
    if command is None:
        cli.fail(f"name one of {', '.join(COMMANDS)} first; see --help")
    if not _STORE.value:
        cli.fail("--store is missing; see --help")
    if not _TENANT.value and command not in (list_all, verify):
        cli.fail("--tenant is missing; see --help")
    # Late, so that --help answers at once.
    from lingvo_like.store import store as submodel_store

    if _TENANT.value:
        submodel_store.check_id("tenant", _TENANT.value)
    command(submodel_store.SubmodelStore(_STORE.value), argv[2:])


def publish(store, paths):
    from lingvo_like import files
    from lingvo_like.submodel import file as submodel_file
    from tasks.serving import quality_gate

    paths = paths + (_of_run(_MODEL_DIR.value) if _MODEL_DIR.value else [])
    if not paths:
        cli.fail("name Submodel files or --model_dir; see --help")
    if _SPEAKER.value and len(paths) > 1:
        cli.fail("--speaker is for one file; publish one by one")
    results = quality_gate.Results(_GATE.value) if _GATE.value else None

    def one(path):
        try:
            data = files.read(path, submodel_file.MAX_FILE_BYTES)
        except OSError as error:
            raise ValueError(error.strerror) from None
        of = submodel_file.load(data).metadata.speaker
        speaker = _SPEAKER.value or of
        gate = results.gate(of) if results else None
        before = _current(store, speaker)
        version = store.publish(data, _TENANT.value, speaker, gate)
        state = "unchanged" if version == before else "published"
        _say(version, f"{state} {speaker} {version.name}", state=state)

    _each(paths, one, "published")


def list_all(store, arguments):
    _no_arguments(arguments)
    errors = []
    versions = store.current(_TENANT.value or None, errors.append)
    versions = sorted(versions, key=lambda v: (v.tenant, v.speaker))
    if _JSON.value:
        for version in versions:
            _say(version)
    elif versions:
        rows = [("tenant", "speaker", "version", "base", "bytes", "published")]
        rows += [
            (v.tenant, v.speaker, v.name, v.base_fingerprint[:12])
            + (f"{v.num_bytes:,}", v.published_at)
            for v in versions
        ]
        print(tables.aligned(rows))
    else:
        print("nothing is published")
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    if errors:
        cli.fail(f"speakers that cannot be read: {len(errors)}; see verify")


def show(store, speakers):
    def one(speaker):
        current = store.resolve(_TENANT.value, speaker)
        for version in store.versions(_TENANT.value, speaker):
            mark = "*" if version == current else " "
            text = (
                f"{mark} {speaker} {version.name}  {version.published_at}  "
                f"{version.num_bytes:,} bytes  base "
                f"{version.base_fingerprint[:12]}\n    sha256 {version.sha256}"
            )
            if version.gate:
                text += f"\n    {version.gate.describe()}"
            _say(version, text, current=version == current)

    _each(speakers, one, "shown")


def rollback(store, speakers):
    def one(speaker):
        before = store.resolve(_TENANT.value, speaker)
        version = store.rollback(_TENANT.value, speaker, _NUMBER.value, _by())
        text = f"rolled back {speaker} {before.name} -> {version.name}"
        _say(version, text, before=before.name)

    _each(speakers, one, "rolled back")


def erase(store, speakers):
    if not _REASON.value:
        cli.fail("--reason is missing; the audit log keeps it")

    def one(speaker):
        count = store.erase(_TENANT.value, speaker, _REASON.value, _by())
        text = f"erased {speaker}: {count} versions"
        row = {"speaker": speaker, "num_versions": count}
        print(json.dumps(row) if _JSON.value else text)

    _each(speakers, one, "erased")


def verify(store, arguments):
    _no_arguments(arguments)
    found = left = 0
    for problem in store.verify(_REMOVE_LEFTOVERS.value):
        found += 1
        left += not problem.is_removed
        suffix = "; removed" if problem.is_removed else ""
        print(
            json.dumps(dataclasses.asdict(problem))
            if _JSON.value
            else f"{problem.path}: {problem.message}{suffix}"
        )
    if left:
        cli.fail(f"{store.root}: not whole; problems: {left}")
    if not _JSON.value:
        print(f"{store.root}: whole" + (" now" if found else ""))


def _of_run(path):
    """The Submodel files of a run."""
    import tensorflow as tf

    from lingvo_like.submodel import file as submodel_file
    from tasks.asr.training import model_directory

    folder = model_directory.ModelDirectory(path).submodels
    found = [
        posixpath.join(folder, name)
        for name in sorted(tf.io.gfile.listdir(folder))
        if name.endswith(submodel_file.SUFFIX) and not name.startswith(".")
    ]
    if not found:
        cli.fail(f"{folder}: no Submodel is there")
    return found


def _each(items, act, done):
    """Acts on each item; what is refused is said, and the others go on."""
    import tqdm

    from lingvo_like.store import store as submodel_store

    if not items:
        cli.fail("name at least one speaker; see --help")
    refused = 0
    # No bar for one, nor where nobody looks.
    disable = True if len(items) == 1 else None
    for index, item in enumerate(tqdm.tqdm(items, disable=disable)):
        try:
            act(item)
        except (
            ValueError,
            submodel_store.DamagedStoreError,
            submodel_store.UnknownSubmodelError,
        ) as error:
            refused += 1
            message = str(error).removeprefix("Submodel: ")
            tqdm.tqdm.write(f"error: {item}: {message}", file=sys.stderr)
        except OSError as error:
            cli.fail(f"{item}: {error} ({done} before: {index - refused})")
    if refused:
        cli.fail(f"{done} {len(items) - refused} of {len(items)}")


def _current(store, speaker):
    from lingvo_like.store import store as submodel_store

    try:
        return store.resolve(_TENANT.value, speaker)
    except (submodel_store.UnknownSubmodelError, FileNotFoundError):
        return None


def _say(version, text="", **more):
    import tqdm

    row = {"version": version.name, **dataclasses.asdict(version), **more}
    tqdm.tqdm.write(json.dumps(row) if _JSON.value else text)


def _by():
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run without a name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _no_arguments(arguments):
    if arguments:
        cli.fail(f"unexpected argument {arguments[0]!r}; flags start with --")


COMMANDS = {
    "publish": publish,
    "list": list_all,
    "show": show,
    "rollback": rollback,
    "erase": erase,
    "verify": verify,
}


if __name__ == "__main__":
    cli.run(main)
