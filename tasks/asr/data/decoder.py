"""Opens recordings and decodes them, with every check in one place.

FFmpeg (through PyAV) knows the formats. It believes what headers say; this
module does not. Every failure is a `rejections.UnusableError` that names the
recording.
"""

import contextlib
import dataclasses
import io
import os
import typing
from collections import abc

import av
import av.container
import av.error

from tasks.asr.data import rejections, tfrecord

# Manifests round their seconds: a recording may end this much too early.
TOLERANCE_SECONDS = 0.05
# No speech is recorded outside of these. A file that claims 1 Hz would need
# thousands of times its own size once it is resampled.
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 4_000, 768_000

# FFmpeg also knows playlists, which would read other files and the network.
_FORMATS = (
    "3gp,aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,flac,flv,g722,gsm,"
    "m4a,matroska,mov,mp3,mp4,mpeg,mpegts,ogg,tta,voc,w64,wav,webm,wv"
)
# A WAV file is understood without a look at its samples. FFmpeg would read all
# of a short one twice.
_WAV_OPTIONS = {"probesize": "32"}
# Their headers count samples, whatever the codec.
_COUNTING = ("ogg", "mov,mp4,m4a,3gp,3g2,mj2")
# Programs that write to a pipe cannot know the length, and put any large
# number there.
_UNKNOWN_BYTES = 1_000_000_000
# An Ogg page has at most 27 + 255 + 255 * 255 bytes.
_OGG_PAGE_BYTES = 65_307


@dataclasses.dataclass(frozen=True)
class Recording:
    """A recording that is open, with its header checked.

    Attributes:
        name: what errors call it.
        container: PyAV's container.
        sample_rate: in Hz.
        promised: samples a channel that the header claims; 0 where it claims
            nothing.
    """

    name: str
    container: av.container.InputContainer
    sample_rate: int
    promised: int

    @property
    def counts_samples(self) -> bool:
        """Whether the header's length is a count and not an estimate."""
        return _counts_samples(self._codec.name)

    @property
    def is_flac(self) -> bool:
        return self._codec.name == "flac"

    @property
    def header_is_plausible(self) -> bool:
        """Whether the header counts samples that the file can hold."""
        if not self.promised or not self.counts_samples:
            return False
        return self.is_flac or self._promised_bytes <= self.container.size

    def frames(self, start: int = 0) -> abc.Iterator[tuple[int, av.AudioFrame]]:
        """Decodes.

        Args:
            start: the first sample that is wanted. Earlier ones may come.

        Yields:
            the place of a frame's first sample, and the frame.

        Raises:
            UnusableError: what follows is damaged.
        """
        position = 0
        try:
            # Elsewhere FFmpeg finds a place only roughly.
            if start > self.sample_rate and self.counts_samples:
                seconds = start / self.sample_rate
                self.container.seek(int(seconds * av.time_base))
                position = None
            for frame in self._frames():
                if position is None:
                    position = round((frame.time or 0) * self.sample_rate)
                yield position, frame
                position += frame.samples
        except av.error.FFmpegError as error:
            raise rejections.UnusableError(
                "audio is damaged",
                _plain(error, "it is cut off, or not what its header says"),
                self.name,
            ) from None

    def end(self, num_decoded: int) -> int:
        """The length in samples of a recording that is decoded to its end.

        A header without a length, or with one that nobody can have meant,
        promises nothing.

        Raises:
            UnusableError: the header promised more, or nothing is there.
        """
        slack = TOLERANCE_SECONDS * self.sample_rate
        is_promise = self._promised_bytes < _UNKNOWN_BYTES
        if is_promise and self.promised > num_decoded + slack:
            raise rejections.UnusableError(
                "audio is truncated",
                f"{self.promised} samples promised, {num_decoded} there",
                self.name,
            )
        if not num_decoded:
            raise rejections.UnusableError(
                "no samples in the audio file", where=self.name
            )
        # Vorbis's last packet may hold more samples than the recording.
        if self._is_vorbis and self.promised:
            return min(self.promised, num_decoded)
        return num_decoded

    @property
    def _codec(self) -> av.AudioCodecContext:
        return self.container.streams.audio[0].codec_context

    @property
    def _is_vorbis(self) -> bool:
        return self._codec.name == "vorbis"

    @property
    def _promised_bytes(self) -> int:
        return self.promised * self._codec.format.bytes * self._codec.channels

    def _frames(self) -> abc.Iterator[av.AudioFrame]:
        packets = self.container.demux(self.container.streams.audio[0])
        if self._is_vorbis:
            # FFmpeg's own count of what to skip loses or adds samples at the
            # end. By Vorbis's specification the first packet gives none.
            self._codec.options = {"flags2": "skip_manual"}
            next(packets).decode()
        for packet in packets:
            yield from packet.decode()


@contextlib.contextmanager
def opened(
    source: str | bytes, max_bytes: int | None = None
) -> abc.Iterator[Recording]:
    """Opens a recording and checks what its header says.

    Args:
        source: a path, or the bytes of a file.
        max_bytes: of a TFRecord's record, no more than this is read.

    Raises:
        UnusableError: the file is missing or is not audio, its sample rate is
            absurd, or an Ogg file lacks its last page.
    """
    name = name_of(source)
    if isinstance(source, str) and (place := tfrecord.parse(source)):
        source = tfrecord.read(*place, max_bytes)
    options = {"format_whitelist": _FORMATS}
    with _file(name, source) as file:
        beginning = file.read(4)
        if not beginning:
            raise rejections.UnusableError(
                "audio file is empty (0 bytes)", where=name
            )
        if beginning in (b"RIFF", b"RF64"):
            options |= _WAV_OPTIONS
        if max_bytes is None and beginning == b"RIFF":
            _check_wav_end(name, file)
        if max_bytes is None and beginning == b"OggS":
            _check_ogg_end(name, file)
    try:
        container = av.open(
            # FFmpeg takes what stands before a colon for a protocol.
            f"file:{os.path.abspath(source)}"
            if isinstance(source, str)
            else io.BytesIO(source),
            "r",
            options=options,
            metadata_errors="ignore",
        )
    except av.error.FFmpegError as error:
        raise rejections.UnusableError(
            "not readable as audio",
            _plain(error, "no known format, or a damaged file"),
            name,
        ) from None
    with container:
        yield _checked(name, container)


def name_of(source: str | bytes) -> str:
    """What errors call a recording."""
    return "the recording" if isinstance(source, bytes) else source


def _checked(name: str, container: av.container.InputContainer) -> Recording:
    if not container.streams.audio:
        raise rejections.UnusableError(
            "not readable as audio", "it has no sound", name
        )
    stream = container.streams.audio[0]
    rate = stream.codec_context.sample_rate
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise rejections.UnusableError(
            "a sample rate that no speech has",
            f"{rate} Hz, must be {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz",
            name,
        )
    promised = 0
    # Elsewhere the length is an estimate, from a bit rate for example.
    is_count = _counts_samples(stream.codec_context.name)
    if stream.duration and (is_count or container.format.name in _COUNTING):
        promised = round(stream.duration * (stream.time_base or 0) * rate)
    return Recording(name, container, rate, max(0, promised))


def _counts_samples(codec: str) -> bool:
    return codec.startswith("pcm_") or codec == "flac"


def _file(name: str, source: str | bytes) -> typing.BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if "://" in source:
        # One request for each header and each recording would take hours.
        raise rejections.UnusableError(
            "not a record of a shard", "tasks.pack_shards makes them", name
        )
    try:
        # Opening a pipe would wait for its writer.
        if os.path.exists(source) and not os.path.isfile(source):
            raise rejections.UnusableError("not a file", where=name)
        return open(source, "rb")
    except FileNotFoundError:
        reason, detail = "audio file is missing", ""
    except PermissionError:
        reason, detail = "audio file may not be read (permissions)", ""
    except OSError as error:
        reason, detail = "audio file may not be read", error.strerror or ""
    raise rejections.UnusableError(reason, detail, name)


def _check_wav_end(name: str, file: typing.BinaryIO) -> None:
    """FFmpeg shortens a WAV file's promise to what is there, and is silent."""
    num_bytes = file.seek(0, os.SEEK_END)
    start, bytes_per_second = 12, 0
    while start < num_bytes:
        file.seek(start)
        chunk = file.read(20)
        length = int.from_bytes(chunk[4:8], "little")
        if chunk[:4] == b"fmt ":
            bytes_per_second = int.from_bytes(chunk[16:20], "little")
        if chunk[:4] == b"data":
            there = num_bytes - start - 8
            slack = TOLERANCE_SECONDS * bytes_per_second
            if there + slack < length < _UNKNOWN_BYTES:
                raise rejections.UnusableError(
                    "audio is truncated",
                    f"{length} bytes of samples promised, {there} there",
                    name,
                )
            return
        # Chunks start at even places.
        start += 8 + length + length % 2


def _check_ogg_end(name: str, file: typing.BinaryIO) -> None:
    """Ogg has no length in its header, but marks a stream's last page."""
    num_bytes = file.seek(0, os.SEEK_END)
    file.seek(max(0, num_bytes - _OGG_PAGE_BYTES))
    end = file.read()
    start = len(end)
    while (start := end.rfind(b"OggS", 0, start)) >= 0:
        page = end[start:]
        header_bytes = 27 + page[26] if len(page) > 26 else len(page)
        num_bytes = header_bytes + sum(page[27:header_bytes])
        # The same four letters may stand in the sound itself.
        if len(page) == num_bytes and page[5] & 4:
            return
    raise rejections.UnusableError(
        "audio is truncated", "its last page is missing", name
    )


def _plain(error: av.error.FFmpegError, invalid: str) -> str:
    """FFmpeg's reason, or `invalid` where it only says "invalid data"."""
    if isinstance(error, av.error.InvalidDataError):
        return invalid
    return error.strerror or str(error)
