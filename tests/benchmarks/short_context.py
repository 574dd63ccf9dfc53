"""Measures the error rate of a short-context base against Whisper at 30 s.

    python -m tests.benchmarks.short_context [--base=BASE] [--work_dir=DIR]

The speech is that of 28 simulated speakers and of a real voice, or that of
--manifest. It must not have been used to make the base model.
"""

import json
import pathlib

from tests.benchmarks import jobs


def main():
    parser = jobs.parser("short_context", __doc__)
    parser.add_argument("--full_base", default="tiny.en")
    parser.add_argument(
        "--manifest",
        default="",
        help="separated by commas; else the simulated and the real speech",
    )
    parser.add_argument("--per_speaker", type=int, default=10**6)
    arguments = jobs.parse(parser)
    full = jobs.experiment("whisper.Stacked", [])
    short = jobs.experiment("whisper.ShortStacked", [])
    bases = {
        "full": jobs.load_base(arguments.full_base, full),
        "short": jobs.load_base(arguments.base, short),
    }
    results = {}
    print(f"{'manifest':<44} {'words':>6} {'30 s %':>7} {'short %':>8}")
    folder = pathlib.Path(arguments.work_dir)
    manifests = (
        arguments.manifest.split(",")
        if arguments.manifest
        else (
            jobs.unheard_voices(folder) / "manifest.jsonl",
            jobs.fetch_recordings(folder) / "test.jsonl",
        )
    )
    for path in map(pathlib.Path, manifests):
        data = jobs.test_data(bases["full"], path, ())
        data = jobs.first_utterances(data, arguments.per_speaker)
        errors = {
            name: jobs.word_errors(base, data, title=name)
            for name, base in bases.items()
        }
        row = {name: jobs.rate(found) for name, found in errors.items()}
        row["difference_points"] = row["short"] - row["full"]
        row["words"] = sum(words for _, words in errors["full"].values())
        row["speakers"] = len(data)
        results[f"{path.parent.name}/{path.name}"] = row
        print(
            f"{str(path)[-44:]:<44} {row['words']:6d} {row['full']:7.2f} "
            f"{row['short']:8.2f}"
        )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
