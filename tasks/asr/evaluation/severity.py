"""Severities of a speaker's condition: given with the data, or measured."""

LABELS = ("typical", "mild", "moderate", "severe")
UNKNOWN = "unknown"

# Highest base error rate of a measured severity: the intelligibility bands of
# UASpeech (Kim et al. 2008), 75, 50 and 25 % of words understood.
MEASURED_UPPER_BOUNDS = {"typical": 0.25, "mild": 0.5, "moderate": 0.75}


def name(label: str | None) -> str:
    """A given label in lower case; `UNKNOWN` where there is none."""
    return (label or "").strip().lower() or UNKNOWN


def measured(base_word_error_rate: float) -> str:
    """The severity whose band the base's error rate, a fraction, lies in."""
    for label, upper_bound in MEASURED_UPPER_BOUNDS.items():
        if base_word_error_rate <= upper_bound:
            return label
    return LABELS[-1]


def order(label: str) -> tuple[int, str]:
    """Sort key: mildest first, then other labels by name, unknown last."""
    if label in LABELS:
        return LABELS.index(label), ""
    return len(LABELS) + (label == UNKNOWN), label
