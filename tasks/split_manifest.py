"""Splits a manifest into train, dev and test by phrase.

    python -m tasks.split_manifest --manifest=all.jsonl --output_dir=data

writes data/train.jsonl, data/dev.jsonl and data/test.jsonl, and to
data/left_out.txt what was left out and why. All recordings of a phrase by one
speaker go to one file. The same seed gives the same files on any machine.
Several manifests, with commas between, are split as one. Files of an earlier
split that would be different are replaced, and named.
"""

import os

from absl import flags

from lingvo_like import files
from tasks import cli
from tasks.asr.data import inspection, manifest, speaker_ids, splits

_MANIFEST = flags.DEFINE_string(
    "manifest", "", "The manifest to split, or several with commas between."
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "", "Folder for train.jsonl, dev.jsonl and test.jsonl."
)
_FRACTIONS = flags.DEFINE_list(
    "fractions",
    ["0.8", "0.1", "0.1"],
    "Shares of the phrases in train, dev and test.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Another seed, another choice.")
_BY = flags.DEFINE_enum(
    "by",
    "speaker_phrases",
    splits.BY,
    "speaker_phrases: split each speaker's own phrases. phrases: the same "
    "phrases are held out for all speakers.",
)
_EXISTING = flags.DEFINE_enum(
    "existing_splits",
    "keep",
    splits.EXISTING,
    "What becomes of splits that the manifest names. keep: utterances stay in "
    "theirs. keep_test: only those of test stay, the others are split into "
    "train and dev. ignore: everything is split again.",
)
_STRICT = flags.DEFINE_bool(
    "strict", False, "Refuse a manifest with unusable utterances."
)
_MAP_IDS = flags.DEFINE_bool(
    "map_ids",
    False,
    "Give speakers whose ids no store takes (spaces, accents) ids that it "
    "takes, and write which is which to ids.csv.",
)


def main(_: list[str]) -> None:
    cli.require(_MANIFEST, _OUTPUT_DIR)
    fractions = splits.parse_fractions(_FRACTIONS.value)
    folder = _OUTPUT_DIR.value
    paths = {
        name: os.path.join(folder, f"{name}.jsonl") for name in splits.SPLITS
    }
    for path in paths.values():
        for source in manifest.paths(_MANIFEST.value):
            if os.path.exists(path) and os.path.samefile(path, source):
                cli.fail(
                    f"{path} is the manifest to split, and would be replaced; "
                    "name another --output_dir"
                )
    utterances, left_out = inspection.read(
        _MANIFEST.value, _STRICT.value, any_ids=_MAP_IDS.value
    )
    names = {}
    if _MAP_IDS.value:
        utterances, names = speaker_ids.mapped(utterances)
    print(left_out.describe(), end="")
    parts, report = splits.assign(
        utterances, fractions, _SEED.value, _BY.value, _EXISTING.value
    )
    texts = {
        paths[name]: manifest.dumps(part, folder)
        for name, part in parts.items()
    }
    texts[os.path.join(folder, "left_out.txt")] = left_out.account()
    if names:
        texts[os.path.join(folder, "ids.csv")] = speaker_ids.table(names)
    replaced = [path for path, text in texts.items() if _differs(path, text)]
    files.write_together(texts)
    print(report.describe(), end="")
    print(speaker_ids.describe(names, os.path.join(folder, "ids.csv")), end="")
    if replaced:
        print(f"Replaced, as they were different: {', '.join(replaced)}")
    dev = f"--dev_manifest={paths['dev']} " if parts["dev"] else ""
    print(
        f"Written to {folder}\nNext: python -m tasks.train --base=tiny.en "
        f"--train_manifest={paths['train']} {dev}--model_dir=runs/first"
    )


def _differs(path: str, text: str) -> bool:
    """Whether there is a file at `path` that has other contents."""
    try:
        return files.read(path) != text.encode()
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    cli.run(main)
