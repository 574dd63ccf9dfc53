"""The report's map of a space: who is near whom, and by which elements."""

import numpy as np

from lingvo_like.space import embedding_space, file as space_file
from tasks.asr.evaluation import metrics
from tasks.asr.evaluation.report import page as report_page, space_map, svg
from tests import layouts
from tests.tasks.asr.evaluation.report import test_page as test_report

LAYOUT = layouts.adapters(model_dim=6, bottleneck_dim=3, blocks=(0,))


def make(num_speakers=6, embedding_dim=4, points=None):
    space = embedding_space.EmbeddingSpace(
        [f"S{i:03d}" for i in range(num_speakers)], LAYOUT, embedding_dim
    )
    space.initialize(0)
    if points is not None:
        space.set_embeddings(points)
    return space_file.create(space, base_fingerprint="0" * 64)


def summary(num_speakers=4):
    return metrics.summarize(
        test_report.records(num_speakers), "basic", 0.15, {}, num_bootstrap=0
    )


def test_the_page_has_a_map_the_elements_and_the_neighbours():
    page = report_page.render(summary(), [], {}, make())
    parsed = test_report.Page(page)
    assert "Map of the space" in parsed.text
    assert parsed.tags.count("figure") >= 4
    assert len(set(parsed.ids)) == len(parsed.ids)
    # Two speakers of the space are not in the evaluation.
    assert "not evaluated" in page
    assert "Nearest speakers in the space" in parsed.text
    plain = report_page.render(summary(), [], {})
    assert "Map of the space" not in plain


def test_nearest_speakers_come_first_and_never_oneself():
    points = np.zeros((6, 4))
    points[:, 0] = [0, 1, 3, 7, 15, 31]
    rows = space_map.neighbours(make(points=points), summary()["speakers"])
    assert [row["speaker"] for row in rows] == ["S000", "S001", "S002", "S003"]
    assert [name for name, _ in rows[0]["nearest"]] == ["S001", "S002", "S003"]
    assert rows[2]["nearest"][0] == ("S001", 2.0)


def test_speakers_who_are_not_in_the_space_have_no_neighbours():
    found = space_map.neighbours(make(2), summary()["speakers"])
    assert [row["speaker"] for row in found] == ["S000", "S001"]
    assert [len(row["nearest"]) for row in found] == [1, 1]


def test_the_plane_shows_where_points_differ_most():
    draw = np.random.default_rng(0)
    points = draw.standard_normal((50, 5)) * [0.1, 3.0, 0.1, 1.0, 0.1]
    coordinates, shares = space_map.project(points)
    assert abs(np.corrcoef(coordinates[:, 0], points[:, 1])[0, 1]) > 0.95
    assert abs(np.corrcoef(coordinates[:, 1], points[:, 3])[0, 1]) > 0.95
    assert 0.8 < shares[0] < 1.0 and shares.sum() < 1.0


def test_any_number_of_speakers_and_elements_can_be_drawn():
    for num_speakers, embedding_dim in ((1, 1), (2, 1), (3, 2), (100, 3)):
        space = make(num_speakers, embedding_dim)
        for figure in (
            space_map.speaker_map(space, []),
            space_map.elements(space),
        ):
            assert "<svg" in svg.element(figure, "figure")


def test_an_element_that_nobody_uses_has_no_share():
    points = np.ones((6, 4))
    points[:, 2] = 0.0
    use = space_map.element_use(make(points=points))
    assert use[2] == 0.0
    np.testing.assert_allclose(use.sum(), 1.0)
