"""The short-context form of a Whisper, made at the first job that needs it.

It is learned from the job's own training speech, the only speech that is always
there. Speech of a dev or test manifest is never used.
"""

import contextlib
import fcntl
import gc
import os
import time
from collections import abc

from lingvo_like import cache
from params import bases
from tasks.asr import base_loading, kept_bases
from tasks.asr.bases import context_shortening
from tasks.asr.estimates import needs, shortening
from tasks.asr.training import model_directory


def find_or_make(
    values: base_loading.Values,
    base_path: str,
    manifest: str,
    may_make: bool = True,
    check_memory: bool = True,
    training_seconds: float = 0.0,
) -> str:
    """The path of the base model that a job loads, given one.

    Where the experiment wants a short context and the Whisper was made for
    30 s, this is the kept short-context form of it, which is made if it is not
    there. Two jobs that need it at the same time make it once.

    Args:
        manifest: JSONL manifest of the job's training speech.
        may_make: whether to make what is not there.
        check_memory: refuse to make it in less memory than that takes.
        training_seconds: of the job, as it was estimated; 0 if it was not.

    Raises:
        ValueError: there is no such base, it is not for this experiment, or
            the speech is of no use.
        OSError: a file cannot be read or written.
        preemption.Stopped: a signal came; the same job goes on from there.
    """
    if not isinstance(values, bases.Whisper):
        return base_path
    if values.audio_context != "short":
        return base_loading.of_context(values, base_path)
    if kept_bases.is_short(base_path):
        return base_path
    path = kept_bases.path_of(base_path)
    if os.path.isdir(path):
        print(f"base model: {path}, the short-context form of {base_path}")
        return path
    if not may_make:
        # Of what is not there, the error says how to make one.
        return base_loading.of_context(values, base_path)
    variable = cache.FOLDER_VARIABLE
    model_directory.check_writable(
        os.path.dirname(path),
        f"the folder of kept bases ({variable} names another)",
    )
    with _locked(path):
        if not os.path.isdir(path):
            _make(
                values,
                base_path,
                manifest,
                path,
                check_memory,
                training_seconds,
            )
    return path


def _make(values, base_path, manifest, path, check_memory, training_seconds):
    print(
        f"{base_path} computes on 30 s of audio, however short the recording. "
        "A short-context form of it, which computes on the recording alone, is "
        f"made now from the speech of {manifest}, once: it is kept in {path}, "
        "and later jobs use it again.",
        flush=True,
    )
    shortening.check(
        base_path,
        [manifest],
        kept_bases.RECIPE,
        check_memory,
        training_seconds,
    )
    start = time.monotonic()
    context_shortening.make_short_base(
        base_path,
        [manifest],
        path,
        kept_bases.RECIPE,
        language=values.language,
    )
    # The job that follows needs the memory of both models, which are part of
    # cycles with their compiled functions.
    gc.collect()
    print(f"made in {needs.duration(time.monotonic() - start)}", flush=True)


@contextlib.contextmanager
def _locked(path: str) -> abc.Iterator[None]:
    """Waits until no other process of this machine makes the same form."""
    with open(f"{path}.lock", "a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(
                f"waiting for another job, which is making {path}", flush=True
            )
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
