"""Makes Submodels for new speakers from a few utterances of each.

There are three ways, from the least data to the most: what the speaker encoder
predicts (zero_shot), an embedding that is learned while base and basis stay as
they are (embedding), and a whole Submodel that learns on from there (full). A
speaker keeps what does best on utterances that it was not learned from, or
nothing where that is the base model.
"""

from collections import abc

from lingvo_like.base_models import base_model
from lingvo_like.space import file as space_file
from lingvo_like.submodel import heard
from tasks.asr.data import preparation
from tasks.asr.enrolment import baselines, job, plan, results
from tpu.distribute import replicas as replicas_lib


def enrol(
    space: space_file.Space,
    base: base_model.BaseModel,
    train: abc.Mapping[str, preparation.SpeakerUtterances],
    dev: abc.Mapping[str, preparation.SpeakerUtterances] | None = None,
    mode: str = plan.AUTO,
    values: plan.Values | None = None,
    replicas: replicas_lib.Replicas | None = None,
    cohorts: abc.Mapping[str, baselines.Baseline | None] | None = None,
) -> list[results.Enrolled]:
    """Enrols speakers; nothing is written.

    Args:
        train: dict of speaker to the utterances to learn from.
        dev: dict of speaker to utterances to be judged by. A speaker who has
            none is judged by folds: by what the utterances lose when they are
            left out.
        mode: one of `plan.MODES`, or "auto" for the best of them.
        replicas: the replicas that the base was made on; those of this process
            share the work. None for one.
        cohorts: see `job.Job`.

    Returns:
        what each speaker got, in the order of `train`.

    Raises:
        ValueError: there is no speaker or one without an utterance, the space
            is of another base model, or it cannot do what `mode` asks for.
    """
    found, wanted = base.fingerprint(), space.metadata.base_fingerprint
    if found != wanted:
        raise ValueError(
            f"the space is of another base model ({wanted[:12]}) than the one "
            f"given ({found[:12]}); give its own as the base"
        )
    values = values or plan.Values()
    plan.check_mode(mode, bool(space.encoder))
    if not train:
        raise ValueError("nobody to enrol")
    for speaker, data in train.items():
        if not data.utterances:
            raise ValueError(f"speaker {speaker!r} has no usable utterance")
    replicas = replicas or replicas_lib.Replicas()
    enrolled = []
    # A job keeps the activations of all its speakers in memory.
    count = values.speakers_per_job
    for start in range(0, len(train), count):
        some = dict(list(train.items())[start : start + count])
        made = job.Job(
            space, base, some, dev or {}, mode, values, replicas, cohorts
        )
        enrolled += [_conclude(made, *each) for each in made.run().items()]
    return enrolled


def _conclude(made, speaker, candidates):
    """The speaker's best candidate, or none where the base is as good."""
    judgements = {mode: each.judgement for mode, each in candidates.items()}
    base = judgements[results.BASE]
    # A cohort is kept where nobody asked for something of the speaker's own.
    beside = {results.BASE}
    if made.mode != plan.AUTO:
        beside.add(results.COHORT)
    tried = [each for mode, each in candidates.items() if mode not in beside]
    better = [each for each in tried if each.judgement.improves(base)]
    best = min(better or tried, key=lambda each: each.judgement.rank)
    utterances = made.train[speaker].utterances
    cohort = made.cohorts[speaker]
    # Those to be judged by follow those to learn from.
    known = made.data[speaker].utterances
    return results.Enrolled(
        speaker=speaker,
        mode=best.mode if better else "",
        tensors=made.tensors(best) if better else None,
        embedding=best.embedding,
        step=best.step if better else 0,
        evidence=made.evidence[speaker],
        judgements=judgements,
        language=made.train[speaker].language,
        num_utterances=len(utterances),
        seconds_of_speech=sum(u.duration for u in utterances),
        warnings=results.warnings(
            base, best.judgement, {i: known[i].utt_id for i in base.losses}
        ),
        heard=heard.keys(
            each.sha256 for each in utterances if best.mode != results.COHORT
        ),
        cohort=cohort.title if cohort else "",
        started_from=(
            cohort.started_from
            if cohort and best.mode == results.COHORT
            else {}
        ),
    )
