"""TORGO (Rudzicz, Namasivayam and Wolff 2012).

    [F|FC|M|MC/]<SPK>/Session*/{prompts/NNNN.txt,wav_headMic/NNNN.wav,
                                wav_arrayMic/NNNN.wav}

Speakers F01 F03 F04 M01-M05 have dysarthria, FC01-FC03 and MC01-MC04 are
controls. What is left out follows local/torgo_data_prep.sh and conf/bad_utts
of idiap/torgo_asr.
"""

import os
import pathlib
import re

from tasks.asr.corpora import common

MICS = ("head", "array", "any", "both")

# conf/bad_utts calls up to 31 frames (25 ms every 10 ms) too short.
MIN_SECONDS = 0.335

_SPEAKER = re.compile(r"[FM]C?\d\d")
_READ_AS = re.compile(r"\s*\[\s*as in\b[^\]]*\]", re.IGNORECASE)


def read(
    root: str | os.PathLike, mic: str = "head", strip_comments: bool = False
) -> common.Imported:
    """Imports TORGO; `etiology` is "control" for the controls.

    Args:
        root: the folder of the speakers or of the groups F, FC, M, MC.
        mic: "head", "array", "both", or "any": the head microphone where a
            session has it, else the array.
        strip_comments: take `tear [as in tear up that paper]` as `tear`
            instead of leaving it out.

    """
    mic = mic or "head"
    if mic not in MICS:
        raise ValueError(
            f"--mic must be one of {', '.join(MICS)}. Received: {mic!r}"
        )
    collector = common.Collector(root)
    for speaker in _speakers(collector.root):
        for session in common.folders(speaker):
            if session.name.lower().startswith("session"):
                _add_session(collector, session, mic, strip_comments)
    return collector.finish(MIN_SECONDS)


def _speakers(root: pathlib.Path) -> list[pathlib.Path]:
    if _SPEAKER.fullmatch(root.resolve().name):
        return [root]
    found = []
    for folder in common.folders(root):
        if _SPEAKER.fullmatch(folder.name):
            found.append(folder)
        elif folder.name in ("F", "FC", "M", "MC"):
            found += [
                each
                for each in common.folders(folder)
                if _SPEAKER.fullmatch(each.name)
            ]
    return found


def _add_session(collector, session, mic, strip_comments):
    prompts = {
        each.stem: each
        for each in common.entries(session / "prompts")
        if each.suffix == ".txt"
    }
    recordings = {
        name: {
            each.stem: each
            for each in common.audio_files(session / f"wav_{name}Mic")
        }
        for name in ("head", "array")
    }
    if not any(recordings.values()):
        collector.reject(session, "session without recordings")
        return
    if not prompts:
        collector.reject(session, "session without prompts")
        return
    if mic == "any":
        mic = "head" if recordings["head"] else "array"
    for name in ("head", "array") if mic == "both" else (mic,):
        if not recordings[name]:
            collector.reject(session, f"session without wav_{name}Mic")
            continue
        _add_mic(
            collector, session, name, prompts, recordings[name], strip_comments
        )


def _add_mic(collector, session, mic, prompts, recordings, strip_comments):
    speaker = session.resolve().parent.name
    for number in sorted(prompts.keys() | recordings.keys()):
        utt_id = f"{speaker}-{session.name}-{mic}Mic-{number}"
        if number not in recordings:
            collector.reject(
                prompts[number], f"prompt without {mic}Mic audio", "", utt_id
            )
            continue
        if number not in prompts:
            collector.reject(
                recordings[number], "audio without prompt", "", utt_id
            )
            continue
        prompt = collector.read_text(prompts[number])
        if prompt is None:
            continue
        text, fault = _transcript(prompt, strip_comments)
        if fault:
            collector.reject(prompts[number], fault, prompt.strip(), utt_id)
            continue
        collector.add(
            recordings[number],
            text,
            speaker,
            utt_id,
            session=session.name,
            mic=mic,
            etiology="control" if speaker[1] == "C" else "",
        )


def _transcript(prompt: str, strip_comments: bool) -> tuple[str, str]:
    """The words of a prompt, and why it has none that were surely said."""
    text = " ".join(prompt.split())
    if "input/images" in text or re.search(r"\.jpe?g\b", text, re.IGNORECASE):
        return "", "picture to describe, no transcript"
    if strip_comments:
        text = _READ_AS.sub("", text)
    if "[" in text or "]" in text:
        return "", "instruction or comment in brackets"
    if text.lower().strip(".") == "xxx":
        return "", "prompt marked xxx"
    return text, ""
