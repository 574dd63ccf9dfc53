"""Fetches recordings of real human voices, with transcripts.

    python -m tasks.fetch_recordings --output_dir=/tmp/recordings
    python -m tasks.fetch_recordings --output_dir=/tmp/voices \
        --voices=asterisk-en,stamps-es,stamps-ca

Downloads packages of the Debian archive (nothing is installed), and writes
16 kHz FLAC with train, dev and test manifests split by phrase. Recordings and
texts that do not belong together are left out by name. Each voice has its
licence; the full text is written beside the recordings.
"""

from absl import flags

from tasks import cli, tables
from tasks.asr.corpora.fetched import fetch, voices
from tasks.asr.data import splits

_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "", "Folder to make: audio and manifests."
)
_VOICES = flags.DEFINE_list(
    "voices",
    [voices.DEFAULT],
    "Voices to fetch, each a speaker, or all. --list_voices lists them.",
)
_LIST_VOICES = flags.DEFINE_bool(
    "list_voices", False, "List the voices with language and licence, and exit."
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
    "Folder with the .deb files, where they cannot be downloaded; without them "
    "an error names the packages.",
)


def main(_: list[str]) -> None:
    if _LIST_VOICES.value:
        print(voices.listing())
        return
    cli.require(_OUTPUT_DIR)
    output_dir = _OUTPUT_DIR.value
    metadata, left_out, made = fetch.fetch(
        output_dir,
        voices.chosen(_VOICES.value),
        splits.parse_fractions(_FRACTIONS.value),
        _SEED.value,
        _PACKAGES_DIR.value,
    )
    if not made:
        print(f"{output_dir} already holds these recordings; left as it is.")
    print(left_out.describe(), end="")
    head = ("voice", "language", "utterances", "minutes", "left out", "speaker")
    rows = [
        (
            name,
            each["language"],
            str(each["num_utterances"]),
            f"{each['seconds'] / 60:.1f}",
            str(sum(each["left_out"].values())),
            each["speaker"],
        )
        for name, each in metadata["voices"].items()
    ]
    print(tables.aligned([head, *rows]))
    for notice in {each["notice"]: 0 for each in metadata["voices"].values()}:
        print(notice)
    print(
        f"{metadata['num_utterances']} recordings, "
        f"{metadata['seconds'] / 60:.1f} minutes: {output_dir}"
    )


if __name__ == "__main__":
    cli.run(main)
