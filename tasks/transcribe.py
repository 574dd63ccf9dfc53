"""Transcribes recordings with a speaker's Submodel.

    python -m tasks.transcribe --submodel_id=F01 a.wav b.flac
    python -m tasks.transcribe --local --export_dir=EXPORT \\
        --submodel=RUN/submodels/F01.safetensors a.wav

Asks a server of tasks.serve; with --local it needs none. Prints a line for each
file: its name, a tab and the text, or with --json an object that also names the
Submodel's version. A file that cannot be transcribed becomes one line on
stderr; the others are still transcribed, and the exit status is 1. A text that
the base model could not write to its end is printed, with a warning on stderr;
with --json it is in `status`.
"""

import json
import os
import pathlib
import sys

import tqdm
from absl import flags

from tasks import api, cli, machines

_SERVER = flags.DEFINE_string("server", "localhost:8500", "Its gRPC address.")
_SUBMODEL_ID = flags.DEFINE_string("submodel_id", "", "Whose Submodel to use.")
_BASE = flags.DEFINE_bool("base", False, "Use the base model alone.")
_MODEL_NAME = flags.DEFINE_string(
    "model_name", "submodels", "The served model."
)
_TOKEN_FILE = flags.DEFINE_string("token_file", "", "Holds the bearer token.")
_TLS = {
    name: flags.DEFINE_string(name, "", f"PEM file, {what}.")
    for name, what in (
        ("root_certificates", "turns TLS on"),
        ("certificate_chain", "for mutual TLS"),
        ("private_key", "for mutual TLS"),
    )
}
_TIMEOUT_SECONDS = flags.DEFINE_float(
    "timeout_seconds", 60.0, "Of one recording.", lower_bound=0.001
)
_SAMPLE_RATE = flags.DEFINE_integer(
    "sample_rate", 16000, "Hertz, of the served base model.", lower_bound=1000
)
_IN_FLIGHT = flags.DEFINE_integer(
    "in_flight",
    16,
    "Recordings to send at once.",
    lower_bound=1,
    upper_bound=1024,
)
_LANGUAGE = flags.DEFINE_string(
    "language",
    "",
    "What to write, a code such as es; the Submodel's own, or else the "
    "export's default, if empty.",
)
_LOCAL = flags.DEFINE_bool("local", False, "Transcribe here, with no server.")
_EXPORT_DIR = flags.DEFINE_string(
    "export_dir", "", "With --local: the folder that tasks.export wrote."
)
_SUBMODEL = flags.DEFINE_string("submodel", "", "With --local: a file.")
_STORE = flags.DEFINE_string(
    "store", "", "With --local: the store that holds --submodel_id."
)
_TENANT = flags.DEFINE_string("tenant", "default", "With --store: whose it is.")
_JSON = flags.DEFINE_bool("json", False, "Print a line of JSON for each file.")


@cli.takes_arguments
def main(argv: list[str]) -> None:
    paths = cli.arguments(argv, "recording")
    _check_flags()
    transcribed = api.transcribe(
        paths,
        submodel_id=_SUBMODEL_ID.value,
        base=_BASE.value,
        submodel=_SUBMODEL.value,
        export_dir=_EXPORT_DIR.value,
        store=_STORE.value,
        tenant=_TENANT.value,
        server=_server(),
        in_flight=_IN_FLIGHT.value,
        language=_LANGUAGE.value,
    )
    if all(map(_is_missing, paths)):
        # Else TensorFlow would be loaded only to say so.
        for path in paths:
            print(f"error: {path}: audio file is missing", file=sys.stderr)
        sys.exit(1)
    is_quiet = len(paths) < 3 or not sys.stderr.isatty()
    has_failed = False
    for each in tqdm.tqdm(
        transcribed, total=len(paths), unit="file", disable=is_quiet
    ):
        if each.transcript is None:
            has_failed = True
            tqdm.tqdm.write(f"error: {each.error}", file=sys.stderr)
            continue
        if each.transcript.is_cut:
            warning = f"warning: {each.file}: {each.transcript.status}"
            tqdm.tqdm.write(warning, file=sys.stderr)
        if _JSON.value:
            found = {"file": each.file, **vars(each.transcript)}
            tqdm.tqdm.write(json.dumps(found))
        else:
            tqdm.tqdm.write(f"{each.file}\t{each.text}")
    if has_failed:
        sys.exit(1)


def _check_flags():
    """Refuses what only flags can contradict."""
    local = [f for f in (_EXPORT_DIR, _SUBMODEL, _STORE) if f.value]
    if local and not _LOCAL.value:
        cli.fail(f"--{local[0].name} needs --local")
    if _LOCAL.value and not _EXPORT_DIR.value:
        cli.fail("--local needs --export_dir; see python -m tasks.export")


def _server():
    """The server that the flags name."""
    return machines.Server(
        _SERVER.value,
        _MODEL_NAME.value,
        token=_read(_TOKEN_FILE).decode("ascii", "replace").strip(),
        timeout_seconds=_TIMEOUT_SECONDS.value,
        sample_rate=_SAMPLE_RATE.value,
        **{name: _read(flag) for name, flag in _TLS.items()},
    )


def _is_missing(path):
    # A record of a shard is "FILE#OFFSET"; an address is refused by its reader.
    return not ("#" in path or "://" in path or os.path.lexists(path))


def _read(flag):
    path = pathlib.Path(flag.value).expanduser()
    return path.read_bytes() if flag.value else b""


if __name__ == "__main__":
    cli.run(main)
