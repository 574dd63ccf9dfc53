"""The audio context of a Whisper: 30 s, or short, as long as the utterance."""

from lingvo_like.base_models.whisper import frontend

DEFAULT_TAIL_SECONDS = 0.5


def padded_samples(
    num_samples: int, max_samples: int, audio_context: str, tail_samples: int
) -> int:
    """The length that a Whisper pads an utterance to, in samples.

    Args:
        max_samples: of 30 s.
        tail_samples: least silence after an utterance of a short context.
    """
    if audio_context == "full":
        return max_samples
    seconds = -(-(num_samples + tail_samples) // frontend.SAMPLE_RATE)
    return min(seconds * frontend.SAMPLE_RATE, max_samples)


def for_weights(
    path: str, made_for: str, asked: str | None, allow_unshortened: bool
) -> str:
    """The context to run a checkpoint's weights with.

    Args:
        path: of the checkpoint.
        made_for: the context that its weights were made for.
        asked: the context to run them with; None for that one.
        allow_unshortened: runs weights that were made for 30 s on a short
            context, where they repeat themselves.

    Raises:
        ValueError: the weights were made for another context.
    """
    context = asked or made_for
    if context == "short" and made_for != "short" and not allow_unshortened:
        raise ValueError(
            f"{path}: its weights were made for 30 s of audio and repeat "
            "themselves on a short context; make a short-context base of it "
            "with: python -m tasks.shorten_context, or take "
            "audio_context='full'"
        )
    if context == "full" and made_for == "short":
        raise ValueError(
            f"{path}: its weights were tuned to a short audio context; take "
            "audio_context='short', or the base that they were made from"
        )
    return context
