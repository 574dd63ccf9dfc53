"""Single records of TFRecord files: written in a row, read by their place.

    little-endian: uint64 length, uint32 checksum of the length's eight bytes,
    `length` bytes of data, uint32 checksum of the data

where a checksum is a CRC-32C (Castagnoli), rotated and offset ("masked"). It is
TensorFlow's own format, `tf.data.TFRecordDataset` reads the same files from
start to end. `shard-00000.tfrecord#1234` is the address of the record whose
length stands at byte 1234.
"""

import contextlib
import os
import re
import struct

import google_crc32c

# What a record takes besides its data.
OVERHEAD_BYTES = 16

_ADDRESS = re.compile(r"(.+\.tfrecord)#(\d{1,18})", re.DOTALL)


class RecordError(ValueError):
    """A record that cannot be read.

    Attributes:
        reason: what is wrong in general, the same words for the same fault.
        detail: what is wrong with this very record.
    """

    def __init__(self, reason, detail):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def address(path, offset):
    """The address of the record at byte `offset` of the file `path`."""
    return f"{os.fspath(path)}#{offset}"


def parse(text):
    """Takes an address apart.

    Args:
        text: any path.

    Returns:
        the file's path and the byte offset; None if it is no such address.
    """
    found = _ADDRESS.fullmatch(os.fspath(text))
    return (found[1], int(found[2])) if found else None


def framed(data):
    """The bytes of a whole record that holds `data`."""
    length = struct.pack("<Q", len(data))
    return b"".join([length, _checksum(length), data, _checksum(data)])


def read(path, offset, max_bytes=None):
    """Reads the record at one place.

    Args:
        path: a local file, or an address that `tf.io.gfile` opens.
        offset: int, the byte at which the record begins.
        max_bytes: int; of a longer record only that many bytes are read, and
            its data's checksum is not looked at.

    Returns:
        bytes.

    Raises:
        RecordError: the file is missing, unreadable or cut short; no record
            begins there; or a checksum is wrong.
    """
    with _opened(path) as (file, file_bytes):
        if offset + OVERHEAD_BYTES > file_bytes:
            raise RecordError(
                "audio is truncated",
                f"a record at byte {offset} promised, {file_bytes} bytes there",
            )
        file.seek(offset)
        length, check = file.read(8), file.read(4)
        if _checksum(length) != check:
            raise RecordError(
                "audio is damaged", f"no record begins at byte {offset}"
            )
        (num_bytes,) = struct.unpack("<Q", length)
        there = file_bytes - offset - OVERHEAD_BYTES
        if num_bytes > there:
            raise RecordError(
                "audio is truncated",
                f"{num_bytes} bytes of the record promised, {there} there",
            )
        if max_bytes is not None and max_bytes < num_bytes:
            return file.read(max_bytes)
        data, check = file.read(num_bytes), file.read(4)
    if _checksum(data) != check:
        raise RecordError(
            "audio is damaged", f"wrong checksum of the record at {offset}"
        )
    return data


def _checksum(data):
    value = google_crc32c.value(data)
    rotated = (value >> 15) | (value << 17)
    return struct.pack("<I", (rotated + 0xA282EAD8) & 0xFFFFFFFF)


@contextlib.contextmanager
def _opened(path):
    """A file and its length in bytes; whatever fails is a RecordError."""
    if "://" in path:
        # Loads TensorFlow, which takes seconds that local files need not.
        import tensorflow as tf

        failures, opener = (OSError, tf.errors.OpError), tf.io.gfile.GFile
        missing = tf.errors.NotFoundError
    else:
        failures, opener, missing = OSError, open, FileNotFoundError
    try:
        with opener(path, "rb") as file:
            if "://" in path:
                yield file, file.size()
            else:
                yield file, os.fstat(file.fileno()).st_size
    except missing:
        raise RecordError("audio file is missing", "no such shard") from None
    except failures as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RecordError("audio file may not be read", reason) from None
