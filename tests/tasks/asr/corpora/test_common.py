import numpy as np
import pytest
import soundfile

from tasks.asr.corpora import common
from tasks.asr.data import manifest
from tests.tasks.asr.corpora import trees


def utterance(speaker, **fields):
    return manifest.Utterance("/a.wav", "a", speaker, "1", 1.0, **fields)


def test_labels_come_from_the_users_table(tmp_path):
    table = trees.text(
        tmp_path / "severity.csv",
        "\ufeffSpeaker, Severity, Etiology\nann, mild, ALS\nbob, severe,\n\n",
    )
    labels = common.read_labels(str(table))
    ann, bob, cyd = common.with_labels(
        [
            utterance("ann", etiology="control"),
            utterance("bob", etiology="control"),
            utterance("cyd", severity="own"),
        ],
        labels,
    )
    assert (ann.severity, ann.etiology) == ("mild", "ALS")
    assert (bob.severity, bob.etiology) == ("severe", "control")
    assert (cyd.severity, cyd.etiology) == ("own", "")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("speaker,level\nann,mild\n", "needs the columns speaker, severity"),
        ("speaker,severity\nann,mild\nann,mild\n", ":3: speaker ann is there"),
        ("", "needs the columns"),
    ],
)
def test_bad_table_is_a_clear_error(tmp_path, content, message):
    table = trees.text(tmp_path / "severity.csv", content)
    with pytest.raises(ValueError, match=message):
        common.read_labels(str(table))


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("train-clean-100", "train"),
        ("Dev", "dev"),
        ("validation", "dev"),
        ("test_other", "test"),
        ("contest", ""),
        ("fold1", ""),
    ],
)
def test_split_is_read_from_a_folders_name(folder, split):
    assert common.split_name(folder) == split


def test_recordings_longer_than_whisper_hears_are_used_and_remarked_on(
    tmp_path,
):
    for name, seconds in (("short.wav", 30.0), ("long.wav", 31.0)):
        samples = np.random.default_rng(0).normal(0, 0.1, int(8000 * seconds))
        soundfile.write(tmp_path / name, samples, 8000)
    collector = common.Collector(tmp_path)
    for name in ("short", "long"):
        collector.add(tmp_path / f"{name}.wav", "a text", "ann", name)
    usable, left_out = collector.finish()
    assert len(usable) == 2 and not left_out
    (remark,) = left_out.remarks
    assert (remark.where, remark.detail) == ("long.wav", "31.00 s")
    assert "30 s" in remark.reason and "tasks.split_recordings" in remark.reason
