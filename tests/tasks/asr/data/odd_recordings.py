"""Recordings as phones, browsers, recorders and pipes write them, and others.

`make` writes one; `GOOD` are 2 s of one sound, which is quiet first, so that a
length taken from the start's bit rate misleads. `BAD` have the reason that a
reader gives, and `SILENT` those that only the samples give away.
"""

import functools
import pathlib
import struct

import av
import numpy as np
import soundfile

SECONDS = 2.0


@functools.cache
def sound(sample_rate):
    time = np.arange(int(sample_rate * SECONDS)) / sample_rate
    loud = np.where(time < 1, 0.02, 0.5)
    return (loud * np.sin(2 * np.pi * 220 * time)).astype(np.float32)


def _av(
    codec, sample_rate, container=None, samples=sound, video=False, **options
):
    def write(path):
        with av.open(path, "w", format=container, options=options) as out:
            # Every stream before the first packet.
            picture = _add_picture(out) if video else None
            if codec:
                stream = out.add_stream(codec, rate=sample_rate, layout="mono")
            if picture:
                for _ in range(int(5 * SECONDS)):
                    image = np.zeros((32, 32, 3), np.uint8)
                    out.mux(picture.encode(av.VideoFrame.from_ndarray(image)))
                out.mux(picture.encode(None))
            if codec:
                _encode(out, stream, samples(sample_rate), sample_rate)

    return write


def _add_picture(out):
    picture = out.add_stream("mpeg4", rate=5)
    picture.width = picture.height = 32
    picture.pix_fmt = "yuv420p"
    return picture


def _encode(out, stream, samples, sample_rate):
    resampler = av.AudioResampler(stream.format.name, "mono", sample_rate)
    for start in range(0, len(samples), 1024):
        part = samples[None, start : start + 1024]
        frame = av.AudioFrame.from_ndarray(part, "flt", "mono")
        frame.sample_rate, frame.pts = sample_rate, start
        for each in resampler.resample(frame):
            out.mux(stream.encode(each))
    out.mux(stream.encode(None))


def wav(data_bytes, header_rate=16000):
    samples = (sound(16000) * 32767).astype("<i2").tobytes()
    if data_bytes is None:
        data_bytes = len(samples)

    def write(path):
        header = b"RIFF" + struct.pack("<I", (data_bytes + 36) & 0xFFFFFFFF)
        form = (16, 1, 1, header_rate, (2 * header_rate) & 0xFFFFFFFF, 2, 16)
        header += b"WAVEfmt " + struct.pack("<IHHIIHH", *form)
        header += b"data" + struct.pack("<I", data_bytes)
        pathlib.Path(path).write_bytes(header + samples)

    return write


def _floats(change, sample_rate=16000, **settings):
    def write(path):
        settings.setdefault("subtype", "FLOAT")
        samples = change(sound(sample_rate))
        soundfile.write(path, samples, sample_rate, **settings)

    return write


def _flac(num_samples):
    def write(path):
        soundfile.write(path, sound(16000), 16000)
        data = bytearray(pathlib.Path(path).read_bytes())
        # The 36 bits that count the samples.
        data[21] = data[21] & 0xF0 | num_samples >> 32
        data[22:26] = (num_samples & 0xFFFFFFFF).to_bytes(4, "big")
        pathlib.Path(path).write_bytes(data)

    return write


def _cut(name, write, share=0.6):
    def cut(path):
        whole = str(pathlib.Path(path).with_name(f"whole-{name}"))
        write(whole)
        data = pathlib.Path(whole).read_bytes()
        pathlib.Path(path).write_bytes(data[: int(len(data) * share)])

    return cut


def _joined(*writes):
    def write(path):
        data = b""
        for each in writes:
            each(path)
            data += pathlib.Path(path).read_bytes()
        pathlib.Path(path).write_bytes(data)

    return write


def _text(content):
    return lambda path: pathlib.Path(path).write_bytes(content)


def _zeros(sample_rate):
    return np.zeros_like(sound(sample_rate))


_REAL_BYTES = int(2 * 16000 * SECONDS)
_OPUS = _av("libopus", 48000, "ogg")
_XING = _av("libmp3lame", 44100)
_CAF = _av("pcm_s16le", 16000)
GOOD = {
    "phone.m4a": _av("aac", 44100),
    "fragments.m4a": _av("aac", 44100, movflags="frag_keyframe+empty_moov"),
    "lossless.m4a": _av("alac", 44100, "ipod"),
    "browser.webm": _av("libopus", 48000),
    "live.webm": _av("libopus", 48000, "webm", live="1"),
    "voice_note.opus": _OPUS,
    "a.aac": _av("aac", 44100, "adts"),
    "a.amr": _av("libopencore_amrnb", 8000),
    "a.3gp": _av("libopencore_amrnb", 8000),
    "a.avi": _av("pcm_s16le", 16000),
    "film.mp4": _av("aac", 44100, video=True),
    "film.mov": _av("aac", 44100, video=True),
    "film.mkv": _av("pcm_s16le", 44100, "matroska", video=True),
    "a.caf": _CAF,
    "no_xing.mp3": _av("libmp3lame", 44100, write_xing="0"),
    "xing.mp3": _XING,
    "piped.flac": _flac(0),
    "counts_too_many.flac": _flac(2**36 - 1),
    "counts_too_few.flac": _flac(100),
    "sox_pipe.wav": wav(0x7FFFF000),
    "two_billion.wav": wav(2_000_000_000),
    "streamed.wav": wav(0xFFFFFFFF),
    "ffmpeg_pipe.wav": wav(0xFFFFFFFF - 36),
    "killed_recorder.wav": wav(0),
    "sixteen_more.wav": wav(_REAL_BYTES + 16),
    "odd.wav": wav(_REAL_BYTES - 1),
    "asterisk.wav": _floats(lambda x: x, 8000, subtype="GSM610"),
    "bytes.wav": _floats(lambda x: x, subtype="PCM_U8"),
    "rf64.wav": _floats(lambda x: x, format="RF64"),
    "eight_channels.wav": _floats(lambda x: np.stack([x] * 8, 1)),
    "studio.wav": _floats(lambda x: x, 192000),
}
# What a reader of headers sees, import among them.
BAD = {
    "cut.opus": (_cut("a.opus", _OPUS), "truncated: its last page"),
    "cut.webm": (
        _cut("a.webm", _av("libopus", 48000), 0.3),
        "truncated: .* promised",
    ),
    "cut.mp3": (_cut("a.mp3", _XING), "truncated: .* bytes promised"),
    "cut.wav": (_cut("a.wav", wav(None)), "truncated: .* promised"),
    "cut.flac": (_cut("a.flac", _flac(0)), "audio is damaged"),
    "cut.caf": (_cut("a.caf", _CAF), "truncated: .* bytes promised"),
    "cut.mkv": (
        _cut("a.mkv", _av("aac", 44100, "matroska", video=True), 0.95),
        "truncated: .* bytes promised",
    ),
    "cut.m4a": (
        _cut("a.m4a", _av("aac", 44100)),
        "not readable as audio: the recording was cut off: its index is mis",
    ),
    "cut_index.mp4": (
        _cut("c.mp4", _av("aac", 44100, video=True), 0.98),
        "cut off: its index is missing; copy it again",
    ),
    "cut_late.m4a": (
        _cut("b.m4a", _av("aac", 44100, movflags="faststart")),
        "audio is damaged",
    ),
    "too_few_counted.wav": (wav(1000), "damaged: its header counts 1000"),
    "last_half_second.wav": (wav(_REAL_BYTES - 16000), "header counts 48000"),
    "big_endian.wav": (
        _floats(lambda x: x, subtype="PCM_16", format="WAV", endian="BIG"),
        "big-endian WAV",
    ),
    "prepared.wav": (
        _text(b"RIFF\0\0\0\0WAVE" + bytes(10_000)),
        "its header is damaged",
    ),
    "noise.mp3": (_text(bytes(100_000)), "not readable as audio"),
    "one_hertz.wav": (wav(None, 1), "sample rate that no speech has: 1 Hz"),
    "gigahertz.wav": (wav(None, 2**31 - 1), "sample rate that no speech has"),
    "mute_film.mp4": (_av(None, 0, video=True), "it has no sound"),
    "not_audio.mp3": (_text(b"This is a text file.\n"), "not readable as"),
    "page.wav": (_text(b"<html>404 not found</html>"), "not readable as"),
    "list.mp3": (_text(b"#EXTM3U\n#EXTINF:1,\n/etc/x\n"), "not readable as"),
    "list.wav": (_text(b"ffconcat version 1.0\nfile 'a'\n"), "not readable as"),
    "two_rates.aac": (
        _joined(_av("aac", 22050, "adts"), _av("aac", 44100, "adts")),
        "22050 Hz in its header, and 44100 Hz",
    ),
    "empty.m4a": (_text(b""), "empty"),
}
# What only the samples tell: import takes it, nothing later does.
UNHEARD = {
    "integers.wav": (_floats(lambda x: x * 32768), "far outside of"),
    "small_integers.wav": (_floats(lambda x: x * 128), "far outside of"),
    "nan.wav": (_floats(lambda x: np.append(x, np.nan)), "not numbers"),
    "silence.wav": (_floats(lambda x: x * 0), "silence from start to end"),
    "offset.wav": (_floats(lambda x: x * 0 + 0.3), "silence from start"),
    "silence.m4a": (_av("aac", 44100, samples=_zeros), "silence from start"),
    "silence.opus": (
        _av("libopus", 48000, "ogg", samples=_zeros),
        "silence from start",
    ),
    "one_sample.wav": (_floats(lambda x: x[-1:] * 0 + 0.1), "too short"),
    "nine_ms.wav": (_floats(lambda x: x[-144:]), "too short to hear"),
}
