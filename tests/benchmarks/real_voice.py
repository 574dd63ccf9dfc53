"""Trains and tests a real human voice through the commands of a user.

    python -m tests.benchmarks.real_voice [--base=BASE] [--work_dir=DIR]

The program fetches the telephone prompts of Debian's
asterisk-core-sounds-en-g722 (one speaker, CC-BY-SA-3.0) and trains her
Submodel on the training phrases. It recognises the test phrases with Whisper
at its 30 s context, with the short-context base, and with the Submodel.
"""

import json
import pathlib

from tests.benchmarks import jobs


def main():
    parser = jobs.parser("real_voice", __doc__)
    parser.add_argument("--full_base", default="tiny.en")
    parser.add_argument("--steps", type=int, default=60)
    arguments = jobs.parse(parser)
    folder = pathlib.Path(arguments.work_dir)
    speech = jobs.fetch_recordings(folder)
    model_dir = folder / "real_voice_run"
    seconds = jobs.command(
        "tasks.train",
        "--experiment=whisper.ShortStacked",
        f"--base={arguments.base}",
        f"--model_dir={model_dir}",
        f"--train_manifest={speech / 'train.jsonl'}",
        f"--dev_manifest={speech / 'dev.jsonl'}",
        f"--set=train.num_steps={arguments.steps}",
        "--set=train.eval_every_steps=20",
        "--set=optimizer.learning_rate=5e-4",
    )
    rates = {}
    for name, compared in (("full", arguments.full_base), ("short", "")):
        output = folder / f"real_voice_{name}"
        jobs.command(
            "tasks.evaluate",
            f"--model_dir={model_dir}",
            f"--test_manifest={speech / 'test.jsonl'}",
            f"--compare_with={compared}",
            f"--output_dir={output}",
        )
        results = json.loads((output / "results.json").read_text())
        rates[name] = results["speakers"][0]
    row = rates["full"]
    print(f"{'':<28} {'WER %':>7}")
    figures = {
        "Whisper at 30 s": row["base_word_error_rate"],
        "short-context base": rates["short"]["base_word_error_rate"],
        "Submodel": row["submodel_word_error_rate"],
    }
    for name, value in figures.items():
        print(f"{name:<28} {100 * value:7.2f}")
    print(
        json.dumps(
            {
                "base_wer": 100 * row["base_word_error_rate"],
                "short_base_wer": 100 * rates["short"]["base_word_error_rate"],
                "submodel_wer": 100 * row["submodel_word_error_rate"],
                "test_utterances": row["num_utterances"],
                "test_words": row["num_words"],
                "train_minutes": row["train_minutes"],
                "training_seconds": seconds,
            }
        )
    )


if __name__ == "__main__":
    main()
