import numpy as np
import pytest
import soundfile

from tasks.asr.data import audio


def tone(seconds=1.0, sample_rate=16000, hertz=440.0):
    time = np.arange(int(seconds * sample_rate)) / sample_rate
    return (0.3 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3"])
def test_every_format_is_read_at_its_length(tmp_path, extension):
    path = str(tmp_path / f"a.{extension}")
    soundfile.write(path, tone(1.0), 16000)
    samples = audio.read(path, 16000)
    assert samples.dtype == np.float32
    assert samples.shape == (16000,)
    assert audio.seconds(path) == pytest.approx(1.0)
    middle = slice(4000, 12000)
    assert np.corrcoef(samples[middle], tone()[middle])[0, 1] > 0.99


@pytest.mark.parametrize("own_rate", [8000, 22050, 44100, 48000])
def test_resampling_keeps_the_tone_and_the_length(tmp_path, own_rate):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, tone(1.0, own_rate), own_rate)
    samples = audio.read(path, 16000)
    assert abs(len(samples) - 16000) <= 1
    spectrum = np.abs(np.fft.rfft(samples[:16000]))
    assert abs(int(spectrum.argmax()) - 440) <= 1


def test_channels_are_averaged(tmp_path):
    path = str(tmp_path / "a.wav")
    stereo = np.stack([tone(), np.zeros(16000, np.float32)], axis=1)
    soundfile.write(path, stereo, 16000, subtype="FLOAT")
    np.testing.assert_allclose(audio.read(path, 16000), tone() / 2, atol=1e-6)


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg"])
def test_offset_and_duration_cut_the_same_samples(tmp_path, extension):
    path = str(tmp_path / f"a.{extension}")
    noise = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    soundfile.write(path, noise, 16000)
    whole = audio.read(path, 16000)
    part = audio.read(path, 16000, offset=0.25, duration=0.5)
    np.testing.assert_allclose(part, whole[4000:12000], atol=1e-6)


def test_duration_rounded_past_the_end_reads_to_the_end(tmp_path):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, tone(1.0), 16000)
    assert len(audio.read(path, 16000, duration=1.03)) == 16000


@pytest.mark.parametrize(
    ("offset", "duration", "reason"),
    [
        (1.0, None, "offset outside"),
        (-0.5, None, "offset outside"),
        (0.5, 0.8, "end outside"),
        (0.0, 0.0, "zero length"),
    ],
)
def test_cut_outside_of_the_file_is_refused(tmp_path, offset, duration, reason):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, tone(1.0), 16000)
    with pytest.raises(audio.AudioError, match=reason) as caught:
        audio.read(path, 16000, offset=offset, duration=duration)
    assert caught.value.path == path


def test_unusable_files_say_what_is_wrong(tmp_path):
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("not audio at all")
    soundfile.write(tmp_path / "none.wav", np.zeros(0), 16000)
    spoilt = tone()
    spoilt[7] = np.nan
    soundfile.write(tmp_path / "nan.wav", spoilt, 16000, subtype="FLOAT")
    for name, reason in {
        "missing.wav": "missing",
        ".": "not a file",
        "empty.wav": "0 bytes",
        "text.wav": "not readable as audio",
        "none.wav": "no samples",
        "nan.wav": r"not numbers .*: 1 of 16000",
    }.items():
        with pytest.raises(audio.AudioError, match=reason) as caught:
            audio.read(str(tmp_path / name), 16000)
        assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg"])
def test_truncated_file_is_refused(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    noise = np.random.default_rng(0).normal(0, 0.1, 160000)
    soundfile.write(path, noise, 16000)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        audio.AudioError, match="truncated|damaged|no samples|not readable"
    ):
        audio.read(str(path), 16000)


def test_wav_written_to_a_pipe_is_not_called_truncated(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1.0), 16000)
    streamed = bytearray(path.read_bytes())
    streamed[4:8] = streamed[40:44] = b"\xff" * 4
    path.write_bytes(streamed)
    assert len(audio.read(str(path), 16000)) == 16000


def test_change_speed_shortens_and_raises_the_pitch():
    fast = audio.change_speed(tone(1.0), 1.1)
    assert abs(len(fast) - 16000 / 1.1) <= 2
    hertz = np.abs(np.fft.rfft(fast)).argmax() * 16000 / len(fast)
    assert hertz == pytest.approx(484, abs=2)


def test_change_speed_is_deterministic_and_one_changes_nothing():
    samples = tone(0.5)
    assert audio.change_speed(samples, 1.0) is samples
    np.testing.assert_array_equal(
        audio.change_speed(samples, 0.9), audio.change_speed(samples, 0.9)
    )
    for factor in (0, -1.0, float("nan"), "1.1"):
        with pytest.raises(ValueError, match="positive number"):
            audio.change_speed(samples, factor)
