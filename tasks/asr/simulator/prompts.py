"""The phrases of simulated speakers: a small home-automation grammar.

The words of rooms and things recur in many phrases, so that a phrase which a
speaker never said in training is mostly made of words that they did say.
"""

import itertools

import numpy as np

_LIGHTS = (
    "kitchen lights",
    "bedroom lights",
    "bathroom lights",
    "garden lights",
)
_SWITCHED = ("radio", "television", "heater", "bathroom fan")
_OPENED = (
    "kitchen window",
    "bedroom window",
    "front door",
    "garage",
    "garden gate",
    "curtains",
)
_COMMANDS = (
    (("turn on", "turn off", "dim", "check"), _LIGHTS),
    (("turn on", "turn off", "check"), _SWITCHED),
    (("open", "close", "check"), _OPENED),
)
_TAILS = (
    "",
    "now",
    "please",
    "tonight",
    "in the morning",
    "now please",
    "tonight please",
    "in the morning please",
)


def phrases() -> list[str]:
    """All 368 phrases, lower case without punctuation, in a fixed order."""
    return [
        " ".join(part for part in (verb, "the", thing, tail) if part)
        for verbs, things in _COMMANDS
        for verb, thing, tail in itertools.product(verbs, things, _TAILS)
    ]


def words() -> list[str]:
    """Every word of the grammar, sorted."""
    return sorted({word for phrase in phrases() for word in phrase.split()})


def draw(
    rng: np.random.Generator, num_utterances: int, num_dev: int, num_test: int
) -> list[tuple[str, str]]:
    """Draws one speaker's phrases; those of dev and test are held out.

    Test and dev are drawn first, so that asking for more utterances only
    adds training ones. When the training phrases run out they are said again.

    Args:
        rng: the speaker's own.
        num_utterances: dev and test among them.
        num_dev, num_test: each of another phrase.

    Returns:
        texts, each with its split.

    Raises:
        ValueError: dev and test leave no utterance or no phrase to train on.
    """
    texts = phrases()
    held_out = num_dev + num_test
    limit = min(num_utterances, len(texts))
    if held_out >= limit:
        raise ValueError(
            f"{num_dev} dev and {num_test} test utterances leave none to "
            f"train on: a speaker has {num_utterances} utterances of "
            f"{len(texts)} phrases. Lower --dev_utterances or "
            "--test_utterances, or raise --utterances_per_speaker."
        )
    texts = [texts[index] for index in rng.permutation(len(texts))]
    training = itertools.cycle(texts[held_out:])
    return (
        [(text, "test") for text in texts[:num_test]]
        + [(text, "dev") for text in texts[num_test:held_out]]
        + [(next(training), "train") for _ in range(num_utterances - held_out)]
    )
