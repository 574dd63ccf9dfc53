"""From an experiment's values to a frozen base model."""

from lingvo_like.base_models import conformer_ctc, text_tokenizers
from lingvo_like.base_models.whisper import model as whisper
from params import schema


def load(values, path, compute_dtype="float32"):
    """Loads the base model of an experiment, frozen.

    Args:
        values: `schema.Whisper` or `schema.ConformerCtc`.
        path: str, a directory, or for Whisper also the name of a preset.
        compute_dtype: "float32" or "bfloat16"; weights and losses are float32
            in both.

    Returns:
        A `BaseModel` with `trainable` False.

    Raises:
        ValueError: no path, or a base that is not what the values say.
    """
    if not path:
        raise ValueError(
            "--base is empty; give the base model's directory, or tiny.en "
            "for the Whisper that comes with the tiny-en extra"
        )
    policy = dtype_policy(compute_dtype)
    if isinstance(values, schema.Whisper):
        base = whisper.load(
            path,
            audio_context=values.audio_context,
            language=values.language,
            max_tokens=values.max_tokens,
            dtype=policy,
        )
    else:
        changes = {k: getattr(values, k) for k in conformer_ctc.WITHOUT_EFFECT}
        base = conformer_ctc.load(path, dtype=policy, **changes)
        _check_conformer(values, base, path)
    base.trainable = False
    return base


def dtype_policy(compute_dtype):
    """Keras's policy of a base that computes so; None for its default."""
    return "mixed_bfloat16" if compute_dtype == "bfloat16" else None


def create(values, compute_dtype="float32"):
    """A base model of random weights, to be trained from scratch.

    Args:
        values: `schema.ConformerCtc`.
        compute_dtype: as `load`.

    Raises:
        ValueError: a Whisper, which comes pretrained.
    """
    if not isinstance(values, schema.ConformerCtc):
        raise ValueError(
            "a Whisper is not trained from scratch here; give --base"
        )
    return conformer_ctc.ConformerCtc(
        **vars(values), dtype=dtype_policy(compute_dtype)
    )


def save(base, directory):
    """Writes a base model where `load` finds it."""
    if isinstance(base, whisper.Whisper):
        whisper.save_huggingface(base, directory)
    else:
        base.save(directory)


def _check_conformer(values, base, path):
    saved = base.get_config()
    for name, value in vars(values).items():
        found = saved.get(name, value)
        found = tuple(found) if isinstance(found, list) else found
        if name == "vocabulary":
            # By what it is: a base model keeps a copy of a SentencePiece file.
            same = (
                text_tokenizers.load(value).description()
                == base.tokenizer.description()
            )
        else:
            same = found == value
        if not same:
            raise ValueError(
                f"{path}: the base model has {name} = {found!r}, the "
                f"experiment says {value!r}"
            )
