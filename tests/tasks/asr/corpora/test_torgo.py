import pytest

from tasks.asr.corpora import torgo
from tests.tasks.asr.corpora import trees


def record(session, number, prompt, mics=("head", "array"), seconds=1.0):
    if prompt is not None:
        trees.text(session / "prompts" / f"{number}.txt", prompt + "\n")
    for mic in mics:
        trees.audio(session / f"wav_{mic}Mic" / f"{number}.wav", seconds)


@pytest.fixture(params=["grouped", "flat"])
def root(tmp_path, request):
    """The same corpus with its group folders and without."""
    grouped = request.param == "grouped"

    def folder(group, speaker):
        return tmp_path / group / speaker if grouped else tmp_path / speaker

    first = folder("F", "F01") / "Session1"
    record(first, "0001", "The quick brown fox.")
    record(first, "0002", "[relax your mouth in its normal position]")
    record(first, "0003", "tear [as in tear up that paper]")
    record(first, "0004", "input/images/boat.jpg")
    record(first, "0005", "xxx")
    record(first, "0006", "yes", seconds=0.3)
    record(first, "0007", "no audio", mics=())
    record(first, "0008", None)
    record(first, "0009", "array alone", mics=("array",))
    record(first, "0010", "")
    record(first, "0011", "broken")
    (first / "wav_headMic" / "0011.wav").write_bytes(b"")
    trees.text(first / "prompts" / "._0001.txt", "resource fork")
    trees.audio(first / "wav_headMic" / "._0001.wav")
    # One session in two parts, without a head microphone.
    record(folder("F", "F01") / "Session2_3", "0001", "yes", mics=("array",))
    # Without prompts; and without anything.
    record(folder("M", "M05") / "Session1", "0001", None)
    trees.text(folder("M", "M05") / "Session2" / "prompts" / "0001.txt", "a")
    record(folder("FC", "FC02") / "Session2", "0001", "control")
    trees.text(folder("M", "M05") / "Notes" / "a.txt", "x")
    return tmp_path


def test_head_microphone_is_imported_and_the_rest_accounted_for(root):
    utterances, left_out = torgo.read(str(root))
    assert [(u.speaker, u.session, u.utt_id, u.text) for u in utterances] == [
        (
            "F01",
            "Session1",
            "F01-Session1-headMic-0001",
            "The quick brown fox.",
        ),
        ("FC02", "Session2", "FC02-Session2-headMic-0001", "control"),
    ]
    assert [u.etiology for u in utterances] == ["", "control"]
    assert {u.severity for u in utterances} == {""}
    assert {u.mic for u in utterances} == {"head"}
    assert trees.reasons(left_out) == {
        "instruction or comment in brackets": 2,
        "picture to describe, no transcript": 1,
        "prompt marked xxx": 1,
        "shorter than 0.335 s": 1,
        "prompt without headMic audio": 2,
        "audio without prompt": 1,
        "empty transcript": 1,
        "audio file is empty (0 bytes)": 1,
        "session without wav_headMic": 1,
        "session without prompts": 1,
        "session without recordings": 1,
    }


def test_comments_on_how_to_read_can_be_stripped(root):
    utterances, left_out = torgo.read(str(root), strip_comments=True)
    assert "tear" in {u.text for u in utterances}
    # An instruction is no reading aid.
    assert trees.reasons(left_out)["instruction or comment in brackets"] == 1


def test_microphones(root):
    def sessions(mic):
        utterances, _ = torgo.read(str(root), mic=mic)
        return {(u.speaker, u.session, u.mic) for u in utterances}

    array = {
        ("F01", "Session1", "array"),
        ("F01", "Session2_3", "array"),
        ("FC02", "Session2", "array"),
    }
    head = {("F01", "Session1", "head"), ("FC02", "Session2", "head")}
    assert sessions("array") == array
    assert sessions("both") == array | head
    assert sessions("any") == head | {("F01", "Session2_3", "array")}
    with pytest.raises(ValueError, match="--mic must be one of head, array"):
        torgo.read(str(root), mic="throat")


def test_one_speakers_folder_is_enough(tmp_path):
    record(tmp_path / "M03" / "Session1", "0001", "yes")
    (utterance,), _ = torgo.read(str(tmp_path / "M03"))
    assert utterance.speaker == "M03"
