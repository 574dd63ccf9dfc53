"""Base models that were never trained, to compile programs with."""

from lingvo_like import hyperparams
from lingvo_like.base_models import base_model
from lingvo_like.base_models.whisper import architecture, model as whisper
from params import bases
from tasks.asr import base_loading

# Radford et al. 2022, table 1, and the configurations that OpenAI published
# for large-v3 and its fast variant: width, heads, encoder and decoder blocks.
_SIZES = {
    "tiny": (384, 6, 4, 4),
    "base": (512, 8, 6, 6),
    "small": (768, 12, 12, 12),
    "medium": (1024, 16, 24, 24),
    "large-v3": (1280, 20, 32, 32),
    "large-v3-turbo": (1280, 20, 32, 4),
}
WHISPER_SIZES = (
    *(f"{name}.en" for name in ("tiny", "base", "small", "medium")),
    *_SIZES,
)


class _Tokens:
    """The part of a tokenizer that programs use: ids, and no text."""

    languages = ("en",)

    def __init__(self, prompt: tuple[int, ...], end_of_text: int):
        self.prompts = [list(prompt)]
        self.end_of_text = end_of_text
        self.suppressed = [end_of_text + 1]
        self.suppressed_first = [end_of_text]


def whisper_dimensions(size: str) -> architecture.Dimensions:
    """The dimensions of a published Whisper such as "tiny.en".

    Raises:
        ValueError: no Whisper has that name; the message suggests close ones.
    """
    if size not in WHISPER_SIZES:
        raise ValueError(
            f"unknown size of Whisper {size!r}. "
            f"{hyperparams.did_you_mean(size, WHISPER_SIZES)}"
        )
    name = size.removesuffix(".en")
    width, heads, blocks, decoder_blocks = _SIZES[name]
    large = name.startswith("large")
    vocabulary = 51864 if size.endswith(".en") else 51866 if large else 51865
    return architecture.Dimensions(
        num_bins=128 if large else 80,
        model_dim=width,
        num_heads=heads,
        num_blocks=blocks,
        num_decoder_blocks=decoder_blocks,
        feed_forward_dim=4 * width,
        vocabulary_size=vocabulary,
    )


def make(
    values: base_loading.Values,
    whisper_size: str,
    compute_dtype: str = "float32",
) -> base_model.BaseModel:
    """A frozen base model with random weights, which computes as a trained one.

    A Whisper has no tokenizer: it gives tokens and no text.

    Args:
        values: the base model of an experiment.
        whisper_size: one of `WHISPER_SIZES`. Its checkpoint, not its
            experiment, decides the size of a Whisper.
    """
    if isinstance(values, bases.Whisper):
        english = whisper_size.endswith(".en")
        base = whisper.Whisper(
            whisper_dimensions(whisper_size),
            # No text is made here, so this part of a tokenizer is enough.
            _Tokens((50257, 50362), 50256)  # pyright: ignore
            if english
            else _Tokens((50258, 50259, 50360, 50364), 50257),
            audio_context=values.audio_context,
            dtype=base_loading.dtype_policy(compute_dtype),
        )
    else:
        base = base_loading.create(values, compute_dtype)
    base.trainable = False
    return base


def load_or_make(
    values: base_loading.Values,
    path: str,
    whisper_size: str,
    compute_dtype: str = "float32",
) -> base_model.BaseModel:
    """The base model at a path; if it is empty, see `make`."""
    if path:
        return base_loading.load(values, path, compute_dtype)
    return make(values, whisper_size, compute_dtype)
