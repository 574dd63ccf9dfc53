"""The report is one page that needs nothing else and shows any data."""

import functools
import html.parser
import re

import pytest

from tasks.asr.evaluation import metrics, scoring
from tasks.asr.evaluation.report import page as report_page, svg

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(html.parser.HTMLParser):
    """Tags, ids and text of a page; fails on tags that do not match."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.ids, self.attributes, self._open = [], [], [], []
        self.text = ""
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data


def records(num_speakers=4, simulated=False, speaker="S{:03d}", **changes):
    severities = ("typical", "mild", "moderate", "severe")
    words = "turn on the light now please"
    return [
        scoring.Transcribed(
            **{
                "speaker": speaker.format(s),
                "utt_id": str(u),
                "severity": severities[s % 4],
                "novelty": scoring.NOVELTIES[u % 3],
                "reference": words,
                "base_hypothesis": " ".join(words.split()[(s + u) % 6 :]),
                "submodel_hypothesis": " ".join(words.split()[(s * u) % 2 :]),
                "duration": 2.0,
                "simulated": simulated,
            }
            | changes
        )
        for s in range(num_speakers)
        for u in range(4)
    ]


def history(num_speakers=4, speaker="S{:03d}"):
    return [
        {"speaker": speaker.format(s), "step": step, "train_loss": 1 / step}
        | ({"dev_loss": 2 / step} if step % 10 == 0 else {})
        for s in range(num_speakers)
        for step in range(5, 55, 5)
    ]


def render(records_, history_=(), minutes=None, details=None, target=0.15):
    if minutes is None:
        minutes = {r.speaker: 1.0 + len(r.speaker) for r in records_}
    summary = metrics.summarize(
        records_, "basic", target, minutes, num_bootstrap=20
    )
    return report_page.render(summary, list(history_), details or {})


@functools.cache
def usual_page():
    return render(records(), history())


def test_texts_whose_end_is_missing_are_announced():
    cut = records(base_status="CUT: at its limit")
    assert "The end of a text is missing 16 times for the base" in render(cut)
    assert "The end of a text is missing" not in usual_page()


def test_hypotheses_and_names_are_escaped():
    attack = "<script>alert(1)</script>"
    page = render(
        records(
            1,
            speaker=attack,
            base_hypothesis=attack,
            submodel_hypothesis=attack + ' " onload="x',
            reference="turn" + attack,
            utt_id=attack,
            severity="</svg>" + attack,
        )[:1],
        history(1, attack),
        details={attack: {attack: attack}},
    )
    assert "script" not in Page(page).tags
    assert not any(name.startswith("on") for name, _ in Page(page).attributes)
    assert attack in Page(page).text


def test_page_needs_nothing_from_outside():
    page = usual_page()
    # Names of namespaces are not addresses that a browser opens.
    assert "://" not in re.sub(r'xmlns(:xlink)?="[^"]*"', "", page)
    assert "@import" not in page
    parsed = Page(page)
    assert not {"script", "link", "img", "iframe"} & set(parsed.tags)
    for name, value in parsed.attributes:
        if name in ("href", "src", "xlink:href"):
            assert value.startswith("#")
    for target in re.findall(r"url\((.*?)\)", page):
        assert target.startswith("#")


def test_ids_are_unique_and_those_used_exist():
    page = usual_page()
    ids = Page(page).ids
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', page)
    assert used
    assert set(used) <= set(ids)


def test_simulated_speech_is_called_so():
    banner = "Simulated speech: not clinical evidence"
    assert banner not in usual_page()
    assert banner in render(records(simulated=True))
    mixed = records(2)[:4] + records(2, simulated=True)[4:]
    assert banner in render(mixed)


def test_every_plot_is_there_and_described():
    parsed = Page(usual_page())
    assert parsed.tags.count("svg") == parsed.tags.count("figcaption") == 4
    labels = [v for n, v in parsed.attributes if n == "aria-label"]
    assert "Base and Submodel word error rates of 4 speakers" in labels


@pytest.mark.parametrize("page_color", ["#ffffff", "#14171b"])
def test_colours_stand_out_from_light_and_dark_pages(page_color):
    def luminance(color):
        values = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [
            v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
            for v in values
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for color in svg.COLORS.values():
        low, high = sorted((luminance(color), luminance(page_color)))
        assert (high + 0.05) / (low + 0.05) > 2.5
    assert page_color in usual_page()


def test_headlines_tables_and_details_are_shown():
    words = "turn on the light"
    base = records(1, severity="severe", reference=words, base_hypothesis="")
    text = Page(
        render(
            [
                scoring.Transcribed(
                    **vars(record) | {"submodel_hypothesis": "turn on the"}
                )
                for record in base
            ],
            details={"base": {"fingerprint": "abc123"}, "steps": 200},
        )
    ).text
    assert "100.0 % → 25.0 %" in text
    assert "75.0 %" in text
    assert "no speaker is labelled as typical" in text
    assert "Phrases seen in training" in text
    assert "base.fingerprint" in text and "abc123" in text
    assert "200" in text and "basic" in text


def test_the_cohort_is_in_every_table_and_plot():
    text = render(records(cohort_hypothesis="turn on"))
    for words in (
        "Median cohort",
        "Over the cohort, points",
        "What being personal adds",
        "Cohort heard",
        ">Cohort<",
        "the same for all of them",
    ):
        assert words in text
    for words in ("Over the cohort", "Cohort heard", ">Cohort<"):
        assert words not in render(records())
    # Of many speakers there are dots.
    assert ">Cohort<" in render(records(50, cohort_hypothesis="turn on"))


def test_regressions_are_listed_and_marked():
    page = render(
        records(1, base_hypothesis="turn on the light now please")
        + records(2, base_hypothesis="", submodel_hypothesis="turn")[4:]
    )
    assert "Worse with the Submodel" not in page
    assert "No utterance is worse" in page
    page = render(
        records(
            1,
            severity="typical",
            base_hypothesis="turn on the light now please",
            submodel_hypothesis="",
        )
    )
    assert "Worse with the Submodel: 4 of 4" in page
    assert "+100.0 worse" in Page(page).text
    assert "nothing" in Page(page).text


def test_left_out_references_are_told():
    page = render(records(1)[:3] + records(2, reference="...")[4:5])
    assert "1 utterance left out" in page
    assert "S001/0" in page


@pytest.mark.parametrize("num_speakers", [1, 40, 41])
def test_any_number_of_speakers_makes_a_page(num_speakers):
    parsed = Page(render(records(num_speakers), history(num_speakers)))
    assert parsed.tags.count("svg") == 4


def test_plots_without_data_are_left_out():
    perfect = records(
        2,
        base_hypothesis="turn on the light now please",
        submodel_hypothesis="turn on the light now please",
    )
    assert Page(render(perfect)).tags.count("svg") == 1
    assert Page(render(records(), minutes={})).tags.count("svg") == 2
    nothing = records(1, reference="...")
    assert Page(render(nothing)).tags.count("svg") == 0
    lost = [{"speaker": "S000", "step": 5, "train_loss": float("nan")}]
    assert Page(render(records(), lost)).tags.count("svg") == 3


def test_one_utterance_is_counted_as_one():
    text = " ".join(Page(render(records(1)[:1])).text.split())
    assert "1 speaker, 1 utterance, 6 words;" in text
    text = " ".join(Page(render(records(1, reference="on")[:1])).text.split())
    assert "1 utterance, 1 word;" in text


def test_any_name_and_severity_can_be_drawn():
    names = ["$x$ $", "_first", "名前", "a\tb\x1b", "x" * 300, 'id="', "&amp;"]
    said = [record for name in names for record in records(1, speaker=name)]
    said += records(1, severity="$\\frac$ _" + "x" * 50)
    losses = [row for name in names for row in history(1, name)]
    parsed = Page(render(said, losses + history(1)))
    assert parsed.tags.count("svg") == 4
    assert "$x$ $" in parsed.text


def test_rates_that_more_than_double_stay_in_the_picture():
    page = render(
        records(
            2,
            base_hypothesis="turn on the light now",
            submodel_hypothesis="x " * 60,
        )
    )
    svg = re.findall(r"<svg.*?</svg>", page, re.DOTALL)[1]
    ticks = re.findall(r">(\N{MINUS SIGN}?\d+)</text>", svg)
    assert "\N{MINUS SIGN}1000" not in ticks
    assert "\N{MINUS SIGN}100" in ticks


def test_same_summary_makes_the_same_page():
    assert render(records(), history()) == usual_page()


def test_written_page_replaces_the_old_one_whole(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    summary = metrics.summarize(records(), "basic", 0.15, {}, 0)
    report_page.write(str(path), summary, [], {})
    assert path.read_text("utf-8").rstrip().endswith("</html>")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_unwritable_place_is_named(tmp_path):
    summary = metrics.summarize(records(), "basic", 0.15, {}, 0)
    with pytest.raises(OSError, match="nowhere"):
        report_page.write(
            str(tmp_path / "nowhere" / "report.html"), summary, [], {}
        )
