"""Makes Submodels for new speakers from a few utterances of each.

Three ways, from the least data to the most: what the speaker encoder predicts
(zero_shot), an embedding that is learned while base and basis stay as they are
(embedding), and a whole Submodel that goes on from there (full). All speakers
of a call share one job, in which each depends on its own utterances alone; a
speaker keeps what does best on utterances it was not learned from, or nothing,
where that is the base model.
"""

import dataclasses

from tasks.asr.enrolment import job as enrolment_job
from tasks.asr.enrolment import judging as enrolment_judging
from tasks.asr.enrolment import plan as enrolment_plan
from tpu.distribute import replicas as replicas_lib

BASE = "base"


@dataclasses.dataclass(frozen=True, eq=False)
class Enrolled:
    """What became of one speaker.

    Attributes:
        speaker: str.
        mode: str, one of `enrolment_plan.MODES`; "" where nothing improves on
            the base model (`Judgement.improves`), and there are no tensors.
        tensors: dict of name to float32 array, or None.
        embedding: tuple of floats, where the Submodel starts from or is.
        step: int, of the mode.
        evidence: "dev", "folds" (leave-one-out or so) or "own" (a single
            utterance, judged by itself).
        judgements: dict of mode, and "base", to `Judgement`.
        num_utterances: int, learned from.
        seconds_of_speech: float.
        warnings: tuple of str.
    """

    speaker: str
    mode: str
    tensors: dict | None
    embedding: tuple
    step: int
    evidence: str
    judgements: dict
    num_utterances: int
    seconds_of_speech: float
    warnings: tuple

    @property
    def best(self):
        """The `Judgement` of what the speaker keeps, the base's if nothing."""
        return self.judgements[self.mode or BASE]

    def summary(self):
        """JSON-able dict, without the tensors."""
        return {
            "speaker": self.speaker,
            "mode": self.mode,
            "evidence": self.evidence,
            "step": self.step,
            "num_utterances": self.num_utterances,
            "seconds_of_speech": round(self.seconds_of_speech, 3),
            "word_error_rate": {
                name: each.word_error_rate
                for name, each in self.judgements.items()
            },
            "loss": {name: j.loss for name, j in self.judgements.items()},
            "warnings": list(self.warnings),
        }


def enrol(
    space, base, train, dev=None, mode="auto", values=None, replicas=None
):
    """Enrols speakers in one batched job.

    Args:
        space: `space.Space`, of this base model.
        base: frozen `BaseModel`.
        train: dict of speaker to `SpeakerUtterances` to learn from.
        dev: the same, to be judged by; speakers may be missing, who are then
            judged by what each of their utterances loses when left out.
        mode: one of `enrolment_plan.MODES`, or "auto".
        values: `enrolment_plan.Values`.
        replicas: `Replicas` that the base was made on; None for one. Those of
            this process share the work.

    Returns:
        list of `Enrolled`, in the order of `train`. Nothing is written.

    Raises:
        ValueError: no speaker, one without an utterance, a space of another
            base model, a mode that it cannot do, or values that make no
            sense.
    """
    _check_base(space, base)
    values = values or enrolment_plan.Values()
    enrolment_plan.check(values)
    enrolment_plan.check_mode(mode, bool(space.encoder))
    if not train:
        raise ValueError("nobody to enrol")
    for speaker, data in train.items():
        if not data.utterances:
            raise ValueError(f"speaker {speaker!r} has no usable utterance")
    speakers = list(train)
    result = []
    # A job of its own for so many: their activations are kept in memory.
    for start in range(0, len(speakers), values.speakers_per_job):
        some = speakers[start : start + values.speakers_per_job]
        job = enrolment_job.Job(
            space,
            base,
            {speaker: train[speaker] for speaker in some},
            dev or {},
            mode,
            values,
            replicas or replicas_lib.Replicas(),
        )
        candidates = job.run()
        result += [_conclude(job, each, candidates[each]) for each in some]
    return result


def _check_base(space, base):
    found, wanted = base.fingerprint(), space.metadata.base_fingerprint
    if found != wanted:
        raise ValueError(
            f"the space is of another base model ({wanted[:12]}) than the one "
            f"given ({found[:12]}); give its own as the base"
        )


def _conclude(job, speaker, candidates):
    """The speaker's best candidate, or none where the base is as good."""
    base = candidates[BASE]
    tried = [each for mode, each in candidates.items() if mode != BASE]
    better = [c for c in tried if c.judgement.improves(base.judgement)]
    best = min(better or tried, key=lambda each: each.judgement.rank)
    keeps = bool(better)
    data, utterances = job.data(speaker), job.train(speaker).utterances
    return Enrolled(
        speaker=speaker,
        mode=best.mode if keeps else "",
        tensors=job.tensors(best) if keeps else None,
        embedding=best.embedding,
        step=best.step if keeps else 0,
        evidence=job.evidence(speaker),
        judgements={mode: c.judgement for mode, c in candidates.items()},
        num_utterances=len(utterances),
        seconds_of_speech=sum(u.duration for u in utterances),
        warnings=enrolment_judging.warnings(
            base.judgement,
            best.judgement,
            {i: data.utterances[i].utt_id for i in base.judgement.losses},
        ),
    )
