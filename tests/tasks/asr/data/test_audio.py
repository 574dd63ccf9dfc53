import av
import numpy as np
import pytest
import soundfile

from tasks.asr.data import audio, decoder, rejections


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


def test_channels_do_not_pile_up_in_memory(tmp_path, monkeypatch):
    path = tmp_path / "wide.wav"
    noise = np.random.default_rng(0).uniform(-1, 1, (16000, 8))
    soundfile.write(path, (1e4 * noise).astype("int16"), 8000)
    to_mono, held = audio._mono, []

    def noted(samples):
        held.append(samples.shape)
        return to_mono(samples)

    monkeypatch.setattr(audio, "_mono", noted)
    monkeypatch.setattr(audio, "_MAX_QUEUED_SAMPLES", 2000)
    mono, _ = audio.load(str(path), offset=0.5, duration=1.25)
    assert len(held) > 1 and max(held) < (8, 10_000)
    wanted = soundfile.read(path, dtype="float32")[0][4000:14000]
    np.testing.assert_allclose(mono, wanted.mean(axis=1), atol=1e-6)


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
    with pytest.raises(rejections.UnusableError, match=reason) as caught:
        audio.read(path, 16000, offset=offset, duration=duration)
    assert caught.value.where == path


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
        with pytest.raises(rejections.UnusableError, match=reason) as caught:
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
        rejections.UnusableError,
        match="truncated|damaged|no samples|not readable",
    ):
        audio.read(str(path), 16000)


def encode(path, codec, container=None, options=None):
    """Two seconds of a tone, written by FFmpeg; some codecs know one rate."""
    rate = 48000 if codec == "libopus" else 44100
    layout, number = "mono", 0
    with av.open(str(path), "w", container, options=options or {}) as out:
        stream = out.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = 64_000
        resampler = av.AudioResampler(stream.format.name, layout, rate)
        frame = av.AudioFrame.from_ndarray(tone(2.0, rate)[None], "flt", layout)
        frame.sample_rate = rate
        fifo = av.AudioFifo()
        for part in resampler.resample(frame):
            fifo.write(part)
        frame_size = stream.codec_context.frame_size or 1152
        while block := fifo.read(frame_size, partial=True):
            block.pts, number = number, number + block.samples
            out.mux(stream.encode(block))
        out.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "codec", "container", "options"),
    [
        ("phone.m4a", "aac", None, None),
        ("browser.webm", "libopus", None, None),
        ("voice_note.opus", "libopus", "ogg", None),
        ("stream.aac", "aac", "adts", None),
        ("windows.wma", "wmav2", "asf", None),
        ("video.mp4", "aac", None, None),
        ("no_length.mp3", "libmp3lame", None, {"write_xing": "0"}),
    ],
)
def test_what_phones_and_browsers_write_is_read_at_its_length(
    tmp_path, name, codec, container, options
):
    path = tmp_path / name
    encode(path, codec, container, options)
    samples = audio.read(str(path), 16000)
    assert len(samples) / 16000 == pytest.approx(2.0, abs=0.12)
    assert audio.seconds(str(path)) == pytest.approx(
        len(samples) / 16000, abs=0.001
    )
    np.testing.assert_array_equal(audio.read(path.read_bytes(), 16000), samples)
    spectrum = np.abs(np.fft.rfft(samples[8000:24000]))
    assert abs(int(spectrum.argmax()) - 440) <= 1


@pytest.mark.parametrize("subtype", ["GSM610", "ULAW", "IMA_ADPCM"])
def test_codecs_of_telephones_are_read_from_wav(tmp_path, subtype):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, tone(1.0, 8000), 8000, subtype)
    assert audio.seconds(path) == pytest.approx(1.0, abs=0.05)
    assert len(audio.read(path, 16000)) == pytest.approx(16000, abs=700)


@pytest.mark.parametrize(
    ("extension", "subtype"),
    [("wav", "PCM_16"), ("flac", "PCM_16"), ("flac", "PCM_24"), ("wav", None)],
)
def test_samples_are_exactly_what_the_file_holds(tmp_path, extension, subtype):
    path = str(tmp_path / f"a.{extension}")
    noise = np.random.default_rng(0).uniform(-1, 1, (48000, 2))
    soundfile.write(path, noise, 16000, subtype)
    expected, _ = soundfile.read(path, dtype="float32")
    found, _ = audio.load(path)
    np.testing.assert_array_equal(found, expected.mean(axis=1))
    # Far enough in for a jump.
    part, _ = audio.load(path, offset=2.00625, duration=0.5)
    np.testing.assert_array_equal(part, found[32100:40100])


@pytest.mark.parametrize(
    "promised",
    [0, 0x7FFFF000, 2_000_000_000, 0xFFFFFFFF, 32000 + 16],
    ids=["killed recorder", "sox", "two billion", "streamed", "a little more"],
)
def test_a_length_that_a_wav_header_could_not_know_is_no_promise(
    tmp_path, promised
):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1.0), 16000)
    data = bytearray(path.read_bytes())
    data[40:44] = promised.to_bytes(4, "little")
    path.write_bytes(data)
    assert len(audio.read(str(path), 16000)) == 16000
    assert audio.seconds(str(path)) == 1.0


def test_flac_written_to_a_pipe_has_the_length_of_its_samples(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, tone(1.0), 16000)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    assert len(audio.read(str(path), 16000)) == 16000
    assert audio.seconds(str(path)) == 1.0


def test_an_ogg_file_without_its_last_page_is_truncated(tmp_path):
    path = tmp_path / "a.opus"
    encode(path, "libopus", "ogg")
    data = path.read_bytes()
    path.write_bytes(data[: data.rfind(b"OggS")])
    for read in (audio.seconds, audio.load):
        with pytest.raises(rejections.UnusableError, match="truncated"):
            read(str(path))


@pytest.mark.parametrize("rate", [1, 2_000_000])
def test_an_absurd_sample_rate_is_refused(tmp_path, rate):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1.0), 16000)
    data = bytearray(path.read_bytes())
    data[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(rejections.UnusableError, match=f"rate .*{rate} Hz"):
        audio.read(str(path), 16000)


def test_integers_that_nobody_scaled_are_refused(tmp_path):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, 32768 * tone(), 16000, "FLOAT")
    with pytest.raises(rejections.UnusableError, match="divided by 32768"):
        audio.read(path, 16000)


def test_decoding_stops_at_the_limit(tmp_path, monkeypatch):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, tone(30.0), 16000)
    decoded = []
    frames = decoder.Recording.frames

    def counted(recording, start):
        for position, frame in frames(recording, start):
            decoded.append(frame.samples)
            yield position, frame

    monkeypatch.setattr(decoder.Recording, "frames", counted)
    with pytest.raises(rejections.UnusableError, match="too long: over 2 s"):
        audio.load(path, max_seconds=2.0)
    assert sum(decoded) < 2.5 * 16000
    assert len(audio.load(path, duration=2.0, max_seconds=2.0)[0]) == 32000


@pytest.mark.parametrize("name", ["a.m3u8", "a.mp3", "a.wav"])
def test_a_playlist_opens_no_other_file(tmp_path, name):
    soundfile.write(tmp_path / "secret.wav", tone(), 16000)
    playlist = f"#EXTM3U\n#EXTINF:1,\n{tmp_path}/secret.wav\n#EXT-X-ENDLIST\n"
    (tmp_path / name).write_text(playlist)
    with pytest.raises(rejections.UnusableError, match="not readable"):
        audio.load(str(tmp_path / name))


def test_a_colon_in_a_name_is_no_protocol(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("pipe:a.wav", tone(), 16000)
    assert audio.seconds("pipe:a.wav") == 1.0


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
