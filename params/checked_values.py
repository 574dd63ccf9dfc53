"""Checks that dataclasses of values share."""


class Section:
    """Base class of dataclasses of values.

    Messages name a value as `--set` does.
    """

    # Empty outside of experiments.
    section_name = ""

    def _path(self, field: str) -> str:
        prefix = f"{self.section_name}." if self.section_name else ""
        return f"`{prefix}{field}`"

    def check_range(
        self, lowest: float, *fields: str, below: float | None = None
    ) -> None:
        """Raises a ValueError for a field outside of [lowest, below)."""
        for field in fields:
            value = getattr(self, field)
            # NaN fails this comparison too.
            if not value >= lowest or (below is not None and value >= below):
                limit = "" if below is None else f" and below {below}"
                raise ValueError(
                    f"{self._path(field)} must be at least {lowest}{limit}. "
                    f"Received: {value}."
                )

    def check_choice(self, field: str, choices: tuple[str, ...]) -> None:
        """Raises a ValueError unless the field's value is among the choices."""
        value = getattr(self, field)
        if value not in choices:
            raise ValueError(
                f"{self._path(field)} must be one of {', '.join(choices)}. "
                f"Received: {value!r}."
            )
