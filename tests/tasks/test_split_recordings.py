import numpy as np
import pytest
import soundfile

from tasks.asr.corpora import audiofolder, tables
from tasks.asr.data import audio, rejections
from tasks.asr.recognition import splitting, voice_activity
from tests import binaries
from tests.tasks.asr.corpora import trees


@pytest.fixture(autouse=True)
def loud_is_speech(monkeypatch):
    def detector():
        def detect(samples):
            windows = samples[: len(samples) // 512 * 512].reshape(-1, 512)
            return (np.abs(windows).max(axis=1) > 0.05).astype(np.float32)

        return detect

    monkeypatch.setattr(voice_activity, "detector", detector)


def talk(path, phrases, rate=16000, gap=1.0):
    """Tones of so many seconds, with pauses after them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = []
    for seconds in phrases:
        tone = 0.3 * np.sin(np.arange(int(seconds * rate)) / 5)
        parts += [tone, np.zeros(int(gap * rate))]
    soundfile.write(path, np.concatenate(parts), rate)
    return str(path)


def split(paths, folder, **values):
    cutting = voice_activity.Cutting(**values)
    return splitting.split(paths, str(folder), cutting)


def test_pieces_and_a_table_that_can_be_imported_once_it_is_filled(tmp_path):
    paths = [
        talk(tmp_path / "ann" / "talk.wav", [1.0, 2.0, 12.0], rate=44100),
        talk(tmp_path / "bo" / "talk.flac", [1.5], rate=192000),
    ]
    folder = tmp_path / "pieces"
    done = split(paths, folder, max_seconds=10)
    assert not done.left_out
    names = sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*.flac")
    )
    ann = [f"ann/talk-000{number}.flac" for number in (1, 2, 3, 4)]
    assert names == [*ann, "bo/talk-0001.flac"]
    assert done.speakers == {"ann": 4, "bo": 1}
    found = [soundfile.info(folder / name) for name in names]
    assert all(each.duration <= 10 for each in found)
    assert [each.samplerate for each in found] == [44100] * 4 + [48000]
    total = sum(each.duration for each in found)
    assert total == pytest.approx(16.5 + 8 * 0.2, abs=0.5)
    assert total == pytest.approx(done.seconds)
    # Without texts nothing can be imported; with them, everything.
    utterances, left_out = audiofolder.read(folder)
    assert not utterances
    assert trees.reasons(left_out) == {"empty transcript": 5}
    table = folder / splitting.TABLE
    text = table.read_text(encoding="utf-8-sig")
    table.write_text(text.replace(".flac,,", ".flac,yes,"))
    utterances, left_out = audiofolder.read(folder)
    assert not left_out
    assert [u.speaker for u in utterances] == ["ann"] * 4 + ["bo"]


def test_blocks_of_a_long_recording_leave_no_trace(tmp_path, monkeypatch):
    path = talk(tmp_path / "ann" / "talk.wav", [1.0, 3.0, 0.5, 7.0, 2.0] * 3)
    split([path], tmp_path / "whole", max_seconds=10)
    monkeypatch.setattr(splitting, "BLOCK_SECONDS", 3.0)
    split([path], tmp_path / "blocks", max_seconds=10)
    whole, blocks = (_table(tmp_path / name) for name in ("whole", "blocks"))
    assert [row["file_name"] for row in blocks] == [
        row["file_name"] for row in whole
    ]
    assert len(whole) == 15
    for first, second in zip(whole, blocks, strict=True):
        assert float(first["start"]) == pytest.approx(
            float(second["start"]), abs=0.05
        )
        first, second = (
            soundfile.info(tmp_path / name / first["file_name"]).duration
            for name in ("whole", "blocks")
        )
        assert first == pytest.approx(second, abs=0.1)


def _table(folder):
    text = tables.read(folder / splitting.TABLE)
    return [row for _, row in tables.rows(text)]


def test_pieces_of_a_recording_that_is_cut_off_do_not_stay(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(splitting, "BLOCK_SECONDS", 2.0)
    paths = [talk(tmp_path / "ann" / f"{i}.wav", [1.0] * 5) for i in range(2)]

    def blocks(path, seconds, read=audio.blocks):
        for samples, rate, is_last in read(path, seconds):
            if is_last and path == paths[0]:
                raise rejections.UnusableError("audio is truncated")
            yield samples, rate, is_last

    monkeypatch.setattr(audio, "blocks", blocks)
    done = split(paths, tmp_path / "pieces")
    assert trees.reasons(done.left_out) == {"audio is truncated": 1}
    names = [path.name for path in (tmp_path / "pieces").rglob("*.flac")]
    assert len(names) == sum(done.speakers.values()) == 5
    assert all(name.startswith("1-") for name in names)


def test_what_cannot_be_split_is_named_and_the_rest_is(tmp_path):
    soundfile.write(tmp_path / "silence.wav", np.zeros(16000), 16000)
    quiet = np.random.default_rng(0).normal(0, 1e-3, 16000)
    soundfile.write(tmp_path / "quiet.wav", quiet, 16000)
    paths = [
        str(tmp_path / name) for name in ("silence.wav", "quiet.wav", "none")
    ]
    paths.append(talk(tmp_path / "a.wav", [1.0]))
    # Of the same name, but for case and folder.
    paths.append(talk(tmp_path / "b" / tmp_path.name / "A.wav", [1.0]))
    done = split(paths, tmp_path / "pieces")
    assert sum(done.speakers.values()) == 2
    assert len(list((tmp_path / "pieces").rglob("*.flac"))) == 2
    assert trees.reasons(done.left_out) == {
        "no speech was found": 2,
        "audio file is missing": 1,
    }
    with pytest.raises(ValueError, match="nothing to write"):
        split(paths[:2], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_command_says_what_is_missing(tmp_path):
    def run(*arguments):
        done = binaries.run("split_recordings", *arguments)
        assert done.returncode == 1
        return done.stderr.splitlines()[-1]

    assert "--output_dir is missing" in run("a.wav")
    assert "at least one recording" in run(f"--output_dir={tmp_path / 'a'}")
