"""The Speech Accessibility Project.

    [processed|raw/]<Split>/<uuid>/{<uuid>.json,<uuid>_<n>_<n>.wav}

with {"Etiology", "Files": [{"Filename", "Prompt": {"Transcript"}}]}. The marks
in transcripts are read as utils/normalizer of xiuwenz2/SAPC-template does.
"""

import json
import os
import pathlib
import re

from tasks.asr.corpora import common


def read(
    root: str | os.PathLike, keep_disfluencies: bool = False
) -> common.Imported:
    """Imports the project's folders.

    Utterances with words that nobody could understand (`{w:2}`, `{u:...}`) are
    left out.

    Args:
        root: the folder of `processed` or `raw` (the first is preferred where
            both are), or either of them, or one split.
        keep_disfluencies: keep the words in `(...)`, which were said and not
            meant: repetitions, false starts.

    """
    collector = common.Collector(root)
    for folder in _speakers(collector.root):
        _add_speaker(collector, folder, keep_disfluencies)
    return collector.finish()


def _speakers(root: pathlib.Path) -> list[pathlib.Path]:
    for stage in ("processed", "raw"):
        if common.folders(root / stage):
            root = root / stage
            break
    found = []
    for folder in common.folders(root):
        if _is_speaker(folder):
            found.append(folder)
        else:
            found += filter(_is_speaker, common.folders(folder))
    return found


def _is_speaker(folder: pathlib.Path) -> bool:
    # Not any JSON: a split may have one of its own beside the speakers.
    own = folder / f"{folder.name}.json"
    return own.exists() or bool(common.audio_files(folder))


def _json_files(folder: pathlib.Path) -> list[pathlib.Path]:
    return [each for each in common.entries(folder) if each.suffix == ".json"]


def _add_speaker(collector, folder, keep_disfluencies):
    # The audio may have been processed into a folder that has no JSON.
    twin = collector.root / "raw" / folder.parent.name / folder.name
    descriptions = _json_files(folder) or _json_files(twin)
    if not descriptions:
        collector.reject(folder, "speaker without JSON")
    named = set()
    for path in descriptions:
        record = _load(collector, path)
        if record is None:
            continue
        etiology = record.get("Etiology")
        fields = {
            "etiology": etiology.strip() if isinstance(etiology, str) else "",
            "split": common.split_name(folder.resolve().parent.name),
        }
        for item in record["Files"]:
            _add_item(collector, folder, item, named, keep_disfluencies, fields)
    for path in common.audio_files(folder):
        if path.name not in named and descriptions:
            collector.reject(path, "audio that the JSON does not name")


def _load(collector, path):
    text = collector.read_text(path)
    if text is None:
        return None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        collector.reject(path, "not JSON", str(error))
        return None
    if isinstance(record, dict) and isinstance(record.get("Files"), list):
        return record
    collector.reject(path, "JSON without a list of Files")
    return None


def _add_item(collector, folder, item, named, keep_disfluencies, fields):
    prompt = item.get("Prompt") if isinstance(item, dict) else None
    transcript = prompt.get("Transcript") if isinstance(prompt, dict) else None
    filename = item.get("Filename") if isinstance(item, dict) else None
    if not isinstance(filename, str) or not filename.strip():
        collector.reject(folder, "entry without Filename")
        return
    name = pathlib.PurePosixPath(filename.strip().replace("\\", "/")).name
    audio = folder / name
    stem = audio.stem
    if name in named:
        collector.reject(audio, "named twice in the JSON", "", stem)
        return
    named.add(name)
    if not isinstance(transcript, str):
        collector.reject(audio, "no transcript", "", stem)
        return
    text = clean(transcript, keep_disfluencies)
    if text is None:
        collector.reject(
            audio, "words that nobody understood", transcript.strip(), stem
        )
    elif not text:
        collector.reject(
            audio, "transcript without words", transcript.strip(), stem
        )
    else:
        collector.add(audio, text, folder.name, stem, **fields)


def clean(transcript: str, keep_disfluencies: bool = False) -> str | None:
    """A transcript without its marks.

    `#dis` at the start and `[noise]` go; `{w:2}` and `{u:...}` are words that
    nobody understood; `{x:word}` and `(x:word)` stand for the word; `(words)`
    are disfluencies; `~C ~B` is spelt out and becomes `CB`.

    Returns:
        the words, maybe "", or None if some of them were not understood.
    """
    text = re.sub(r"^\s*#dis\b", "", transcript)
    text = re.sub(r"\[[^\]]*\]", " ", text.replace("\n", " "))
    # A comment whose opening bracket is missing.
    text = re.sub(r"^[^\[\]]*\]", " ", text)
    text = re.sub(r"\{\s*[wW]\s*:\s*\}", " ", text)
    if re.search(r"\{\s*([wWuU]\s*:[^}]*)?\}", text):
        return None
    text = re.sub(r"\{(?:[^}]*:)?([^}:]*)\}", r" \1 ", text)
    kept = r" \1 " if keep_disfluencies else " "
    text = re.sub(r"\([^()]*:([^():]*)\)", r" \1 ", text)
    text = re.sub(r"\(([^()]*)\)", kept, text)
    text = re.sub(
        r"~[A-Za-z](?:\s+~[A-Za-z])*\b",
        lambda letters: re.sub(r"[~\s]", "", letters[0]),
        text,
    )
    text = " ".join(re.sub(r"[~\[\]{}()]", " ", text).split())
    # Punctuation is no speech.
    return text if re.search(r"\w", text) else ""
