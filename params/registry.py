"""Every experiment that a binary can run, by name."""

from lingvo_like import hyperparams
from params import conformer, schema, whisper

EXPERIMENTS: dict[str, type[schema.Experiment]] = {
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
    "whisper.ShortAdapters": whisper.ShortAdapters,
    "whisper.Stacked": whisper.Stacked,
}

# Suits a laptop: an utterance costs its own length.
DEFAULT = "whisper.ShortStacked"


def get(name: str) -> schema.Experiment:
    """The experiment of a name, with its own values.

    Raises:
        ValueError: the name is unknown; the message lists similar ones.
    """
    if name not in EXPERIMENTS:
        raise ValueError(
            f"unknown experiment {name!r}. "
            f"{hyperparams.did_you_mean(name, EXPERIMENTS)}"
        )
    return EXPERIMENTS[name]()


def describe() -> str:
    """A line for each experiment: its name and its docstring's first line."""
    width = max(map(len, EXPERIMENTS), default=0)
    return "\n".join(
        f"{name:<{width}}  {(cls.__doc__ or '').strip().splitlines()[0]}"
        for name, cls in sorted(EXPERIMENTS.items())
    )
