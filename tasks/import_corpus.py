"""Turns a corpus into a manifest and an account of what was left out.

    python -m tasks.import_corpus --from=torgo --root=TORGO \\
        --output=torgo.jsonl --severity_table=severity.csv

writes torgo.jsonl and torgo.jsonl.left_out.txt. Severities are not part of the
corpora; they come from your own table, a CSV of speaker,severity[,etiology].
--list_corpora shows the layouts that are known and the options they take.
"""

import collections
import dataclasses
import os

from absl import flags

from lingvo_like import files
from tasks import cli
from tasks.asr.corpora import common, registry
from tasks.asr.data import manifest

_FROM = flags.DEFINE_string(
    "from", None, f"The corpus: {', '.join(registry.CORPORA)}."
)
_ROOT = flags.DEFINE_string("root", None, "The corpus's folder.")
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "The manifest to write. What was left out, and why, goes beside it, to "
    "<output>.left_out.txt.",
)
_SEVERITY_TABLE = flags.DEFINE_string(
    "severity_table", None, "CSV with the columns speaker,severity[,etiology]."
)
_LOWERCASE = flags.DEFINE_bool(
    "lowercase",
    False,
    "Write transcripts that are all capitals (UASpeech, LibriSpeech) in lower "
    "case.",
)
_LIST_CORPORA = flags.DEFINE_bool(
    "list_corpora", False, "Show the layouts and options of all corpora."
)
# Options of single corpora: their importers document and check them.
flags.DEFINE_string(
    "speaker",
    None,
    "euphonia, audiofolder: the speaker, where the corpus names none.",
)
flags.DEFINE_string(
    "mic",
    None,
    "torgo: head (default), array, any (head, else array) or both. uaspeech: "
    "such as M5 or M3,M5; by default all.",
)
flags.DEFINE_string(
    "audio_version",
    None,
    "uaspeech: original (default), normalized or noisereduce.",
)
flags.DEFINE_bool(
    "strip_comments",
    None,
    "torgo: take `tear [as in ...]` as `tear` instead of leaving it out.",
)
flags.DEFINE_bool(
    "keep_disfluencies",
    None,
    "sap: keep words that were said and not meant, such as repetitions.",
)
flags.DEFINE_string(
    "audio_root",
    None,
    "kaldi: what relative paths in wav.scp start from; by default the folder.",
)
_OPTIONS = (
    "speaker",
    "mic",
    "audio_version",
    "strip_comments",
    "keep_disfluencies",
    "audio_root",
)


def main(_: list[str]) -> None:
    if _LIST_CORPORA.value:
        print(_listing())
        return
    name, root, output = map(_given, (_FROM, _ROOT, _OUTPUT))
    labels = {}
    if _SEVERITY_TABLE.value:
        labels = common.read_labels(_SEVERITY_TABLE.value)
    given = {
        name: flags.FLAGS[name].value
        for name in _OPTIONS
        if flags.FLAGS[name].value is not None
    }
    utterances, left_out = registry.read(name, root, **given)
    utterances = common.with_labels(utterances, labels)
    if _LOWERCASE.value:
        utterances = [_lowered(each) for each in utterances]
    account = f"{output}.left_out.txt"
    folder = os.path.dirname(output)
    files.write_together(
        {
            account: left_out.account(),
            output: manifest.dumps(utterances, folder),
        }
    )
    print(_summary(utterances, labels), end="")
    print(left_out.describe(), end="")
    print(f"Manifest: {output}\nLeft out, all of it: {account}")


def _given(flag: flags.FlagHolder[str | None]) -> str:
    if not flag.value:
        raise ValueError(f"--{flag.name} is missing; --help explains it")
    return flag.value


def _listing() -> str:
    parts = []
    for name in registry.CORPORA:
        options = ", ".join(f"--{each}" for each in registry.options(name))
        parts.append(
            f"--from={name}\n{registry.layout(name)}\n"
            f"Options: {options or 'none'}\n"
        )
    return "\n".join(parts)


def _lowered(utterance: manifest.Utterance) -> manifest.Utterance:
    if not utterance.text.isupper():
        return utterance
    return dataclasses.replace(utterance, text=utterance.text.lower())


def _summary(
    utterances: list[manifest.Utterance], labels: common.Labels
) -> str:
    speakers = {each.speaker: each.severity for each in utterances}
    minutes = sum(each.duration for each in utterances) / 60
    lines = [
        f"{len(utterances)} utterances of {len(speakers)} speakers, "
        f"{minutes:.1f} minutes"
    ]
    for title, values in {
        "Splits": (each.split or "none" for each in utterances),
        "Speakers by severity": (
            severity or "no label" for severity in speakers.values()
        ),
    }.items():
        counts = collections.Counter(values)
        lines.append(
            f"{title}: "
            + ", ".join(f"{name} {counts[name]}" for name in sorted(counts))
        )
    strangers = sorted(labels.keys() - speakers.keys())
    if strangers:
        lines.append(
            "In the severity table and not in the manifest: "
            + ", ".join(strangers)
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    cli.run(main)
