"""Reads the files that the simulator wrote."""

import hashlib
import json
import pathlib


def digests(path):
    return {
        file.relative_to(path).as_posix(): hashlib.sha256(
            file.read_bytes()
        ).hexdigest()
        for file in sorted(pathlib.Path(path).rglob("*"))
        if file.is_file()
    }


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]
