"""Recordings of a real human voice, from packages of the Debian archive.

Asterisk's core sounds: telephone prompts read by Allison Smith, 16 kHz G.722,
licensed CC-BY-SA-3.0. They are fetched when wanted and never redistributed
here; what is made of them stays under that licence.
"""

import contextlib
import gzip
import io
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
from collections import abc

import numpy as np
import soundfile
import tqdm

from lingvo_like import files
from tasks.asr.data import audio, corpus_folder, manifest, rejections, splits

AUDIO_PACKAGE = "asterisk-core-sounds-en-g722"
TEXT_PACKAGE = "asterisk-core-sounds-en"
SPEAKER = "asterisk-allison"
METADATA = "recordings.json"
LICENSE = (
    "Asterisk core sounds in English, recorded by Allison Smith, copyright "
    "2003-2010; licence CC-BY-SA-3.0 "
    "(https://creativecommons.org/licenses/by-sa/3.0/)."
)
SAMPLE_RATE = 16000
_SHORTEST_SECONDS = 0.25
_DOWNLOAD_SECONDS = 900
# Words between brackets describe a sound that nobody speaks.
_DESCRIPTION = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>")
_SPOKEN_SYMBOLS = {"*": "star", "#": "pound"}


def fetch(
    output_dir: str | os.PathLike,
    fractions: tuple[float, ...] = (0.7, 0.1, 0.2),
    seed: int = 0,
    packages_dir: str | None = None,
) -> tuple[dict, rejections.Rejections, bool]:
    """Writes the recordings as FLAC with manifests into a new folder.

    Args:
        output_dir: local folder, absent or empty, or made by the very same
            request, which is then left as it is.
        fractions, seed: as for `splits.assign`.
        packages_dir: folder with the two .deb files; downloaded if None.

    Returns:
        the content of recordings.json; what is left out; and whether it was
        made now (nothing is left out otherwise).

    Raises:
        ValueError: a system tool is missing.
        OSError: the packages cannot be had or read, or nothing be written.
    """
    # Refuses fractions that cannot be before anything is downloaded.
    splits.assign([], fractions, seed)
    request = {"fractions": list(fractions), "seed": seed}
    left_out = rejections.Rejections()
    before = corpus_folder.existing(output_dir, METADATA, request)
    if before:
        return before, left_out, False
    # The folder first: one that cannot be written costs no download.
    with (
        files.new_folder(output_dir) as folder,
        _unpacked(packages_dir) as root,
    ):
        texts = read_texts(_only(root, "core-sounds-en.txt.gz"))
        sounds = _only(root, "en_US_f_Allison")
        utterances = _convert(sounds, texts, folder, left_out)
        by_split, _ = splits.assign(utterances, fractions, seed)
        utterances = [each for part in by_split.values() for each in part]
        corpus_folder.write_manifests(folder, utterances, by_split=True)
        copyright_file = _only(root, f"{AUDIO_PACKAGE}/copyright")
        shutil.copy(copyright_file, folder / "COPYRIGHT")
        account = left_out.account()
        (folder / "left_out.txt").write_text(account, encoding="utf-8")
        metadata = {
            "notice": LICENSE,
            "simulated": False,
            "request": request,
            "speaker": SPEAKER,
            "num_utterances": len(utterances),
            "num_left_out": len(left_out),
            "seconds": round(sum(each.duration for each in utterances), 3),
        }
        corpus_folder.write_json(folder / METADATA, metadata)
    return metadata, left_out, True


def read_texts(path: str | os.PathLike) -> dict[str, str]:
    """Transcripts by key, from a gzipped file of `key: text` and `;comment`."""
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as file:
        pairs = (line.partition(":") for line in file if line[0] != ";")
        return {
            key.strip(): text.strip() for key, colon, text in pairs if colon
        }


def spoken_text(text: str) -> str:
    """A transcript without descriptions and trailing dots; "" if none is left.

    Symbols that are read aloud become words: `*` star, `#` pound.
    """
    text = _DESCRIPTION.sub(" ", text)
    for symbol, word in _SPOKEN_SYMBOLS.items():
        text = text.replace(symbol, f" {word} ")
    text = " ".join(text.replace("...", " ").split())
    return text if any(map(str.isalnum, text)) else ""


@contextlib.contextmanager
def _unpacked(packages_dir: str | None) -> abc.Iterator[pathlib.Path]:
    """Yields a temporary folder with the content of both packages."""
    with tempfile.TemporaryDirectory(prefix="recordings-") as scratch:
        scratch = pathlib.Path(scratch)
        packages = pathlib.Path(packages_dir or scratch)
        if packages_dir is None:
            _run(
                ["apt-get", "download", AUDIO_PACKAGE, TEXT_PACKAGE],
                scratch,
                "check the network, or run `apt-get update` as root first",
            )
        root = scratch / "root"
        for package in (AUDIO_PACKAGE, TEXT_PACKAGE):
            archive = str(_only(packages, f"{package}_*.deb").absolute())
            command = ["dpkg-deb", "-x", archive, str(root)]
            _run(command, scratch, "the package is damaged; fetch it again")
        yield root


def _run(command: list[str], folder: str | os.PathLike, remedy: str) -> None:
    tool = command[0]
    if shutil.which(tool) is None:
        raise ValueError(
            f"fetching the recordings needs {tool}, of Debian and Ubuntu. On "
            f"another system download {AUDIO_PACKAGE} and {TEXT_PACKAGE} from "
            "https://packages.debian.org, install dpkg and name their folder "
            "with --packages_dir"
        )
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DOWNLOAD_SECONDS,
            env=os.environ | {"LC_ALL": "C.UTF-8"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OSError(
            f"{' '.join(command)} took over {_DOWNLOAD_SECONDS} s; {remedy}"
        ) from None
    if done.returncode:
        lines = done.stderr.splitlines()
        errors = [e for e in lines if e.startswith(("E:", "dpkg-deb: error"))]
        why = " ".join(errors or lines[-1:])
        raise OSError(f"`{' '.join(command)}` failed: {why}; {remedy}")


def _only(folder: pathlib.Path, pattern: str) -> pathlib.Path:
    """The one path below `folder` that ends with the pattern."""
    found = sorted(folder.rglob(pattern)) if folder.is_dir() else []
    if not found:
        raise FileNotFoundError(
            f"there is no {pattern} in {folder}; the packages "
            f"{AUDIO_PACKAGE} and {TEXT_PACKAGE} are needed"
        )
    return found[-1]


def _convert(
    sounds: pathlib.Path,
    texts: abc.Mapping[str, str],
    folder: pathlib.Path,
    left_out: rejections.Rejections,
) -> list[manifest.Utterance]:
    (folder / "audio").mkdir()
    utterances = []
    paths = sorted(sounds.rglob("*.g722"))
    for path in tqdm.tqdm(paths, unit="recording", desc="decode"):
        key = path.relative_to(sounds).with_suffix("").as_posix()
        utt_id = key.replace("/", ".")
        try:
            if key not in texts:
                raise rejections.UnusableError("no transcript")
            text = spoken_text(texts[key])
            if not text:
                raise rejections.UnusableError(
                    "described, not spoken", texts[key]
                )
            samples = _decode(path)
        except rejections.UnusableError as error:
            left_out.add(f"{key}.g722", utt_id, error.reason, error.detail)
            continue
        target = folder / "audio" / f"{utt_id}.flac"
        # Encoded in memory: soundfile hides why a file cannot be written.
        flac = io.BytesIO()
        soundfile.write(flac, samples, SAMPLE_RATE, "PCM_16", format="FLAC")
        target.write_bytes(flac.getvalue())
        seconds = len(samples) / SAMPLE_RATE
        utterances.append(
            manifest.Utterance(str(target), text, SPEAKER, utt_id, seconds)
        )
    if not utterances:
        raise ValueError(
            f"no recording of {AUDIO_PACKAGE} is usable: {left_out.summary()}"
        )
    return utterances


def _decode(path: pathlib.Path) -> np.ndarray:
    """`[samples]` int16 of a raw G.722 file, which is always 16 kHz mono."""
    samples, _ = audio.load(str(path))
    seconds = len(samples) / SAMPLE_RATE
    if seconds < _SHORTEST_SECONDS:
        raise rejections.UnusableError(
            f"shorter than {_SHORTEST_SECONDS} s", f"{seconds:.2f} s"
        )
    return np.rint(samples * 32768).astype(np.int16)
