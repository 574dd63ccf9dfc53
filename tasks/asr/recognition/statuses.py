"""The status of a recognised text: "OK", or that its end is missing."""

import typing

if typing.TYPE_CHECKING:
    import tensorflow as tf

OK = "OK"
# How the status of a text begins that was cut; whatever else is no text.
CUT = "CUT"
_AT_ITS_LIMIT = (
    f"{CUT}: the text has as many tokens as the base model can write, {{}}; "
    "what was said after it is missing. Split the recording."
)
_LOOP = (
    f"{CUT}: the text repeated itself without end; it stops after the first "
    "time, and what was said after it is missing."
)


def of_texts(
    ended: "tf.Tensor", lengths: "tf.Tensor", max_tokens: int
) -> "tf.Tensor":
    """The status of each text, a string tensor `[b]`.

    Args:
        ended: `[b]` bool, as from `BaseModel.decode`.
        lengths: `[b]` int32, of the texts in tokens.
        max_tokens: the base model's.
    """
    # Clients and commands that only read a status start at once without it.
    import tensorflow as tf

    at_its_limit = _AT_ITS_LIMIT.format(max_tokens)
    cut = tf.where(lengths >= max_tokens, at_its_limit, _LOOP)
    return tf.where(ended, OK, cut)


def has_text(status: str) -> bool:
    """Whether there is a text, be it cut."""
    return status == OK or status.startswith(CUT)
