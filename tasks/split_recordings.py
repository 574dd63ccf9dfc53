"""Cuts long recordings at their pauses, into files of one utterance each.

    python -m tasks.split_recordings --output_dir=pieces ann/long.m4a bo/*.mp3

writes pieces/ann/long-0001.flac and so on, and pieces/texts.csv with a row for
each file. To train on them, fill in the column `text` with what was said, and
import the folder (tasks.import_corpus --root=pieces). To transcribe them, give
the files to tasks.transcribe.
"""

from absl import flags

from tasks import cli

_OUTPUT_DIR = flags.DEFINE_string("output_dir", "", "Folder to make.")
_MAX_SECONDS = flags.DEFINE_float(
    "max_seconds", 30.0, "The longest utterance.", lower_bound=1.0
)
_MIN_PAUSE_SECONDS = flags.DEFINE_float(
    "min_pause_seconds",
    0.7,
    "A pause this long parts two utterances.",
    lower_bound=0.1,
)
_SPEAKER = flags.DEFINE_string(
    "speaker", "", "Who speaks; by default the name of a recording's folder."
)


@cli.takes_arguments
def main(argv: list[str]) -> None:
    cli.require(_OUTPUT_DIR)
    paths = cli.arguments(argv, "recording")
    # Late, so that --help and a wrong flag answer at once.
    from tasks.asr.recognition import splitting, voice_activity

    cutting = voice_activity.Cutting(
        max_seconds=_MAX_SECONDS.value,
        min_pause_seconds=_MIN_PAUSE_SECONDS.value,
    )
    done = splitting.split(paths, _OUTPUT_DIR.value, cutting, _SPEAKER.value)
    print(done.left_out.describe(), end="")
    folder = _OUTPUT_DIR.value
    speakers = ", ".join(f"{name} {n}" for name, n in done.speakers.items())
    print(
        f"{sum(done.speakers.values())} utterances, "
        f"{done.seconds / 60:.1f} minutes: {folder}\n"
        f"Speakers (--speaker names another): {speakers}\n"
        f"To train on them, fill in the column text of "
        f"{folder}/{splitting.TABLE}, then: python -m tasks.import_corpus "
        f"--root={folder} --output=all.jsonl"
    )


if __name__ == "__main__":
    cli.run(main)
