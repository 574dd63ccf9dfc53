"""Packages of the real ones' layouts, made up, quirks included."""

import gzip
import io
import itertools
import shutil
import subprocess

import av
import numpy as np
import pytest
import soundfile

from tasks.asr.data import rejections

# Pitches keep made-up recordings apart.
_HERTZ = itertools.cycle(range(200, 3000, 7))


def tone(seconds, sample_rate=16000):
    """`[samples]` int16 of a pitch that no other recording has."""
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    wave = np.sin(2 * np.pi * next(_HERTZ) * time)
    return (8000 * wave).astype(np.int16)


def g722(seconds):
    """The bytes of a raw G.722 file."""
    context = av.CodecContext.create("g722", "w")
    context.sample_rate, context.layout, context.format = 16000, "mono", "s16"
    samples, packets = tone(seconds), []
    for start in range(0, len(samples), 320):
        frame = av.AudioFrame.from_ndarray(
            samples[None, start : start + 320], format="s16", layout="mono"
        )
        frame.sample_rate = 16000
        packets += context.encode(frame)
    return b"".join(map(bytes, [*packets, *context.encode(None)]))


def gsm(seconds):
    """The bytes of a raw GSM file."""
    data = io.BytesIO()
    soundfile.write(data, tone(seconds, 8000), 8000, "GSM610", format="RAW")
    return data.getvalue()


def ogg(seconds, codec="VORBIS"):
    """The bytes of an Ogg file in stereo; the other codec is OPUS."""
    rate = 48000
    samples, data = tone(seconds, rate), io.BytesIO()
    channels = np.stack([samples] * 2, 1)
    soundfile.write(data, channels, rate, codec, format="OGG")
    return data.getvalue()


def put(root, place, content):
    path = root / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        content if isinstance(content, bytes) else content.encode()
    )


def copyrighted(root, text="License: CC-BY-SA-3.0\n"):
    put(root, f"usr/share/doc/{root.name}/copyright", text)


def build(root, folder):
    """Makes a .deb in `folder` of the content of `root`."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb, of Debian and Ubuntu")
    folder.mkdir(exist_ok=True)
    put(
        root,
        "DEBIAN/control",
        f"Package: {root.name}\nVersion: 1\nArchitecture: all\n"
        "Maintainer: nobody <nobody@example.org>\nDescription: made up\n",
    )
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-b", root, folder],
        check=True,
        capture_output=True,
    )


def texts(root, language, lines):
    place = f"usr/share/doc/{root.name}/core-sounds-{language}.txt.gz"
    put(root, place, gzip.compress(lines.encode()))
    copyrighted(root)


def outcomes(pairs):
    """The texts by utterance, and the reasons where nobody can tell one."""
    said, refused = {}, {}
    for each in pairs:
        if isinstance(each.text, rejections.UnusableError):
            refused[each.utt_id] = each.text.reason
        else:
            said[each.utt_id] = each.text
    return said, refused
