"""Amounts in words."""


def memory(num_bytes: float) -> str:
    """Such as "1.5 GiB"."""
    return f"{max(num_bytes, 0) / 2**30:.1f} GiB"


def duration(seconds: float) -> str:
    """Such as "40 seconds", "6 minutes" or "3.5 hours"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"
