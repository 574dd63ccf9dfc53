"""What a short-context base costs: its error rate against Whisper at 30 s.

    python -m tests.benchmarks.short_context --base=BASE --work_dir=DIR \\
        --manifest=typical/test.jsonl,asterisk/test.jsonl

BASE comes from tasks.shorten_context, on other utterances than these.
"""

import json
import pathlib

from tests.benchmarks import jobs


def main():
    parser = jobs.parser(__doc__)
    parser.add_argument("--full_base", default="tiny.en")
    parser.add_argument("--manifest", required=True)
    parser.add_argument("--per_speaker", type=int, default=10**6)
    arguments = parser.parse_args()
    full = jobs.experiment("whisper.Stacked", [])
    short = jobs.experiment("whisper.ShortStacked", [])
    bases = {
        "full": jobs.load_base(arguments.full_base, full),
        "short": jobs.load_base(arguments.base, short),
    }
    results = {}
    print(f"{'manifest':<44} {'words':>6} {'30 s %':>7} {'short %':>8}")
    for path in map(pathlib.Path, arguments.manifest.split(",")):
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
