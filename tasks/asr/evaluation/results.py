"""The files that an evaluation leaves behind.

results.json      the figures
hypotheses.jsonl  a line for each utterance: what was said and recognised
left_out.txt      what was not evaluated, and why
report.html       one self-contained page
"""

import dataclasses
import json
import posixpath
from collections import abc
from typing import Any

import tensorflow as tf

from lingvo_like import files, json_values
from lingvo_like.space import file as space_file
from tasks.asr.data import manifest, rejections
from tasks.asr.evaluation import scoring
from tasks.asr.evaluation.report import page


def other_manifest(directory: str, test_manifest: str) -> str:
    """The manifest of the results in a folder; empty if none or the same."""
    try:
        text = files.read(posixpath.join(directory, "results.json")).decode()
        earlier = json_values.strict_json(text)["details"]["test_manifest"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    named, here = (
        list(map(files.absolute, manifest.paths(each)))
        for each in (str(earlier), test_manifest)
    )
    return "" if named == here else str(earlier)


def write(
    directory: str,
    summary: dict[str, Any],
    records: abc.Iterable[scoring.Transcribed],
    history: list[dict[str, Any]],
    details: dict[str, Any],
    left_out: rejections.Rejections,
    space: space_file.Space | None = None,
) -> None:
    """Writes all files into a folder, `results.json` and the page last."""

    def write_file(name: str, text: str) -> None:
        files.write_atomically(posixpath.join(directory, name), text.encode())

    tf.io.gfile.makedirs(directory)
    lines = (
        json.dumps(dataclasses.asdict(record), ensure_ascii=False) + "\n"
        for record in records
    )
    write_file("hypotheses.jsonl", "".join(lines))
    write_file("left_out.txt", left_out.describe(examples=len(left_out)))
    details = {**details, "left_out": len(left_out)}
    results = {**summary, "details": details}
    write_file(
        "results.json", json.dumps(results, indent=2, allow_nan=False) + "\n"
    )
    path = posixpath.join(directory, "report.html")
    page.write(path, summary, history, details, space)
