"""Values that no training can run with, refused before it begins."""

import functools

from tasks.asr.data import text

# Name, smallest value, and the value to stay below (None: no limit).
_RANGES = (
    ("adapter.bottleneck_dim", 1, None),
    ("adapter.dropout_rate", 0.0, 1.0),
    ("space.embedding_dim", 0, None),
    ("space.initial_scale", 0.0, None),
    ("space.learning_rate", 0.0, None),
    ("space.weight_decay", 0.0, None),
    ("space.element_dropout_rate", 0.0, 1.0),
    ("space.speaker_dropout_rate", 0.0, 1.0),
    ("space.prediction_rate", 0.0, 1.0),
    ("space.encoder_dim", 1, None),
    ("space.encoder_learning_rate", 0.0, None),
    ("optimizer.learning_rate", 0.0, None),
    ("optimizer.warmup_steps", 0, None),
    ("optimizer.beta_1", 0.0, 1.0),
    ("optimizer.beta_2", 0.0, 1.0),
    # At zero a tensor without a gradient is divided by nothing.
    ("optimizer.epsilon", 1e-30, None),
    ("optimizer.weight_decay", 0.0, None),
    ("optimizer.clip_norm", 0.0, None),
    ("augment.num_freq_masks", 0, None),
    ("augment.freq_mask_max_bins", 0, None),
    ("augment.num_time_masks", 0, None),
    ("augment.time_mask_max_frames", 0, None),
    ("train.num_steps", 0, None),
    ("train.speakers_per_step", 1, None),
    ("train.utterances_per_speaker", 1, None),
    ("train.resident_speakers", 0, None),
    ("train.steps_per_call", 1, None),
    ("train.eval_every_steps", 1, None),
    ("train.patience", 0, None),
    ("train.checkpoint_every_seconds", 0, None),
    ("train.min_utterances", 0, None),
    ("text.target_word_error_rate", 0.0, None),
    ("base_training.num_steps", 0, None),
    ("base_training.utterances_per_step", 1, None),
    ("base_training.learning_rate", 0.0, None),
    ("base_training.warmup_steps", 0, None),
    ("base_training.weight_decay", 0.0, None),
    ("base_training.clip_norm", 0.0, None),
    ("base_training.eval_every_steps", 1, None),
)

_CONTEXT_SHORTENING_RANGES = (
    ("num_steps", 1, None),
    ("utterances_per_step", 1, None),
    ("learning_rate", 0.0, None),
    ("warmup_steps", 0, None),
    ("max_extra_seconds", 0.0, None),
)

# Written out here, since the modules that mean them load TensorFlow.
CHOICES = {
    "space.normalization": ("none", "softmax", "unit"),
    "space.initializer": ("noise", "stack", "encoder", "space"),
    "optimizer.decay": ("constant", "linear", "cosine"),
    "train.compute_dtype": ("float32", "bfloat16"),
    "train.submodel_dtype": ("float32", "float16"),
}


def check(experiment):
    """Checks the values of a `schema.Experiment`.

    Raises:
        ValueError: names the value, what it must be and what came.
    """
    _check_ranges(experiment, _RANGES)
    for name, choices in CHOICES.items():
        if _value(experiment, name) not in choices:
            raise ValueError(
                f"`{name}` must be one of {', '.join(choices)}. "
                f"Received: {_value(experiment, name)!r}."
            )
    _check_space(experiment.space)
    _check_residents(experiment)
    factors = experiment.augment.speed_factors
    # Beyond these a resampled voice is nobody's; zero has no length at all.
    if not factors or not all(0.1 <= factor <= 10 for factor in factors):
        raise ValueError(
            "`augment.speed_factors` must be factors from 0.1 to 10, such as "
            f"0.9,1.0,1.1. Received: {factors}."
        )
    _check_cache(experiment)
    text.normalize("", experiment.text.normalizer)


def check_context_shortening(values):
    """Checks the values of a `schema.ContextShortening`; see `check`."""
    _check_ranges(values, _CONTEXT_SHORTENING_RANGES)


def _check_ranges(values, ranges):
    for name, lowest, limit in ranges:
        value = _value(values, name)
        if value < lowest or (limit is not None and value >= limit):
            below = "" if limit is None else f" and below {limit}"
            raise ValueError(
                f"`{name}` must be at least {lowest}{below}. Received: {value}."
            )


def _value(experiment, name):
    return functools.reduce(getattr, name.split("."), experiment)


def _check_space(space):
    if not space.embedding_dim:
        if space.speaker_encoder or space.initializer != "noise":
            raise ValueError(
                "`space.speaker_encoder` and `space.initializer` are of a "
                "space: they need `space.embedding_dim`. Received: 0."
            )
        return
    if not space.initial_scale:
        raise ValueError(
            "`space.initial_scale` must be positive: embeddings of zero never "
            f"learn. Received: {space.initial_scale}."
        )
    if space.initializer == "stack" and space.normalization != "none":
        raise ValueError(
            "`space.initializer=stack` writes Submodels as plain sums, so it "
            "needs `space.normalization=none`. "
            f"Received: {space.normalization!r}."
        )
    if space.initializer == "encoder" and not space.speaker_encoder:
        raise ValueError(
            "`space.initializer=encoder` needs `space.speaker_encoder=true`."
        )


def _check_residents(experiment):
    residents = experiment.train.resident_speakers
    if not residents:
        return
    if experiment.space.embedding_dim:
        raise ValueError(
            "`train.resident_speakers` is of slots: the speakers of a space "
            "share its basis, and learn it together. Set one of it and "
            f"`space.embedding_dim` to 0. Received: {residents} and "
            f"{experiment.space.embedding_dim}."
        )
    if residents < experiment.train.speakers_per_step:
        raise ValueError(
            "`train.resident_speakers` must be at least "
            "`train.speakers_per_step`, the speakers of one step, or 0. "
            f"Received: {residents} and {experiment.train.speakers_per_step}."
        )


def _check_cache(experiment):
    augment = experiment.augment
    if experiment.train.cache_activations and (
        augment.num_freq_masks
        or augment.num_time_masks
        or set(augment.speed_factors) != {1.0}
    ):
        raise ValueError(
            "`train.cache_activations` keeps what unchanged recordings give, "
            "so it needs `augment.speed_factors=1.0`, "
            "`augment.num_freq_masks=0` and `augment.num_time_masks=0`. "
            f"Received: {augment.speed_factors}, {augment.num_freq_masks} and "
            f"{augment.num_time_masks}."
        )
