"""Evidence that a Submodel is worth publishing, for the store's gate."""

from lingvo_like import files, hyperparams, json_values
from lingvo_like.store import quality_gate
from lingvo_like.submodel import file as submodel_file

_MAX_BYTES = 1 << 30
# Names in a speaker's row of results.json, and in `Gate`.
_FIGURES = (
    "num_utterances",
    "num_words",
    "base_word_error_rate",
    "submodel_word_error_rate",
    "change_points",
    "cohort_word_error_rate",
    "change_over_cohort_points",
)


def check_learned(submodel: submodel_file.Submodel) -> None:
    """Refuses a Submodel of which nothing was learned.

    Raises:
        GateError: no update has changed it, or it is the base model.
    """
    metadata = submodel.metadata
    # What an enrolment made without updates comes out of a trained space, and
    # what started from a Submodel may stay that one.
    has_learned = metadata.training.get("mode") or metadata.started_from
    if metadata.training.get("step") == 0 and not has_learned:
        raise quality_gate.GateError(
            "nothing was learned: no update made it better on dev speech, and "
            "its file has the weights of step 0; --force publishes it"
        )
    if submodel.layout.is_identity(submodel.tensors):
        raise quality_gate.GateError(
            "nothing was learned: with these weights it is the base model; "
            "--force publishes it"
        )


class Results:
    """The figures of each speaker in a results.json.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not from `tasks.evaluate`, or the Submodels were
            compared with another base model than their own.
    """

    def __init__(self, path: str):
        self.path = path
        try:
            results = json_values.strict_json(
                files.read(path, _MAX_BYTES).decode()
            )
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

    def gate(self, speaker: str) -> quality_gate.Gate:
        """The evidence on a speaker's Submodel.

        Raises:
            GateError: nothing was measured, or there is no interval.
            ValueError: the speaker's row is damaged.
        """
        row = self._rows.get(speaker)
        if row is None:
            raise quality_gate.GateError(
                f"{self.path} has no figures on {speaker!r}; evaluate the "
                "Submodel on the speaker's dev utterances"
            )
        try:
            interval = row["intervals"]["change_points"]
            if interval is None:
                raise quality_gate.GateError(
                    f"{self.path} has no interval of the change of "
                    f"{speaker!r}; evaluate at least two utterances, with "
                    "bootstrap resamples"
                )
            low, high = interval
            over_cohort = row["intervals"]["change_over_cohort_points"]
            cohort_low, cohort_high = over_cohort or (None, None)
            return hyperparams.from_dict(
                quality_gate.Gate,
                {
                    "source": self.path,
                    "speaker": speaker,
                    "base_fingerprint": self._base_fingerprint,
                    "sha256": self._sha256[speaker],
                    "confidence": self._confidence,
                    "low": low,
                    "high": high,
                    "cohort_low": cohort_low,
                    "cohort_high": cohort_high,
                    **{name: row[name] for name in _FIGURES},
                },
            )
        except quality_gate.GateError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{self.path}: the figures on {speaker!r} are damaged: "
                f"{type(error).__name__}: {error}"
            ) from None
