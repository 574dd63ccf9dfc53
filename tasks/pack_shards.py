"""Packs the recordings of manifests into a few large files (TFRecord shards).

    python -m tasks.pack_shards --manifest=train.jsonl,dev.jsonl \\
        --output_dir=packed

writes packed/shard-00000.tfrecord and so on, packed/train.jsonl and
packed/dev.jsonl, which are used like any other manifest, and what was left out,
and why, in packed/train.jsonl.left_out.txt. For corpora of so many files that
opening them takes longer than reading them. The samples stay what they are.
"""

import os

from absl import flags

from lingvo_like import folders
from tasks import cli
from tasks.asr.data import inspection, manifest, shards

_MANIFEST = flags.DEFINE_string(
    "manifest",
    "",
    "The manifests, separated by commas. Recordings that several of them name "
    "are packed once.",
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "", "Folder to make, which must not exist."
)
_SHARD_MEGABYTES = flags.DEFINE_integer(
    "shard_megabytes",
    256,
    "Size of a shard in millions of bytes.",
    lower_bound=1,
)
_CONTAINER = flags.DEFINE_enum(
    "container",
    shards.CONTAINERS[0],
    shards.CONTAINERS,
    "What samples are kept in: WAV is larger, and takes less time to decode.",
)
_STRICT = flags.DEFINE_bool(
    "strict", False, "Refuse manifests with unusable utterances."
)


def main(_: list[str]) -> None:
    cli.require(_MANIFEST, _OUTPUT_DIR)
    paths = _by_name(manifest.paths(_MANIFEST.value))
    with folders.new_folder(_OUTPUT_DIR.value) as folder:
        parts, left_out = {}, {}
        for name, path in paths.items():
            parts[name], left_out[name] = inspection.read(path, _STRICT.value)
        packed = shards.pack(
            parts,
            folder,
            _SHARD_MEGABYTES.value * 1_000_000,
            container=_CONTAINER.value,
        )
        for name, path in paths.items():
            utterances, lost = packed.utterances[name], packed.left_out[name]
            if _STRICT.value:
                lost.raise_if_any(f"manifest {path}")
            if not utterances:
                raise ValueError(
                    f"manifest {path} has no usable utterance: {lost.summary()}"
                )
            left_out[name].extend(lost)
            texts = {
                name: manifest.dumps(utterances, folder),
                f"{name}.left_out.txt": left_out[name].account(),
            }
            for file, text in texts.items():
                (folder / file).write_text(text, encoding="utf-8")
    for name, utterances in packed.utterances.items():
        print(f"{name}: {len(utterances)} utterances")
        print(left_out[name].describe(), end="")
    print(
        f"{packed.num_records} recordings, {packed.seconds / 60:.1f} minutes, "
        f"in shards: {packed.num_shards}, {packed.num_bytes / 1e6:.1f} MB\n"
        f"Written to {_OUTPUT_DIR.value}"
    )


def _by_name(paths: list[str]) -> dict[str, str]:
    """The manifests by the names that they get in the output folder."""
    named = {}
    for path in paths:
        name = os.path.basename(path)
        if name in named:
            raise ValueError(
                f"--manifest has two manifests called {name} ({named[name]} "
                f"and {path}); rename one, or pack them into two folders"
            )
        named[name] = path
    return named


if __name__ == "__main__":
    cli.run(main)
