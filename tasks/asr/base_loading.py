"""From an experiment's values to a frozen base model."""

from lingvo_like.base_models import base_model, conformer_ctc, text_tokenizers
from lingvo_like.base_models.whisper import model as whisper
from params import bases

Values = bases.Whisper | bases.ConformerCtc


def load(
    values: Values, path: str, compute_dtype: str = "float32"
) -> base_model.BaseModel:
    """Loads the base model of an experiment, frozen.

    Args:
        path: a directory, or for Whisper also the name of a preset.
        compute_dtype: "float32" or "bfloat16"; weights and losses are float32
            in both.

    Raises:
        ValueError: there is no path, the base model contradicts `values`, or
            it is multilingual and they name no language.
    """
    if not path:
        raise ValueError(
            "--base is empty; give the base model's directory, or tiny.en "
            "for the Whisper that comes with the tiny-en extra"
        )
    policy = dtype_policy(compute_dtype)
    if isinstance(values, bases.Whisper):
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


def dtype_policy(compute_dtype: str) -> str | None:
    """Keras's name of the policy for a dtype; None for the default."""
    return "mixed_bfloat16" if compute_dtype == "bfloat16" else None


def create(
    values: Values, compute_dtype: str = "float32"
) -> base_model.BaseModel:
    """A base model of random weights, to be trained from scratch.

    Raises:
        ValueError: `values` are a Whisper's, which comes pretrained.
    """
    if not isinstance(values, bases.ConformerCtc):
        raise ValueError(
            "a Whisper is not trained from scratch here; give --base"
        )
    return conformer_ctc.ConformerCtc(
        **vars(values), dtype=dtype_policy(compute_dtype)
    )


def _check_conformer(values, base, path):
    saved = base.arguments()
    for name, value in vars(values).items():
        found = saved[name]
        same = found == value
        if name == "vocabulary":
            # By content: a base model keeps its own copy of a SentencePiece
            # file.
            wanted = text_tokenizers.load(value)
            same = wanted.description() == base.tokenizer.description()
        if not same:
            raise ValueError(
                f"{path}: the base model has {name} = {found!r}, the "
                f"experiment says {value!r}"
            )
