"""Candidates are judged by held-out utterances, each row once."""

import numpy as np

from tasks.asr.enrolment import judging, plan
from tpu.distribute import replicas


class Speech:
    """Utterances of no content."""

    first_block = 0
    heard = 0

    def __init__(self, base):
        self.base = base

    def num_tokens(self, speaker):
        return 8

    def by_bucket(self, speaker, indices):
        return {8: indices}

    def batch(self, items, places, utterances, bucket):
        self.heard += len(items)
        names = ("activations", "activation_paddings", "tokens")
        nothing = np.zeros((places, utterances, 1), np.float32)
        return dict.fromkeys((*names, "token_lengths", "languages"), nothing)


class Base:
    """A base model whose loss is the row."""

    def upper(self, activations, paddings, first_block, functions):
        return functions

    def loss(self, encoded, *rest, languages, functions):
        # A decoder may have sites too.
        assert functions is encoded
        return encoded

    def decode(self, *arguments, **limits):
        raise AssertionError("only losses are asked for")


def test_candidates_that_are_alike_are_judged_once_and_answered_each():
    runs = [
        plan.Run(speaker, speaker, (), held_out, True)
        for speaker, held_out in (("ann", (0, 1)), ("bob", (0,)))
    ]
    speech = Speech(Base())
    judge = judging.Judge(
        lambda rows: rows["weight"],
        speech,
        runs,
        "none",
        3,
        replicas.Replicas(),
    )
    candidates = [
        {"weight": np.array(rows, np.float32)}
        for rows in ([1.0, 2.0], [1.0, 3.0], [4.0, 2.0])
    ]
    found = judge.losses(candidates, {"ann", "bob"})
    assert found == [
        {"ann": {0: 1.0, 1: 1.0}, "bob": {0: 2.0}},
        {"ann": {0: 1.0, 1: 1.0}, "bob": {0: 3.0}},
        {"ann": {0: 4.0, 1: 4.0}, "bob": {0: 2.0}},
    ]
    # Ann's second candidate and bob's third are their first ones.
    assert speech.heard == 6
