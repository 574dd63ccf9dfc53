"""Turns recordings and their texts into a manifest.

    python -m tasks.import_corpus --root=recordings --output=all.jsonl

reads a folder for each person, with a text file beside each recording
(0001.m4a and 0001.txt) or a table of file_name and text (CSV). Published
corpora are read by name:

    python -m tasks.import_corpus --from=torgo --root=TORGO \\
        --output=torgo.jsonl --severity_table=severity.csv

Both write the manifest and, beside it, what was left out and why
(<output>.left_out.txt). Severities are not part of the corpora; they come from
your own table, a CSV of speaker,severity[,etiology]. --list_corpora shows the
layouts that are known and the options they take.
"""

import os

from absl import flags

from lingvo_like import files, languages
from tasks import cli
from tasks.asr.corpora import common, registry
from tasks.asr.data import manifest, speaker_ids

_FROM = flags.DEFINE_string(
    "from",
    "",
    f"The layout: {', '.join(registry.CORPORA)}. Left away, text files beside "
    "recordings, tables of them, Common Voice and Kaldi folders are "
    "recognised.",
)
_ROOT = flags.DEFINE_string(
    "root",
    "",
    "The corpus's folder; or several, separated by commas, for one manifest.",
)
_OUTPUT = flags.DEFINE_string(
    "output",
    "",
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
_LANGUAGE = flags.DEFINE_string(
    "language",
    "",
    "Of utterances of which the corpus does not say it: a code such as es.",
)
_LIST_CORPORA = flags.DEFINE_bool(
    "list_corpora", False, "Show the layouts and options of all corpora."
)
_MAP_IDS = flags.DEFINE_bool(
    "map_ids",
    False,
    "Give speakers whose ids no store takes (spaces, accents) ids that it "
    "takes, and write which is which to <output>.ids.csv.",
)
# Options of single corpora: their importers document and check them.
flags.DEFINE_string(
    "speaker",
    None,
    "euphonia, audiofolder, textfiles: the speaker, where nothing else says "
    "who speaks.",
)
flags.DEFINE_string(
    "speaker_folder",
    None,
    "audiofolder, textfiles: which folder names the speaker where several lie "
    "in one another: first (below --root) or last (of the recording).",
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
    cli.require(_ROOT, _OUTPUT)
    try:
        language = languages.folded(_LANGUAGE.value)
    except ValueError as error:
        cli.fail(f"--language: {error}")
    output = _OUTPUT.value
    labels = {}
    if _SEVERITY_TABLE.value:
        labels = common.read_labels(_SEVERITY_TABLE.value)
    given = {
        option: flags.FLAGS[option].value
        for corpus in registry.CORPORA
        for option in registry.options(corpus)
        if flags.FLAGS[option].value is not None
    }
    layouts = {
        root: _FROM.value or registry.guess(root)
        for root in manifest.paths(_ROOT.value)
    }
    utterances, left_out = registry.read_all(layouts, **given)
    utterances = common.with_labels(utterances, labels)
    utterances = common.with_language(utterances, language)
    names = {}
    if _MAP_IDS.value:
        utterances, names = speaker_ids.mapped(utterances)
        for name, speaker in names.items():
            if speaker in labels:
                labels[name] = labels.pop(speaker)
    else:
        places = [each.audio_filepath for each in utterances]
        speaker_ids.check(places, utterances)
    if _LOWERCASE.value:
        utterances = common.lowercased(utterances)
    account, table = f"{output}.left_out.txt", f"{output}.ids.csv"
    texts = {account: left_out.account()}
    if names:
        texts[table] = speaker_ids.table(names)
    texts[output] = manifest.dumps(utterances, os.path.dirname(output))
    try:
        files.write_together(texts)
    except OSError as error:
        cli.fail(f"--output={output}: {cli.expected_message(error)}")
    for root, name in layouts.items():
        print(f"{root}: read as --from={name}")
    print(common.summary(utterances, labels), end="")
    print(speaker_ids.describe(names, table), end="")
    print(left_out.describe(), end="")
    print(f"Manifest: {output}")
    if left_out:
        print(f"What was left out, in full: {account}")
    else:
        print("Nothing was left out.")
        if left_out.remarks:
            print(f"What to look at, in full: {account}")
    print(
        f"Next: python -m tasks.split_manifest --manifest={output} "
        "--output_dir=data (several manifests go with commas between)"
    )


if __name__ == "__main__":
    cli.run(main)
