"""Real voices in one job, each in its language, beside PEFT's LoRA.

    python -m tests.benchmarks.voices [--work_dir=DIR] \\
        [--peft_python=PYTHON] [--parts=base,submodels,peft]

The voices of tasks.fetch_recordings are recognised by the Whisper at its 30 s,
by its short-context form, by the Submodels of cohorts and by personal ones.
There is a job for each of --cohorts (all, language; none: without a cohort),
and the first of them is the one that counts. PEFT trains each voice in a job
of its own, twice: rank 32 on the encoder's projections, and rank 4 on query,
value and feed-forward of encoder and decoder. It has the same train manifest
and learns from the dev speech, too. It gives Whisper --peft_seconds of audio
context, which costs a third of 30 s; what is longer is heard at 30 s.

What is done is kept in DIR, so that the table can be taken in parts: with
tiny.en, PEFT takes some 20 minutes of one core for each voice. --only=VOICES
takes the 30 s and PEFT's figures of these alone, and the table shows what
there is. The quick form is --base=tiny.en --voices=asterisk-en,asterisk-es,
where no line names a language. PYTHON is that of an environment with torch,
transformers and peft. PEFT's rows go to --peft_rows, beside this program, and
are taken from there as long as base, speech and settings are the same.
"""

import json
import pathlib
import statistics

from tasks.asr import layouts
from tasks.asr.recognition import transcription
from tests.benchmarks import heard as heard_lib, jobs, peft_voices, real_speech

PARTS = ("base", "submodels", "peft")


def parse():
    parser = real_speech.parser("voices", __doc__)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument(
        "--only", default="", help="voices whose rows are taken now"
    )
    parser.add_argument("--cohorts", default="all,language")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--cohort_steps", type=int, default=200)
    parser.add_argument("--peft_steps", type=int, default=150)
    parser.add_argument("--peft_python", default="")
    parser.add_argument("--peft_learning_rate", type=float, default=1e-3)
    parser.add_argument("--peft_seconds", type=int, default=10)
    parser.add_argument("--peft_rows", default=str(peft_voices.ROWS))
    arguments = parser.parse_args()
    for name in ("parts", "cohorts", "only"):
        values = getattr(arguments, name).split(",")
        setattr(arguments, name, [each for each in values if each])
    for part in arguments.parts:
        if part not in PARTS:
            parser.error(f"unknown part {part!r}: {', '.join(PARTS)}")
    if not arguments.cohorts:
        parser.error("--cohorts is empty: none takes no cohort")
    return arguments


def at_30_s(transcriber, arguments, voice, test):
    """The `Heard` of the Whisper as it is; None if it is not to be taken."""
    path = pathlib.Path(arguments.work_dir, "at_30_s", f"{voice}.json")
    learn = "base" in arguments.parts and is_wanted(arguments, voice)

    base = transcriber.base

    def hear():
        data = {
            slot: each
            for slot, each in heard_lib.test_data(base, test).items()
            if each.speaker == voice
        }
        heard = heard_lib.transcribe(transcriber, data, "at_30_s")
        return [vars(each) for each in heard]

    settings = [base.fingerprint(), real_speech.digest_of(voice, test)]
    rows = real_speech.kept(path, settings, hear if learn else None)
    return rows and [heard_lib.Heard(**row) for row in rows]


def is_wanted(arguments, voice):
    return not arguments.only or voice in arguments.only


def submodels(arguments, manifests):
    """Trains a job for each of the cohorts, or takes those that are there.

    Returns:
        by name of the recogniser, the `Heard`; by cohort, the job's seconds;
        and those of making the short-context base.
    """
    folder = pathlib.Path(arguments.work_dir)
    there = [
        by
        for by in arguments.cohorts
        if "submodels" in arguments.parts
        or (folder / f"evaluation_{by}.json").exists()
    ]
    found, seconds = {}, {}
    if not there:
        return found, seconds, 0.0
    short, short_seconds = real_speech.short_base(arguments, manifests["train"])
    for by in there:
        run = folder / f"run_{by}"
        seconds[by] = real_speech.train(
            run,
            short,
            manifests,
            [
                f"train.num_steps={arguments.steps}",
                f"cohort.num_steps={arguments.cohort_steps}",
                *arguments.set,
            ],
            *([] if by == "none" else [f"--cohort={by}"]),
        )
        heard = real_speech.evaluate(
            folder / f"evaluation_{by}",
            run,
            short,
            manifests["test"],
        )
        names = {
            "base": "short_base",
            "cohort": f"cohort_{by}",
            "submodel": f"personal_{by}",
        }
        for system, name in names.items():
            # A voice whose cohort would be itself has none.
            found[name] = [
                heard_lib.Heard(**vars(each) | {"hypotheses": {name: words}})
                for each in heard
                if (words := each.hypotheses.get(system)) is not None
            ]
    return found, seconds, short_seconds


def peft(base, arguments, manifests, names):
    """By variant, what PEFT's jobs made of the voices, of those that ended."""
    jobs_of_peft = peft_voices.PeftVoices(
        base, arguments, pathlib.Path(arguments.work_dir, "peft"), manifests
    )
    found, seconds, sizes = {}, {}, {}
    for voice in names:
        learn = "peft" in arguments.parts and is_wanted(arguments, voice)
        for variant in peft_voices.VARIANTS:
            row = jobs_of_peft.run(voice, variant, learn)
            if row:
                found.setdefault(variant, {})[voice] = row["figures"]
                seconds.setdefault(variant, {})[voice] = row["seconds"]
                sizes[variant] = row["num_values"]
    return found, seconds, sizes


def table(names, figures):
    """Prints each recogniser's errors in words and in letters, by voice."""
    systems = list(figures)
    for unit, title in (("wer", "words"), ("cer", "letters")):
        print(f"\nerrors in {title}, % [95 % interval]")
        print(f"{'voice':<18}" + "".join(f"{s:>24}" for s in systems))
        for voice in names:
            cells = [_cell(figures[s].get(voice), unit) for s in systems]
            print(f"{voice:<18}" + "".join(f"{cell:>24}" for cell in cells))


def _cell(row, unit):
    if row is None:
        return "-"
    low, high = row[f"{unit}_interval"]
    return f"{row[unit]:.1f} [{low:.1f}, {high:.1f}]"


def over_peft(names, figures, personal):
    """By voice, the personal error rate over the better of PEFT's two."""
    found = {}
    for voice in names:
        rates = [
            figures[variant][voice]["wer"]
            for variant in peft_voices.VARIANTS
            if voice in figures.get(variant, ())
        ]
        if len(rates) == len(peft_voices.VARIANTS) and min(rates):
            own = figures.get(personal, {}).get(voice)
            if own:
                found[voice] = own["wer"] / min(rates)
    return found


def main():
    arguments = parse()
    spoken = real_speech.voices(arguments)
    manifests = {
        split: real_speech.write(arguments, split, utterances)
        for split, utterances in spoken.items()
    }
    names = sorted({each.speaker for each in spoken["test"]})
    values = jobs.experiment("whisper.Stacked", [])
    base = jobs.load_base(arguments.base, values)
    transcriber, heard = transcription.Transcriber(base), {}
    for voice in names:
        rows = at_30_s(transcriber, arguments, voice, manifests["test"])
        heard.setdefault("at_30_s", []).extend(rows or ())
    found, seconds, short_seconds = submodels(arguments, manifests)
    heard |= found
    figures = {
        system: heard_lib.figures(rows, system)
        for system, rows in heard.items()
        if rows
    }
    found, peft_seconds, sizes = peft(base, arguments, manifests, names)
    figures |= found
    table(names, figures)
    first = arguments.cohorts[0]
    ratios = over_peft(names, figures, f"personal_{first}")
    num_base_values = real_speech.num_base_values(base)
    layout = layouts.of(base.sites, real_speech.experiment(arguments.set))
    totals = [
        sum(each.values())
        for each in peft_seconds.values()
        if set(each) == set(names)
    ]
    # The cheaper of PEFT's two, where every voice has been trained.
    whole = min(totals) if len(totals) == len(peft_voices.VARIANTS) else None
    own = seconds.get(first)
    print(
        json.dumps(
            {
                "base": arguments.base,
                "personal": f"personal_{first}",
                "voices": {
                    voice: {
                        system: rows[voice]
                        for system, rows in figures.items()
                        if voice in rows
                    }
                    | {"over_peft": ratios.get(voice)}
                    for voice in names
                },
                "worst_over_peft": max(ratios.values(), default=None),
                "median_over_peft": (
                    statistics.median(ratios.values()) if ratios else None
                ),
                "voices_over_peft": len(ratios),
                "percent_of_base": 100.0 * layout.num_values / num_base_values,
                "peft_percent_of_base": {
                    name: 100.0 * size / num_base_values
                    for name, size in sizes.items()
                },
                "seconds": own,
                "seconds_by_cohort": seconds,
                "short_base_seconds": short_seconds,
                "peft_seconds": whole,
                "peft_seconds_by_voice": peft_seconds,
                "seconds_ratio": own / whole if own and whole else None,
            }
        )
    )


if __name__ == "__main__":
    main()
