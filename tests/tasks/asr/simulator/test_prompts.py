"""The grammar, and which phrases a speaker is tested on."""

import pytest

from tasks.asr.simulator import prompts, voices


def draw(*counts, seed=0):
    return prompts.draw(voices.stream(seed), *counts)


def texts(drawn, split):
    return [text for text, of in drawn if of == split]


def test_grammar_has_at_least_300_distinct_phrases():
    assert len(set(prompts.phrases())) == len(prompts.phrases()) >= 300


def test_held_out_phrases_are_never_said_in_training():
    drawn = draw(70, 5, 15)
    train, dev, test = (texts(drawn, s) for s in ("train", "dev", "test"))
    assert (len(train), len(dev), len(test)) == (50, 5, 15)
    assert len({*train, *dev, *test}) == 70


def test_held_out_phrases_stay_unseen_when_the_training_ones_run_out():
    drawn = draw(1000, 5, 15)
    train = texts(drawn, "train")
    assert len(train) == 980 > len(set(train))
    assert not set(train) & {*texts(drawn, "dev"), *texts(drawn, "test")}


def test_more_utterances_only_add_training_ones():
    assert draw(100, 5, 15)[:70] == draw(70, 5, 15)


def test_another_stream_draws_other_phrases():
    assert draw(70, 5, 15, seed=1) != draw(70, 5, 15)


@pytest.mark.parametrize("counts", [(20, 5, 15), (1000, 200, 168)])
def test_nothing_left_to_train_on_is_refused(counts):
    with pytest.raises(ValueError, match="leave none to train on"):
        draw(*counts)
