"""A stand-in for gcloud: it records calls, and answers by a test's rules."""

import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).parents[3]
SCRIPT = ROOT / "tpu" / "launch" / "launch.sh"
WORKER = ROOT / "tpu" / "launch" / "worker.sh"
NAMED = ("--name=ann", "--zone=us-west4-a")

# In its log, arguments end with NUL and calls with RS. `rules` is shell text,
# the inside of a `case` on the call. Without a rule, a TPU does not exist and
# everything else succeeds. An ssh runs its command in the home of each fake
# worker, one after the other.
GCLOUD = r"""#!/usr/bin/env bash
here=$(dirname "$0")
printf '%s\0' "$@" >>"$here/log"
printf '\036' >>"$here/log"
. "$here/rules"
case "$*" in
*describe*)
    echo "ERROR: (gcloud) NOT_FOUND: Resource 'ann' was not found" >&2
    exit 1 ;;
*" ssh "*)
    command=${!#}
    for worker in "$here"/workers/*/; do
        [ -d "$worker" ] || continue
        HOME=${worker%/} PATH=$here/on_worker:$PATH \
            bash -c "${command#--command=}" || exit
    done ;;
*" scp "*)
    for worker in "$here"/workers/*/; do
        [ ! -d "$worker" ] || cp "$5" "$worker/${6#*:}"
    done ;;
esac
"""

# The metadata server of a worker: its answers are files in the worker's home;
# by default the worker is the only one of its TPU.
CURL = r"""#!/usr/bin/env bash
url=${!#}
[[ " $* " == *" Metadata-Flavor: Google "* ]] || exit 22
[[ $url == */computeMetadata/v1/instance/attributes/* ]] || exit 22
name=${url##*/}
case $name in
worker-network-endpoints) answer=unknown:unknown:10.0.0.2 ;;
esac
cat "$HOME/$name" 2>/dev/null || printf '%s' "$answer"
"""


# Packs two files in place of the whole code, which takes long.
TAR = r"""#!/usr/bin/env bash
for tar in /usr/bin/tar /bin/tar; do [ -x "$tar" ] && break; done
[ "$1" != -C ] || set -- -C "$2" -czf "$4" LICENSE tasks/train.py
exec "$tar" "$@"
"""


class Cloud:
    """A folder with the stand-in, its answers and its workers."""

    def __init__(self, folder):
        self.folder = folder
        self.log = folder / "log"
        (folder / "on_worker").mkdir()
        self.executable("gcloud", GCLOUD)
        self.executable("on_worker/curl", CURL)
        self.executable("tar", TAR)
        self.answer()

    def executable(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)

    def pack_all(self):
        """From now on, `install` packs the whole code."""
        (self.folder / "tar").unlink()

    def answer(self, **rules):
        """Rules by a piece of the call: shell text that answers it."""
        cases = "".join(
            f'*"{piece}"*)\n{text}\n;;\n' for piece, text in rules.items()
        )
        call = '"${*%%--command=*}"'
        (self.folder / "rules").write_text(f"case {call} in\n{cases}esac\n")

    def is_there(self, state, **rules):
        """The TPU is in the queue in this state; more rules go before."""
        self.answer(
            **rules, **{"queued-resources describe": f"echo {state}; exit"}
        )

    def worker(self, name, installed=True):
        """A worker's home."""
        home = self.folder / "workers" / name
        (home / "submodels").mkdir(parents=True)
        if installed:
            (home / "submodels-installed").touch()
        return home

    def environment(self):
        kept = {k: v for k, v in os.environ.items() if k[:4] != "TPU_"}
        return {**kept, "PATH": f"{self.folder}:{os.environ['PATH']}"}

    def launch(self, step, *flags, command=(), named=NAMED, env=None):
        """Runs a step; returns the finished process."""
        words = [SCRIPT, step, *named, *flags]
        return subprocess.run(
            [*words, "--", *command] if command else words,
            env={**self.environment(), **(env or {})},
            capture_output=True,
            text=True,
            timeout=600,
        )

    def calls(self):
        """The calls so far, as lists of arguments, and forgets them."""
        if not self.log.exists():
            return []
        text = self.log.read_text()
        self.log.unlink()
        return [
            [plain(word) for word in call.split("\0")[:-1]]
            for call in text.split("\036")[:-1]
        ]


def plain(word):
    """A word without what differs from run to run, and worker.sh's text."""
    word = word.replace(WORKER.read_text().rstrip("\n"), "")
    word = re.sub(r"/\S*/submodels\.tar\.gz", "CODE", word)
    return re.sub(r"\.launch-\d+-\d+", "PROBE", word)


def ssh(call):
    """The arguments that have every worker call a function."""
    return [
        *("compute", "tpus", "tpu-vm", "ssh", "ann", "--zone=us-west4-a"),
        *("--worker=all", f"--command=\n{call}"),
    ]


def describe(kind="queued-resources"):
    """The arguments that ask whether the TPU is there."""
    field = "state.state" if kind == "queued-resources" else "state"
    return [
        *("compute", "tpus", kind, "describe", "ann", "--zone=us-west4-a"),
        f"--format=value({field})",
    ]
