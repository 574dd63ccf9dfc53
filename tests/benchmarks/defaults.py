"""Other settings beside the defaults, on real texts that no figure uses.

    python -m tests.benchmarks.defaults --base=tiny.en [--short_base=SHORT] \\
        --try=train.num_steps=300 --try="lora.alpha=32 --cohort=all"

Takes the train speech of the voices of tasks.fetch_recordings alone. Of each
voice --learn utterances are learnt, --dev judge the steps, and --check are
recognised; no text is in two of the three. Each --try is a job with its
settings and flags of tasks.train, separated by spaces, beside a job with the
defaults and --set. The table has the mean of the voices' error rates, and what
a try adds to that of the defaults, with a 95 % interval: both jobs are scored
on the same draws of utterances. A difference whose interval contains zero says
nothing.

What is done is kept in --work_dir. With tiny.en, six voices take 25 minutes of
one core for a try of 150 updates.
"""

import hashlib
import json
import pathlib

import numpy as np

from tasks.asr import layouts
from tasks.asr.evaluation import bootstrap
from tasks.asr.recognition import transcription
from tests.benchmarks import heard as heard_lib, jobs, real_speech

VOICES = "asterisk-es,stamps-es,asterisk-it,asterisk-fr,stamps-fr,stamps-ro"
DEFAULTS = "defaults"


def parse():
    parser = real_speech.parser("defaults", __doc__, VOICES)
    parser.add_argument(
        "--try",
        dest="tries",
        action="append",
        default=[],
        help="settings and flags of a job, separated by spaces",
    )
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--learn", type=int, default=180, help="%(default)s")
    parser.add_argument("--dev", type=int, default=16, help="%(default)s")
    parser.add_argument("--check", type=int, default=100, help="%(default)s")
    parser.add_argument("--longest_seconds", type=float, default=9.0)
    return parser.parse_args()


def parts(utterances, arguments):
    """A voice's utterances to learn, to judge steps by, and to recognise."""
    short = [
        each for each in utterances if each.duration < arguments.longest_seconds
    ]
    learnt = short[: arguments.learn]
    texts = {each.text.lower() for each in learnt}
    others = []
    for each in short[arguments.learn :]:
        if each.text.lower() not in texts:
            texts.add(each.text.lower())
            others.append(each)
    end = arguments.dev + arguments.check
    return learnt, others[: arguments.dev], others[arguments.dev : end]


def manifests_of(arguments):
    """Paths of the train, dev and test manifests."""
    by_voice = {}
    for each in real_speech.voices(arguments)["train"]:
        by_voice.setdefault(each.speaker, []).append(each)
    split = [parts(own, arguments) for own in by_voice.values()]
    return {
        name: real_speech.write(
            arguments, name, [each for own in part for each in own]
        )
        for name, part in zip(
            real_speech.SPLITS, zip(*split, strict=True), strict=True
        )
    }


class Tries:
    """The jobs of the benchmark, each made once."""

    def __init__(self, arguments):
        self._arguments = arguments
        self._manifests = manifests_of(arguments)
        self._short, _ = real_speech.short_base(
            arguments, self._manifests["train"]
        )
        self._base = jobs.load_base(self._short, real_speech.experiment([]))
        self._data = heard_lib.test_data(self._base, self._manifests["test"])

    def run(self, given):
        """A job's seconds, and the `Heard` of its Submodels.

        Args:
            given: settings, and flags of tasks.train.
        """
        arguments = self._arguments
        flags = [each for each in given if each.startswith("--")]
        settings = [
            f"train.num_steps={arguments.steps}",
            *arguments.set,
            *(each for each in given if each not in flags),
        ]
        name = hashlib.sha256(
            " ".join([*settings, *flags]).encode()
        ).hexdigest()[:12]
        folder = pathlib.Path(arguments.work_dir, "runs", name)
        seconds = real_speech.train(
            folder, self._short, self._manifests, settings, *flags
        )

        def hear():
            layout = layouts.of(
                self._base.sites, real_speech.experiment(settings)
            )
            stack = jobs.stack_of_run(self._base, folder, self._data, layout)
            transcriber = transcription.Transcriber(self._base, stack)
            heard = heard_lib.transcribe(transcriber, self._data, "heard")
            return [vars(each) for each in heard]

        rows = real_speech.kept(
            pathlib.Path(arguments.work_dir, "heard", f"{name}.json"),
            [
                self._base.fingerprint(),
                real_speech.digest(self._manifests["test"]),
                real_speech.digest_of_run(folder),
            ],
            hear,
        )
        return seconds, [heard_lib.Heard(**row) for row in rows]


def resampled(heard, by_letter):
    """The mean of voices' error rates, %, in each draw of utterances."""
    counts = heard_lib.counts(heard, "heard", by_letter)
    rates = [heard_lib.resampled(*item) for item in counts.items()]
    return 100.0 * np.mean(rates, axis=0)[:, 0]


def row_of(name, seconds, heard, default):
    """The figures of a job.

    Args:
        default: the `Heard` of the job with the defaults.
    """
    figures = heard_lib.figures(heard, "heard")
    row = {"settings": name, "seconds": seconds, "voices": figures}
    for unit, by_letter in (("wer", False), ("cer", True)):
        rates = [each[unit] for each in figures.values()]
        row[unit] = float(np.mean(rates))
        added = resampled(heard, by_letter) - resampled(default, by_letter)
        row[f"{unit}_added_interval"] = bootstrap.interval(added)
    return row


def table(rows):
    """Prints a line for each job."""
    print(f"{'words, %':>9} {'added':>18} {'letters, %':>11} {'added':>18}")
    for row in rows:
        cells = []
        for unit, width in (("wer", 9), ("cer", 11)):
            added = row[unit] - rows[0][unit]
            low, high = row[f"{unit}_added_interval"]
            change = f"{added:+.1f} [{low:+.1f}, {high:+.1f}]"
            cells.append(f"{row[unit]:{width}.1f} {change:>18}")
        print(" ".join(cells), f" {row['seconds']:6.0f} s  {row['settings']}")


def main():
    arguments = parse()
    tries = Tries(arguments)
    seconds, default = tries.run([])
    rows = [row_of(DEFAULTS, seconds, default, default)]
    for each in arguments.tries:
        seconds, heard = tries.run(each.split())
        rows.append(row_of(each, seconds, heard, default))
    table(rows)
    print(json.dumps({"base": arguments.base, "jobs": rows}))


if __name__ == "__main__":
    main()
