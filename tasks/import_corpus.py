"""Turns a corpus into a manifest and an account of what was left out.

    python -m tasks.import_corpus --from=torgo --root=TORGO \\
        --output=torgo.jsonl --severity_table=severity.csv

writes torgo.jsonl and torgo.jsonl.left_out.txt. Severities are not part of the
corpora; they come from your own table, a CSV of speaker,severity[,etiology].
--list_corpora shows the layouts that are known and the options they take.
"""

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


def main(_: list[str]) -> None:
    if _LIST_CORPORA.value:
        print(registry.listing())
        return
    name, root, output = map(_given, (_FROM, _ROOT, _OUTPUT))
    labels = {}
    if _SEVERITY_TABLE.value:
        labels = common.read_labels(_SEVERITY_TABLE.value)
    given = {
        option: flags.FLAGS[option].value
        for corpus in registry.CORPORA
        for option in registry.options(corpus)
        if flags.FLAGS[option].value is not None
    }
    utterances, left_out = registry.read(name, root, **given)
    utterances = common.with_labels(utterances, labels)
    if _LOWERCASE.value:
        utterances = common.lowercased(utterances)
    account = f"{output}.left_out.txt"
    text = manifest.dumps(utterances, os.path.dirname(output))
    files.write_together({account: left_out.account(), output: text})
    print(common.summary(utterances, labels), end="")
    print(left_out.describe(), end="")
    print(f"Manifest: {output}\nLeft out, all of it: {account}")


def _given(flag: flags.FlagHolder[str | None]) -> str:
    if not flag.value:
        raise ValueError(f"--{flag.name} is missing; --help explains it")
    return flag.value


if __name__ == "__main__":
    cli.run(main)
