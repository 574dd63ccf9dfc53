"""Finds files that were cut off, where FFmpeg reads what is left in silence."""

import os
import re
import typing

from tasks.asr.data import rejections

# Manifests round their seconds: a recording may end this much too early.
TOLERANCE_SECONDS = 0.05
# Programs that write to a pipe cannot know the length, and put any large
# number there.
UNKNOWN_BYTES = 1_000_000_000
# What may follow the samples of a WAV file without a name of its own.
_WAV_REST_SECONDS = 0.25
_CHUNK_ID = re.compile(rb"[ -~]{4}|$")
# Xing's header, in the first frame of an MP3 file, and its flags.
_XING = re.compile(rb"(?:Xing|Info)(.{4})", re.DOTALL)
_XING_BYTES = 256
# Programs that change the tag do not always change the count.
_XING_SLACK = 0.01
# Matroska's segment begins within its first bytes.
_SEGMENT, _MATROSKA_BYTES = b"\x18\x53\x80\x67", 1024
# An Ogg page has at most 27 + 255 + 255 * 255 bytes.
_OGG_PAGE_BYTES = 65_307


def lacks_index(file: typing.BinaryIO) -> bool:
    """Whether an MP4 or M4A file ends before its index, which is often last."""
    num_bytes = file.seek(0, os.SEEK_END)
    names, start = set(), 0
    # Boxes: 32 bits of length, a name and, where the length is 1, 64 bits of
    # it. A length of 0 reaches to the end.
    while start + 8 <= num_bytes:
        file.seek(start)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:], "big")
        length = length or num_bytes - start
        if length < 8 or (not names and header[4:8] != b"ftyp"):
            break
        if start + length <= num_bytes:
            names.add(header[4:8])
        start += length
    return b"ftyp" in names and b"moov" not in names


def check(file: typing.BinaryIO) -> None:
    """Compares a file with what its own header says of its length.

    Raises:
        UnusableError: samples are missing.
    """
    num_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    beginning = file.read(4)
    if beginning == b"RIFF":
        _check_wav(file, num_bytes)
    elif beginning == b"caff":
        _check_caf(file, num_bytes)
    elif beginning == b"OggS":
        _check_ogg(file, num_bytes)
    elif beginning == b"\x1a\x45\xdf\xa3":
        _check_matroska(file, num_bytes)
    elif beginning[:3] == b"ID3" or beginning[:1] == b"\xff":
        _check_mp3(file, num_bytes)


def _check_wav(file: typing.BinaryIO, num_bytes: int) -> None:
    """FFmpeg shortens a WAV file's promise to what is there, and is silent."""
    start, bytes_per_second = 12, 0
    while start < num_bytes:
        file.seek(start)
        chunk = file.read(20)
        _check_chunk(chunk)
        length = int.from_bytes(chunk[4:8], "little")
        if chunk[:4] == b"fmt ":
            bytes_per_second = int.from_bytes(chunk[16:20], "little")
        if chunk[:4] == b"data":
            there = num_bytes - start - 8
            slack = TOLERANCE_SECONDS * bytes_per_second
            if length < UNKNOWN_BYTES:
                _check_bytes(length, there, slack)
            # A length of 0 is that of a recorder that was killed.
            file.seek(start + 8 + length + length % 2)
            rest = there - length
            is_audio = rest > _WAV_REST_SECONDS * bytes_per_second
            if length and is_audio and not _CHUNK_ID.match(file.read(4)):
                raise rejections.UnusableError(
                    "audio is damaged",
                    f"its header counts {length} bytes of samples, and "
                    f"{there} follow",
                )
            return
        # Chunks start at even places.
        start += 8 + length + length % 2


def _check_caf(file: typing.BinaryIO, num_bytes: int) -> None:
    """FFmpeg shortens the promise of a CAF file, too, and is silent."""
    start = 8
    while start < num_bytes:
        file.seek(start)
        chunk = file.read(12)
        _check_chunk(chunk)
        length = int.from_bytes(chunk[4:], "big", signed=True)
        start += 12
        # The samples of a recorder that was killed go to the end: -1.
        if length < 0:
            return
        _check_bytes(length, num_bytes - start)
        start += length


def _check_matroska(file: typing.BinaryIO, num_bytes: int) -> None:
    """Its one segment has a length, unless it was written to a pipe."""
    file.seek(0)
    header, mark, rest = file.read(_MATROSKA_BYTES).partition(_SEGMENT)
    if not rest:
        return
    # The first byte tells by its leading zeros how many there are.
    width = 9 - rest[0].bit_length()
    unknown = (1 << 7 * width) - 1
    length = int.from_bytes(rest[:width], "big") & unknown
    if length != unknown:
        _check_bytes(length, num_bytes - len(header + mark) - width)


def _check_ogg(file: typing.BinaryIO, num_bytes: int) -> None:
    """Ogg has no length in its header, but marks a stream's last page."""
    file.seek(max(0, num_bytes - _OGG_PAGE_BYTES))
    end = file.read()
    start = len(end)
    while (start := end.rfind(b"OggS", 0, start)) >= 0:
        page = end[start:]
        if len(page) < 27:
            continue
        header_bytes = 27 + page[26]
        page_bytes = header_bytes + sum(page[27:header_bytes])
        # The same four letters may stand in the sound itself.
        if len(page) == page_bytes and page[5] & 4:
            return
    raise rejections.UnusableError(
        "audio is truncated", "its last page is missing"
    )


def _check_mp3(file: typing.BinaryIO, num_bytes: int) -> None:
    """The first frame of most MP3 files counts the bytes of all of them."""
    file.seek(0)
    tag, start = file.read(10), 0
    if tag[:3] == b"ID3":
        # Four digits of seven bits.
        start = 10 + sum(
            (digit & 0x7F) << (7 * place)
            for place, digit in enumerate(reversed(tag[6:10]))
        )
    file.seek(start)
    frame = file.read(_XING_BYTES)
    found = _XING.search(frame)
    if found is None:
        return
    flags = int.from_bytes(found[1], "big")
    # The count of frames comes first, where there is one.
    count = found.end() + 4 * (flags & 1)
    promised = int.from_bytes(frame[count : count + 4], "big")
    if flags & 2:
        _check_bytes(promised, num_bytes - start, _XING_SLACK * promised)


def _check_chunk(chunk: bytes) -> None:
    """Zeros are chunks without end to FFmpeg: eight bytes at a time."""
    if not _CHUNK_ID.match(chunk):
        raise rejections.UnusableError(
            "not readable as audio", "its header is damaged"
        )


def _check_bytes(promised: int, there: int, slack: float = 0.0) -> None:
    if there + slack < promised:
        raise rejections.UnusableError(
            "audio is truncated", f"{promised} bytes promised, {there} there"
        )
