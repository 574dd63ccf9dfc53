"""The report's map of a speaker-embedding space."""

from typing import Any

import numpy as np
from matplotlib import figure as figure_lib, ticker

from lingvo_like.space import embeddings as embeddings_lib, file as space_file
from tasks.asr.evaluation import severity as severity_lib
from tasks.asr.evaluation.report import svg

_MAX_NAMES = 24
_MAX_ROWS = 60
_NEAREST = 3
# Upper bounds of a relative reduction with their names and colours. The scale
# runs from one hue to another, for readers without colour vision.
_GAINS = (
    (0.0, "no gain", "#4a5cd0"),
    (0.25, "up to 25 %", "#6f92f3"),
    (0.5, "up to 50 %", "#9b9b9b"),
    (0.75, "up to 75 %", "#ee8a68"),
    (np.inf, "more", "#c8203a"),
)


def project(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The plane in which points differ most (principal components).

    Args:
        points: `[points, dim]`.

    Returns:
        coordinates `[points, 2]`, and the two shares of the variance `[2]`.
    """
    centered = points - points.mean(axis=0)
    left, sizes, right = np.linalg.svd(centered, full_matrices=False)
    coordinates = np.zeros((len(points), 2))
    shares = np.zeros(2)
    count = min(2, len(sizes))
    # A direction's sign is arbitrary: its largest part is made positive.
    largest = np.argmax(np.abs(right[:count]), axis=1)
    signs = np.sign(right[np.arange(count), largest])
    coordinates[:, :count] = left[:, :count] * sizes[:count] * signs
    if sizes[0] > 0:
        shares[:count] = np.square(sizes[:count]) / np.sum(np.square(sizes))
    return coordinates, shares


def speaker_map(
    space: space_file.Space, rows: list[dict[str, Any]]
) -> figure_lib.Figure:
    """The speakers of a space in the plane, by severity and by gain."""
    coordinates, shares = project(_points(space))
    by_speaker = {row["speaker"]: row for row in rows}
    found = [by_speaker.get(speaker) for speaker in space.speakers]
    figure = svg.figure(4.2)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, mark in zip(panels, (_severity, _gain), strict=True):
        _scatter(axes, coordinates, [mark(row) for row in found])
        axes.set_xlabel(f"First direction ({100 * shares[0]:.0f} %)")
        svg.legend(axes, ncols=3)
        if len(space.speakers) <= _MAX_NAMES:
            _names(axes, space.speakers, coordinates)
    panels[0].set_ylabel(f"Second direction ({100 * shares[1]:.0f} %)")
    return figure


def elements(space: space_file.Space) -> figure_lib.Figure:
    """The use of each element of the basis."""
    use = element_use(space)
    figure = svg.figure(2.4)
    axes = figure.subplots()
    axes.bar(np.arange(len(use)), 100 * use, color=svg.COLORS["submodel"])
    axes.set_xlabel("Element of the basis")
    axes.set_ylabel("Share (%)")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(ticker.MaxNLocator("auto", integer=True))
    axes.grid(axis="x", visible=False)
    return figure


def element_use(space: space_file.Space) -> np.ndarray:
    """The share of each element in the speakers' Submodels `[elements]`."""
    squares = [
        np.square(tensor, dtype=np.float64).reshape(len(tensor), -1).sum(1)
        for tensor in space.basis.values()
    ]
    lengths = np.sqrt(sum(squares))
    use = lengths * np.sqrt(np.mean(np.square(_points(space)), axis=0))
    return use / max(use.sum(), 1e-30)


def neighbours(
    space: space_file.Space, rows: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The nearest speakers of the evaluated speakers, for a table.

    Returns:
        dicts of `speaker`, `severity`, and `nearest`, pairs of a speaker and
        the distance between the embeddings, for the first 60 in the space.
    """
    points = _points(space)
    slots = {speaker: slot for slot, speaker in enumerate(space.speakers)}
    found = []
    for row in [row for row in rows if row["speaker"] in slots][:_MAX_ROWS]:
        slot = slots[row["speaker"]]
        distances = np.linalg.norm(points - points[slot], axis=1)
        order = [i for i in np.argsort(distances, kind="stable") if i != slot]
        nearest = [
            (space.speakers[i], float(distances[i])) for i in order[:_NEAREST]
        ]
        found.append(
            {
                "speaker": row["speaker"],
                "severity": row["severity"],
                "nearest": nearest,
            }
        )
    return found


def _points(space):
    """The speakers' mixing weights `[speakers, embedding_dim]`."""
    normalization = space.metadata.normalization
    found = embeddings_lib.normalize(space.embeddings, normalization)
    return np.asarray(found, np.float64)


def _severity(row):
    """Sort key, name and colour of a speaker's mark by severity."""
    if row is None:
        return _unknown("not evaluated")
    severity = row["severity"]
    return severity_lib.order(severity), svg.name(severity), svg.color(severity)


def _gain(row):
    """Sort key, name and colour of a speaker's mark by gain."""
    if row is None or row["relative_reduction"] is None:
        return _unknown("unknown")
    for order, (bound, name, color) in enumerate(_GAINS):
        if row["relative_reduction"] <= bound:
            return (order, ""), name, color
    raise ValueError(
        f"`relative_reduction` must be a number. "
        f"Received: {row['relative_reduction']}."
    )


def _unknown(name):
    return (99, ""), name, svg.COLORS["muted"]


def _scatter(axes, coordinates, marks):
    for mark in sorted(set(marks)):
        (order, _), name, color = mark
        chosen = [i for i, each in enumerate(marks) if each == mark]
        axes.scatter(
            *coordinates[chosen].T,
            s=10 if order == 99 else float(np.clip(4000 / len(marks), 14, 40)),
            color=color,
            alpha=0.85,
            linewidths=0,
            label=name,
        )


def _names(axes, speakers, coordinates):
    for speaker, point in zip(speakers, coordinates, strict=True):
        axes.annotate(
            svg.name(speaker),
            point,
            xytext=(3, 3),
            textcoords="offset points",
            fontsize=7,
            parse_math=False,
        )
