"""Opens recordings and decodes them, with every check in one place.

FFmpeg (through PyAV) knows the formats. It believes what headers say; this
module does not. Every failure is a `rejections.UnusableError` that names the
recording.
"""

import contextlib
import io
import os
import typing
from collections import abc

import av
import av.container
import av.error

from lingvo_like import files
from tasks.asr.data import rejections, tfrecord, truncation

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
# Their headers count samples of PCM and FLAC exactly; FFmpeg seeks to any.
_EXACT = ("wav", "w64", "aiff", "caf", "au", "flac")
# Their headers give a length, whatever the codec.
_COUNTING = ("ogg", "mov,mp4,m4a,3gp,3g2,mj2")
# FLAC takes less room than its samples, and not a hundredth of it for speech.
_FLAC_RATIO = 100
_FLAC_HEADER_BYTES = 8192
# Encoders count their own delay, of some frames, in different ways.
_CODEC_SLACK_SECONDS = 0.25


class Recording:
    """A recording that is open, with its header checked.

    Attributes:
        sample_rate: in Hz.
        promised: samples a channel that the header claims; 0 where it claims
            nothing.
        is_flac: whether it is FLAC.

    Raises:
        UnusableError: it has no sound, or its sample rate is absurd.
    """

    def __init__(self, container: av.container.InputContainer) -> None:
        if not container.streams.audio:
            raise rejections.UnusableError(
                "not readable as audio", "it has no sound"
            )
        self._container = container
        self._stream = container.streams.audio[0]
        if self._stream.codec_context is None:
            raise rejections.UnusableError(
                "not readable as audio", "its codec is not known"
            )
        self._codec = self._stream.codec_context
        self._is_vorbis = self._codec.name == "vorbis"
        self.is_flac = self._codec.name == "flac"
        self._counts_samples = container.format.name in _EXACT and (
            self.is_flac or self._codec.name.startswith("pcm_")
        )
        self.sample_rate = self._codec.sample_rate
        if not self.sample_rate:
            raise rejections.UnusableError(
                "not readable as audio", "no known format, or a damaged file"
            )
        if not MIN_SAMPLE_RATE <= self.sample_rate <= MAX_SAMPLE_RATE:
            raise rejections.UnusableError(
                "a sample rate that no speech has",
                f"{self.sample_rate} Hz, must be {MIN_SAMPLE_RATE} to "
                f"{MAX_SAMPLE_RATE} Hz",
            )
        # Elsewhere the length is an estimate, from a bit rate for example.
        length = 0
        if self._counts_samples or container.format.name in _COUNTING:
            length = self._stream.duration or 0
            length *= self._stream.time_base or 0
        self.promised = max(0, round(length * self.sample_rate))

    @property
    def header_is_plausible(self) -> bool:
        """Whether the header counts samples that the file can hold."""
        if not self.promised or not self._counts_samples:
            return False
        size, promised = self._container.size, self._promised_bytes
        if self.is_flac:
            least = size - _FLAC_HEADER_BYTES
            return least <= promised <= _FLAC_RATIO * size
        return promised <= size

    @property
    def header_seconds(self) -> float:
        """The length that the header gives; 0 if none or none to believe."""
        if self._counts_samples and not self.header_is_plausible:
            return 0.0
        return self.promised / self.sample_rate

    def frames(self, start: int = 0) -> abc.Iterator[tuple[int, av.AudioFrame]]:
        """The frames from sample `start` on, or from an earlier one.

        Yields:
            the place of a frame's first sample, and the frame.

        Raises:
            UnusableError: what follows is damaged.
        """
        position = 0
        try:
            # Elsewhere FFmpeg finds a place only roughly.
            if start > self.sample_rate and self._counts_samples:
                seconds = start / self.sample_rate
                self._container.seek(int(seconds * av.time_base))
                position = None
            for frame in self._frames():
                if position is None:
                    position = round((frame.time or 0) * self.sample_rate)
                if frame.sample_rate != self.sample_rate:
                    raise rejections.UnusableError(
                        "audio is damaged",
                        f"{self.sample_rate} Hz in its header, and "
                        f"{frame.sample_rate} Hz in its sound",
                    )
                yield position, frame
                position += frame.samples
        except av.error.FFmpegError as error:
            raise rejections.UnusableError(
                "audio is damaged",
                _plain(error, "it is cut off, or not what its header says"),
            ) from None

    def end(self, num_decoded: int) -> int:
        """The length in samples of a recording that is decoded to its end.

        A header without a length, or with one that nobody can have meant,
        promises nothing.

        Raises:
            UnusableError: the header promised more, or nothing is there.
        """
        slack = truncation.TOLERANCE_SECONDS
        if not self._counts_samples:
            slack = _CODEC_SLACK_SECONDS
        slack *= self.sample_rate
        is_promise = self._promised_bytes < truncation.UNKNOWN_BYTES
        if is_promise and self.promised > num_decoded + slack:
            raise rejections.UnusableError(
                "audio is truncated",
                f"{self.promised} samples promised, {num_decoded} there",
            )
        if not num_decoded:
            raise rejections.UnusableError("no samples in the audio file")
        # Vorbis's last packet may hold more samples than the recording.
        if self._is_vorbis and self.promised:
            return min(self.promised, num_decoded)
        return num_decoded

    @property
    def _promised_bytes(self) -> int:
        return self.promised * self._codec.format.bytes * self._codec.channels

    def _frames(self) -> abc.Iterator[av.AudioFrame]:
        packets = self._container.demux(self._stream)
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

    Errors that are raised while it is open get its name.

    Args:
        source: a path, or the bytes of a file.
        max_bytes: of a TFRecord's record, no more than this is read.

    Raises:
        UnusableError: the file is missing or is not audio, its sample rate is
            absurd, or an Ogg file lacks its last page.
    """
    try:
        with _container(source, max_bytes) as container:
            yield Recording(container)
    except rejections.UnusableError as error:
        raise rejections.UnusableError(
            error.reason, error.detail, name_of(source)
        ) from None


def name_of(source: str | bytes) -> str:
    """The name of a recording in errors."""
    return "the recording" if isinstance(source, bytes) else source


def _container(
    source: str | bytes, max_bytes: int | None
) -> av.container.InputContainer:
    if isinstance(source, str) and (place := tfrecord.parse(source)):
        source = tfrecord.read(*place, max_bytes)
    options = {"format_whitelist": _FORMATS}
    with _file(source) as file:
        beginning = file.read(4)
        if not beginning:
            raise rejections.UnusableError("audio file is empty (0 bytes)")
        if beginning in (b"RIFF", b"RF64"):
            options |= _WAV_OPTIONS
        if beginning == b"RIFX":
            # FFmpeg would take its samples for little-endian ones: noise.
            raise rejections.UnusableError(
                "not readable as audio", "big-endian WAV (RIFX)"
            )
        if max_bytes is None:
            truncation.check(file)
    if isinstance(source, bytes):
        file = io.BytesIO(source)
    else:
        # FFmpeg takes what stands before a colon for a protocol.
        file = f"file:{os.path.abspath(source)}"
    try:
        return av.open(file, "r", options=options, metadata_errors="ignore")
    except av.error.FFmpegError as error:
        detail = _plain(error, "no known format, or a damaged file")
        with _file(source) as beginning:
            if truncation.lacks_index(beginning):
                detail = (
                    "the recording was cut off: its index is missing; copy it "
                    "again"
                )
        raise rejections.UnusableError(
            "not readable as audio", detail
        ) from None


def _file(source: str | bytes) -> typing.BinaryIO:
    if isinstance(source, bytes):
        return io.BytesIO(source)
    if not files.is_local(source):
        # One request for each header and each recording would take hours.
        raise rejections.UnusableError(
            "not a record of a shard", "tasks.pack_shards makes them"
        )
    try:
        # Opening a pipe would wait for its writer.
        if os.path.exists(source) and not os.path.isfile(source):
            raise rejections.UnusableError("not a file")
        return open(source, "rb")
    except FileNotFoundError:
        reason, detail = "audio file is missing", ""
    except PermissionError:
        reason, detail = "audio file may not be read (permissions)", ""
    except OSError as error:
        reason, detail = "audio file may not be read", error.strerror or ""
    raise rejections.UnusableError(reason, detail)


def _plain(error: av.error.FFmpegError, invalid: str) -> str:
    """FFmpeg's reason, or `invalid` where it only says "invalid data"."""
    if isinstance(error, av.error.InvalidDataError):
        return invalid
    return error.strerror or str(error)
