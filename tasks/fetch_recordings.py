"""Fetches about 24 minutes of one real human voice, with transcripts.

    python -m tasks.fetch_recordings --output_dir=/tmp/recordings

Downloads two packages of the Debian archive (nothing is installed), and
writes 16 kHz FLAC with train, dev and test manifests split by phrase. The
recordings are licensed CC-BY-SA-3.0; the full text is written beside them.
"""

from absl import flags

from tasks import cli
from tasks.asr.corpora import fetch_debian
from tasks.asr.data import splits

_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "", "Folder to make: audio and manifests."
)
_FRACTIONS = flags.DEFINE_list(
    "fractions",
    ["0.7", "0.1", "0.2"],
    "Shares of the phrases in train, dev and test.",
)
_SEED = flags.DEFINE_integer("seed", 0, "Another seed, another choice.")
_PACKAGES_DIR = flags.DEFINE_string(
    "packages_dir",
    None,
    f"Folder with the .deb files of {fetch_debian.AUDIO_PACKAGE} and "
    f"{fetch_debian.TEXT_PACKAGE}, where they cannot be downloaded.",
)


def main(_: list[str]) -> None:
    cli.require(_OUTPUT_DIR)
    output_dir = _OUTPUT_DIR.value
    metadata, left_out, made = fetch_debian.fetch(
        output_dir,
        splits.parse_fractions(_FRACTIONS.value),
        _SEED.value,
        _PACKAGES_DIR.value,
    )
    if not made:
        print(f"{output_dir} already holds these recordings; left as it is.")
    print(left_out.describe(), end="")
    print(metadata["notice"])
    print(
        f"{metadata['num_utterances']} recordings of {metadata['speaker']}, "
        f"{metadata['seconds'] / 60:.1f} minutes: {output_dir}"
    )


if __name__ == "__main__":
    cli.run(main)
