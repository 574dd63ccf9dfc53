"""Every experiment that a binary can be told to run, by name.

A new experiment is a class in a module of this folder and a line here.
"""

from lingvo_like import hyperparams
from params import conformer, whisper

EXPERIMENTS = {
    "conformer.LibriSpeechL": conformer.LibriSpeechL,
    "conformer.LibriSpeechL128": conformer.LibriSpeechL128,
    "conformer.LibriSpeechM": conformer.LibriSpeechM,
    "conformer.LibriSpeechS": conformer.LibriSpeechS,
    "conformer.Tiny": conformer.Tiny,
    "conformer.TinyEmbedding": conformer.TinyEmbedding,
    "whisper.Demo": whisper.Demo,
    "whisper.ShortEmbedding16": whisper.ShortEmbedding16,
    "whisper.ShortEmbedding16Encoder": whisper.ShortEmbedding16Encoder,
    "whisper.ShortEmbedding32": whisper.ShortEmbedding32,
    "whisper.ShortEmbedding64": whisper.ShortEmbedding64,
    "whisper.ShortEmbedding8": whisper.ShortEmbedding8,
    "whisper.ShortStacked": whisper.ShortStacked,
    "whisper.Stacked": whisper.Stacked,
}


def get(name):
    """The experiment registered under a name.

    Returns:
        an instance of a `schema.Experiment`, with its own values.

    Raises:
        ValueError: none has that name; near ones are listed.
    """
    if name not in EXPERIMENTS:
        raise ValueError(
            f"unknown experiment {name!r}. "
            f"{hyperparams.did_you_mean(name, EXPERIMENTS)}"
        )
    return EXPERIMENTS[name]()


def describe():
    """A line for each experiment: its name and its docstring's first line."""
    width = max(map(len, EXPERIMENTS), default=0)
    return "\n".join(
        f"{name:<{width}}  {cls.__doc__.strip().splitlines()[0]}"
        for name, cls in sorted(EXPERIMENTS.items())
    )
