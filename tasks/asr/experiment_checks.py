"""Values that no training can run with, refused before it begins."""

import functools

from tasks.asr import text

# Name, smallest value, and the value to stay below (None: no limit).
_RANGES = (
    ("adapter.bottleneck_dim", 1, None),
    ("adapter.dropout_rate", 0.0, 1.0),
    ("optimizer.learning_rate", 0.0, None),
    ("optimizer.warmup_steps", 0, None),
    ("optimizer.beta_1", 0.0, 1.0),
    ("optimizer.beta_2", 0.0, 1.0),
    ("optimizer.weight_decay", 0.0, None),
    ("optimizer.clip_norm", 0.0, None),
    ("augment.num_freq_masks", 0, None),
    ("augment.freq_mask_max_bins", 0, None),
    ("augment.num_time_masks", 0, None),
    ("augment.time_mask_max_frames", 0, None),
    ("train.num_steps", 0, None),
    ("train.speakers_per_step", 1, None),
    ("train.utterances_per_speaker", 1, None),
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


def check(experiment):
    """Checks the values of a `schema.Experiment`.

    Raises:
        ValueError: names the value, what it must be and what came.
    """
    for name, lowest, limit in _RANGES:
        value = functools.reduce(getattr, name.split("."), experiment)
        if value < lowest or (limit is not None and value >= limit):
            below = "" if limit is None else f" and below {limit}"
            raise ValueError(
                f"`{name}` must be at least {lowest}{below}. Received: {value}."
            )
    factors = experiment.augment.speed_factors
    # Beyond these a resampled voice is nobody's; zero has no length at all.
    if not factors or not all(0.1 <= factor <= 10 for factor in factors):
        raise ValueError(
            "`augment.speed_factors` must be factors from 0.1 to 10, such as "
            f"0.9,1.0,1.1. Received: {factors}."
        )
    _check_cache(experiment)
    text.normalize("", experiment.text.normalizer)


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
