"""Turns what `tasks.evaluate` measured into evidence for the store's gate."""

from lingvo_like import files, hyperparams, json_values
from lingvo_like.store import store as submodel_store

_MAX_BYTES = 1 << 30
# Names in a speaker's row of results.json, and in `Gate`.
_FIGURES = (
    "num_utterances",
    "num_words",
    "base_word_error_rate",
    "submodel_word_error_rate",
    "change_points",
)


class Results:
    """The figures of each speaker in a results.json.

    Args:
        path: str, local or `gs://`.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not what `tasks.evaluate` writes, or the Submodels
            were compared with another base model than their own.
    """

    def __init__(self, path):
        self.path = path
        try:
            results = json_values.strict_json(files.read(path, _MAX_BYTES))
            self._base_fingerprint = results["details"]["base_fingerprint"]
            compared = results["details"]["compared_fingerprint"]
            self._sha256 = results["submodel_sha256"]
            self._confidence = results["confidence"]
            self._rows = {row["speaker"]: row for row in results["speakers"]}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: not the results.json of tasks.evaluate: "
                f"{type(error).__name__}: {error}"
            ) from None
        if compared != self._base_fingerprint:
            raise ValueError(
                f"{path} compares with another base model "
                f"({str(compared)[:12]}) than the Submodels' "
                f"({str(self._base_fingerprint)[:12]}); evaluate without "
                "--compare_with"
            )

    def gate(self, speaker):
        """The evidence on a speaker's Submodel.

        Args:
            speaker: str, as in the Submodel's metadata.

        Returns:
            `submodel_store.Gate`.

        Raises:
            GateError: nothing was measured, or no interval.
            ValueError: the speaker's row is damaged.
        """
        row = self._rows.get(speaker)
        if row is None:
            raise submodel_store.GateError(
                f"{self.path} has no figures on {speaker!r}; evaluate the "
                "Submodel on the speaker's dev utterances"
            )
        try:
            interval = row["intervals"]["change_points"]
            if interval is None:
                raise submodel_store.GateError(
                    f"{self.path} has no interval of the change of "
                    f"{speaker!r}; evaluate with bootstrap resamples"
                )
            low, high = interval
            return hyperparams.from_dict(
                submodel_store.Gate,
                {
                    "source": self.path,
                    "speaker": speaker,
                    "base_fingerprint": self._base_fingerprint,
                    "sha256": self._sha256[speaker],
                    "confidence": self._confidence,
                    "low": low,
                    "high": high,
                    **{name: row[name] for name in _FIGURES},
                },
            )
        except submodel_store.GateError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self.path}: the figures on {speaker!r} are damaged: "
                f"{type(error).__name__}: {error}"
            ) from None
