"""Error rates of `tests.benchmarks.enrolment`."""

import dataclasses
import functools
import json
import pathlib

import numpy as np

from lingvo_like.space import file as space_file
from lingvo_like.submodel import file as submodel_file
from tasks.asr.data import inspection
from tasks.asr.enrolment import job as job_lib, plan, recordings
from tasks.asr.training import model_directory
from tests.benchmarks import jobs
from tpu.distribute import replicas

ENROLLED = ("zero_shot", "embedding", "full")
SCRATCH = "scratch"


def load(arguments, run):
    """The space of a run, its experiment's values and the base model."""
    space = space_file.load(model_directory.ModelDirectory(str(run)).space)
    values = jobs.experiment(arguments.experiment, arguments.set)
    return space, values, jobs.load_base(arguments.base, values)


def curve(arguments, folder, run):
    """New speakers against the number of their utterances.

    Whom a mode serves no better keeps the base model, as a user would. All
    modes of a count are tried in one job, so that utterances are padded as
    for `full`, whose lengths are rounded up to less.
    """
    space, values, base = load(arguments, run)
    train, _, _ = recordings.read(
        base, values, str(folder / "train.jsonl"), "", [], 0.3
    )
    test = jobs.test_data(base, folder / "test.jsonl", list(train))
    layout = space.layout
    identity = layout.unpack(np.zeros(layout.num_values, np.float32))
    kept = _Kept(arguments, space, base)
    rows = [
        kept.row(
            "base",
            0,
            lambda: _row("base", 0, _errors(base, test, layout, {}, identity)),
        ),
        # What all have in common: the rest is what a speaker's own adds.
        kept.row(
            "mean",
            0,
            lambda: _row(
                "mean",
                0,
                _errors(
                    base,
                    test,
                    layout,
                    dict.fromkeys(
                        train, space.materialise(space.mean_embedding)
                    ),
                    identity,
                ),
            ),
        ),
    ]
    for count in arguments.counts:
        few = {speaker: first(data, count) for speaker, data in train.items()}
        modes = _Modes(space, base, few)

        def measure(mode, count=count, few=few, modes=modes):
            if mode == SCRATCH:
                found = _scratch(arguments, base, folder, few, count)
            else:
                found = modes.better_than_base(mode)
            errors = _errors(base, test, layout, found, identity)
            return _row(mode, count, errors) | {
                "refused": len(few) - len(found)
            }

        for mode in (*ENROLLED, SCRATCH):
            if mode == "zero_shot" and not space.encoder:
                continue
            rows.append(kept.row(mode, count, functools.partial(measure, mode)))
            print(line(rows[-1]), flush=True)
    return {"curve": rows, "data_ratio": data_ratio(rows)}


class _Modes:
    """Enrols some speakers in every mode, in one job for all of them."""

    def __init__(self, space, base, few):
        self._arguments = {"space": space, "base": base, "train": few}

    @functools.cached_property
    def _job(self):
        return job_lib.Job(
            **self._arguments,
            dev={},
            mode=plan.AUTO,
            values=plan.Values(full_min_utterances=1),
            replicas=replicas.Replicas(),
        )

    @functools.cached_property
    def _found(self):
        return self._job.run()

    def better_than_base(self, mode):
        """Tensors of each speaker whom the mode serves better."""
        return {
            speaker: self._job.tensors(candidates[mode])
            for speaker, candidates in self._found.items()
            if candidates[mode].judgement.improves(candidates["base"].judgement)
        }


class _Kept:
    """Rows in the work folder, so that a curve that was cut off goes on."""

    def __init__(self, arguments, space, base):
        self._path = pathlib.Path(arguments.work_dir) / "curve.json"
        self._settings = {
            "space": space.metadata.sha256,
            "base": base.fingerprint(),
            "set": arguments.set,
            "scratch_steps": arguments.scratch_steps,
            "slots": arguments.slots,
        }
        # Rows of other values of the enrolment are measured again.
        self._enrolment = dataclasses.asdict(plan.Values())
        self._rows = {}
        if self._path.exists():
            found = json.loads(self._path.read_text())
            if found["settings"] == self._settings:
                self._rows = found["rows"]

    def row(self, mode, count, measure):
        """The row of a mode and a count, measured unless it is here."""
        key = f"{mode} {count}"
        values = self._enrolment if mode in ENROLLED else None
        found = self._rows.get(key, {"values": None})
        if "row" not in found or found["values"] != values:
            self._rows[key] = {"values": values, "row": measure()}
            self._path.write_text(
                json.dumps({"settings": self._settings, "rows": self._rows})
            )
        return self._rows[key]["row"]


def data_ratio(rows):
    """How many times fewer utterances the space needs for the same errors.

    The error rate is that of a slot from scratch with 20 utterances; None
    where it is not measured, or nothing from the space reaches it.
    """
    wanted = [
        row["word_error_rate"]
        for row in rows
        if (row["mode"], row["utterances"]) == (SCRATCH, 20)
    ]
    enough = [
        row["utterances"]
        for row in rows
        if wanted
        and row["mode"] in ("embedding", "full")
        and row["word_error_rate"] <= wanted[0]
    ]
    return 20 / min(enough) if enough else None


def training(arguments, folder, runs):
    """The space's own speakers: their embedding against a slot each.

    Args:
        folder: of the speakers' manifests.
        runs: dict of name to the run of slots or of a space, of the same
            steps.
    """
    values = jobs.experiment(arguments.slots, arguments.set)
    base = jobs.load_base(arguments.base, values)
    speakers = sorted(
        {u.speaker for u in inspection.read(folder / "train.jsonl")[0]}
    )
    test = jobs.test_data(base, folder / "test.jsonl", speakers)
    rows = [_row("base", 0, jobs.word_errors(base, test))]
    for name, run in runs.items():
        directory = model_directory.ModelDirectory(str(run))
        layout, kept, stored = _submodels(directory, speakers)
        errors = _errors(base, test, layout, kept, None)
        rows.append(
            _row(name, arguments.train_utterances, errors)
            | {"values_per_speaker": stored}
        )
    for row in rows:
        print(line(row), flush=True)
    return {"training": rows}


def _submodels(directory, speakers):
    """A run's layout, its speakers' tensors and how many values each stores.

    Of a space, what its embeddings stand for at the end: a file that the run
    wrote is of the basis as it was at the speaker's best step.
    """
    if pathlib.Path(directory.space).exists():
        space = space_file.load(directory.space)
        return (
            space.layout,
            {s: space.materialise(space.embedding(s)) for s in speakers},
            space.embedding_dim,
        )
    loaded = {s: submodel_file.load(directory.submodel(s)) for s in speakers}
    layout = loaded[speakers[0]].layout
    tensors = {s: each.tensors for s, each in loaded.items()}
    return layout, tensors, layout.num_values


def first(data, count):
    """A speaker's first utterances."""
    return dataclasses.replace(data, utterances=data.utterances[:count])


def _scratch(arguments, base, folder, few, count):
    """Full slots of their own, from nothing: dict of speaker to tensors."""
    values = jobs.with_train(
        jobs.experiment(arguments.slots, arguments.set),
        num_steps=arguments.scratch_steps,
        # Without dev speech the last weights count.
        eval_every_steps=arguments.scratch_steps,
    )
    corpus = jobs.prepare(base, values, folder)
    train = {
        slot: dataclasses.replace(few[data.speaker], slot=slot)
        for slot, data in corpus.train.items()
    }
    job = jobs.Job(
        base,
        values,
        dataclasses.replace(corpus, train=train),
        pathlib.Path(arguments.work_dir) / f"scratch_{count}",
    )
    job.trainer.run()
    return {speaker: job.tensors(speaker) for speaker in corpus.speakers}


def _errors(base, test, layout, kept, identity):
    """(errors, words) of each speaker under what was kept of them."""
    speakers = [data.speaker for data in test.values()]
    tensors = {}
    for speaker in speakers:
        found = kept.get(speaker)
        tensors[speaker] = identity if found is None else found
    adapters = jobs.stack_of(base, tensors, speakers, layout)
    return jobs.word_errors(base, test, adapters, title="test")


def _row(mode, utterances, totals, num_bootstrap=1000):
    """One figure and its 95 % interval, over speakers drawn again."""
    counts = np.array(list(totals.values()), float)
    draw = np.random.default_rng(0)
    drawn = counts[
        draw.integers(len(counts), size=(num_bootstrap, len(counts)))
    ].sum(axis=1)
    rates = drawn[:, 0] / drawn[:, 1]
    return {
        "mode": mode,
        "utterances": utterances,
        "word_error_rate": jobs.rate(totals),
        "interval": [100 * float(x) for x in np.percentile(rates, (2.5, 97.5))],
        "errors_and_words": {s: list(each) for s, each in totals.items()},
    }


def line(row):
    """A row as text."""
    low, high = row["interval"]
    refused = f"  {row['refused']} kept the base" if row.get("refused") else ""
    return (
        f"{row['mode']:<24} {row['utterances']:>3} utterances  "
        f"{row['word_error_rate']:6.1f} % [{low:.1f}, {high:.1f}]{refused}"
    )
