"""Recordings of real voices, from packages of the Debian archive.

They are fetched when wanted and never redistributed here; what is made of them
stays under the licence of each.
"""

import dataclasses
import hashlib
import io
import os
import pathlib
import shutil
from collections import abc

import numpy as np
import soundfile
import tqdm

from lingvo_like import folders
from tasks.asr.corpora.fetched import (
    asterisk,
    candidates,
    packages,
    pairs,
    stamps,
    voices,
)
from tasks.asr.data import audio, corpus_folder, manifest, rejections, splits

METADATA = "recordings.json"
SAMPLE_RATE = 16000
_SHORTEST_SECONDS = 0.25


def fetch(
    output_dir: str | os.PathLike,
    chosen: abc.Sequence[voices.Voice] = (voices.VOICES[voices.DEFAULT],),
    fractions: tuple[float, ...] = (0.7, 0.1, 0.2),
    seed: int = 0,
    packages_dir: str | os.PathLike | None = None,
) -> tuple[dict, rejections.Rejections, bool]:
    """Writes the recordings as FLAC with manifests into a new folder.

    Args:
        output_dir: local folder, absent or empty, or made by the very same
            request, which is then left as it is.
        chosen: the voices.
        fractions, seed: as for `splits.assign`. Voices of a language hold the
            same phrases out.
        packages_dir: folder with the .deb files; downloaded if None.

    Returns:
        the content of recordings.json; what is left out; and whether it was
        made now (nothing is left out otherwise).

    Raises:
        ValueError: a system tool is missing.
        OSError: the packages cannot be had or read, or nothing be written.
    """
    # Refuses fractions that cannot be before anything is downloaded.
    splits.assign([], fractions, seed)
    request = {
        "voices": [voice.name for voice in chosen],
        "fractions": list(fractions),
        "seed": seed,
    }
    left_out = rejections.Rejections()
    before = corpus_folder.existing(output_dir, METADATA, request)
    if before:
        return before, left_out, False
    needed = dict.fromkeys(name for each in chosen for name in each.packages)
    # The folder first: one that cannot be written costs no download.
    with (
        folders.new_folder(output_dir) as folder,
        packages.unpacked(needed.keys(), packages_dir) as root,
    ):
        utterances, accounts = [], {}
        for voice in chosen:
            own = rejections.Rejections()
            said = _of_voice(voice, root, folder, own)
            accounts[voice.name] = _account(voice, said, own)
            utterances += said
            left_out.extend(own)
        utterances = _split(utterances, fractions, seed)
        corpus_folder.write_manifests(folder, utterances, by_split=True)
        _write_copyrights(root, needed, folder)
        (folder / "left_out.txt").write_text(
            left_out.account(), encoding="utf-8"
        )
        metadata = {
            "simulated": False,
            "request": request,
            "num_utterances": len(utterances),
            "num_left_out": len(left_out),
            "seconds": round(sum(each.duration for each in utterances), 3),
            "voices": accounts,
        }
        corpus_folder.write_json(folder / METADATA, metadata)
    return metadata, left_out, True


def _account(
    voice: voices.Voice,
    said: abc.Sequence[manifest.Utterance],
    left_out: rejections.Rejections,
) -> dict:
    reasons = left_out.by_reason()
    return {
        "speaker": voice.speaker,
        "language": voice.language,
        "notice": voice.notice,
        "num_utterances": len(said),
        "seconds": round(sum(each.duration for each in said), 3),
        "left_out": {reason: len(group) for reason, group in reasons.items()},
    }


def _of_voice(
    voice: voices.Voice,
    root: pathlib.Path,
    folder: pathlib.Path,
    left_out: rejections.Rejections,
) -> list[manifest.Utterance]:
    """Writes a voice's recordings; its utterances."""
    target = folder / "audio" / voice.name
    target.mkdir(parents=True)
    found = []
    for each in tqdm.tqdm(
        _candidates(voice, root), unit="recording", desc=voice.name
    ):
        place = f"{voice.name}/{each.place}"
        try:
            if isinstance(each.text, rejections.UnusableError):
                raise each.text
            samples = _decode(each.path)
        except rejections.UnusableError as error:
            left_out.add(place, each.utt_id, error.reason, error.detail)
            continue
        path = target / f"{each.utt_id}.flac"
        _write(path, samples)
        utterance = manifest.Utterance(
            str(path),
            each.text,
            voice.speaker,
            each.utt_id,
            len(samples) / SAMPLE_RATE,
            language=voice.language,
        )
        digest = hashlib.sha256(each.path.read_bytes()).hexdigest()
        found.append(pairs.Pair(place, utterance, digest))
    usable = pairs.usable(found, left_out)
    kept = {each.utterance.audio_filepath for each in usable}
    for each in found:
        if each.utterance.audio_filepath not in kept:
            os.remove(each.utterance.audio_filepath)
    if not usable:
        raise ValueError(
            f"no recording of {voice.name} is usable: {left_out.summary()}"
        )
    return [each.utterance for each in usable]


def _candidates(
    voice: voices.Voice, root: pathlib.Path
) -> list[candidates.Candidate]:
    if voice.prompts is None:
        package = root / voice.packages[0]
        return stamps.read(package, voice.language, voice.person)
    sounds, texts = (root / name for name in voice.packages)
    return asterisk.read(sounds, texts, voice.prompts, voice.language)


def _decode(path: pathlib.Path) -> np.ndarray:
    """`[samples]` int16 at `SAMPLE_RATE`."""
    samples = audio.read(str(path), SAMPLE_RATE)
    seconds = len(samples) / SAMPLE_RATE
    if seconds < _SHORTEST_SECONDS:
        raise rejections.UnusableError(
            f"shorter than {_SHORTEST_SECONDS} s", f"{seconds:.2f} s"
        )
    return np.rint(np.clip(samples * 32768, -32768, 32767)).astype(np.int16)


def _write(path: pathlib.Path, samples: np.ndarray) -> None:
    # Encoded in memory: soundfile hides why a file cannot be written.
    flac = io.BytesIO()
    soundfile.write(flac, samples, SAMPLE_RATE, "PCM_16", format="FLAC")
    path.write_bytes(flac.getvalue())


def _split(
    utterances: abc.Sequence[manifest.Utterance],
    fractions: tuple[float, ...],
    seed: int,
) -> list[manifest.Utterance]:
    """Puts each voice's phrases into splits, alike for a language's voices.

    What is trained on several voices never heard a phrase that another of them
    is tested on.
    """
    split_of, done = {}, []
    for speaker in dict.fromkeys(each.speaker for each in utterances):
        own = [
            dataclasses.replace(each, split=split_of.get(_phrase(each), ""))
            for each in utterances
            if each.speaker == speaker
        ]
        by_split, _ = splits.assign(own, fractions, seed)
        for part in by_split.values():
            split_of |= {_phrase(each): each.split for each in part}
            done += part
    return done


def _phrase(utterance: manifest.Utterance) -> tuple[str, str]:
    return utterance.language, splits.phrase_key(utterance.text)


def _write_copyrights(
    root: pathlib.Path, names: abc.Iterable[str], folder: pathlib.Path
) -> None:
    target = folder / "copyright"
    target.mkdir()
    for name in names:
        path = packages.only(root / name, f"{name}/copyright")
        shutil.copy(path, target / name)
