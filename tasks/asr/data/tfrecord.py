"""Single records of TFRecord files: written in a row, read by their place.

    little-endian: uint64 length, uint32 checksum of the length's eight bytes,
    `length` bytes of data, uint32 checksum of the data

where a checksum is a CRC-32C (Castagnoli), rotated and offset ("masked"). It is
TensorFlow's own format, `tf.data.TFRecordDataset` reads the same files from
start to end. `shard-00000.tfrecord#1234` is the address of the record whose
length stands at byte 1234.
"""

import contextlib
import io
import os
import re
import struct
import typing
from collections import abc

import google_crc32c

from lingvo_like import files
from tasks.asr.data import rejections

# What a record takes besides its data.
OVERHEAD_BYTES = 16

_ADDRESS = re.compile(r"(.+\.tfrecord)#(\d{1,18})", re.DOTALL)


def address(path: str | os.PathLike, offset: int) -> str:
    """The address of the record at byte `offset` of the file `path`."""
    return f"{os.fspath(path)}#{offset}"


def parse(path: str | os.PathLike) -> tuple[str, int] | None:
    """An address's file and byte offset; None if it is an ordinary path."""
    found = _ADDRESS.fullmatch(os.fspath(path))
    return (found[1], int(found[2])) if found else None


def framed(data: bytes) -> bytes:
    """The bytes of a whole record that holds `data`."""
    length = struct.pack("<Q", len(data))
    return b"".join([length, _checksum(length), data, _checksum(data)])


def read(path: str, offset: int, max_bytes: int | None = None) -> bytes:
    """Reads the record that begins at byte `offset`.

    Args:
        path: a local file, or an address that `tf.io.gfile` opens.
        max_bytes: of a longer record only that many bytes are read, and its
            data's checksum is not looked at.

    Raises:
        UnusableError: the file is missing, unreadable or cut short; no record
            begins there; or a checksum is wrong.
    """
    where = address(path, offset)
    with _opened(path, where) as (file, file_bytes):
        if offset + OVERHEAD_BYTES > file_bytes:
            raise rejections.UnusableError(
                "audio is truncated",
                f"a record at byte {offset} promised, {file_bytes} bytes there",
                where,
            )
        file.seek(offset)
        length, check = file.read(8), file.read(4)
        if _checksum(length) != check:
            raise rejections.UnusableError(
                "audio is damaged", f"no record begins at byte {offset}", where
            )
        (num_bytes,) = struct.unpack("<Q", length)
        there = file_bytes - offset - OVERHEAD_BYTES
        if num_bytes > there:
            raise rejections.UnusableError(
                "audio is truncated",
                f"{num_bytes} bytes of the record promised, {there} there",
                where,
            )
        if max_bytes is not None and max_bytes < num_bytes:
            return file.read(max_bytes)
        data, check = file.read(num_bytes), file.read(4)
    if _checksum(data) != check:
        raise rejections.UnusableError(
            "audio is damaged",
            f"wrong checksum of the record at {offset}",
            where,
        )
    return data


def _checksum(data: bytes) -> bytes:
    value = google_crc32c.value(data)
    rotated = (value >> 15) | (value << 17)
    return struct.pack("<I", (rotated + 0xA282EAD8) & 0xFFFFFFFF)


@contextlib.contextmanager
def _opened(path: str, where: str) -> abc.Iterator[tuple[typing.Any, int]]:
    """A file and its length in bytes; every failure is an `UnusableError`."""
    if not files.is_local(path):
        # Loads TensorFlow, which takes seconds that local files need not.
        import tensorflow as tf

        failures, opener = (OSError, tf.errors.OpError), tf.io.gfile.GFile
        missing = tf.errors.NotFoundError
    else:
        failures, opener, missing = OSError, open, FileNotFoundError
    try:
        with opener(path, "rb") as file:
            if isinstance(file, io.BufferedReader):
                yield file, os.fstat(file.fileno()).st_size
            else:
                yield file, file.size()
    except missing:
        raise rejections.UnusableError(
            "audio file is missing", "no such shard", where
        ) from None
    except failures as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise rejections.UnusableError(
            "audio file may not be read", reason, where
        ) from None
