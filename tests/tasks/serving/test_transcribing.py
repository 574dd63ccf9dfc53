"""Files to text: order, bad files, busy servers, and no server at all."""

import numpy as np
import pytest
import soundfile

from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel
from tasks.serving import client, transcribing
from tasks.serving.exports import description as export_description, engine
from tests import layouts

LAYOUT = layouts.adapters(model_dim=2, bottleneck_dim=1, blocks=(0,))
BASE = "ab" * 32


class Description:
    base_fingerprint = BASE
    layout = LAYOUT
    num_values = LAYOUT.num_values
    sample_rate = 16000
    default_language = ""
    language_index = export_description.Description.language_index
    _known_languages = export_description.Description._known_languages

    def __init__(self, submodel=None, languages=("en",)):
        self.submodel = submodel or {}
        self.languages = languages


class Engine(engine.Engine):
    """Says its signature, the length and the sum of the Submodel's values."""

    closed = False

    def __init__(self, submodel=None, languages=("en",)):
        self.description = Description(submodel, languages)

    def transcribe(self, audio, lengths, submodels, index, language_index):
        raise RuntimeError("one recording takes no grouping")

    def predict(self, signature, inputs):
        length = inputs["length"][0]
        total = inputs.get("submodel", np.zeros(1)).sum()
        status = b"OK" if length < 16000 else b"too long"
        if length == 15999:
            status = b"CUT: as many tokens as can be"
        text = f"{signature} {length} {total:g}"
        if "language_index" in inputs:
            text += f" in {inputs['language_index'][0]}"
        return {
            "text": [text.encode()],
            "score": np.array([-1.0], np.float32),
            "status": [status],
        }

    def close(self):
        self.closed = True


class Busy:
    """Refuses every recording a number of times, then recognises it."""

    sample_rate = 16000

    def __init__(self, times):
        self.times = times
        self.asked = 0

    def submit(self, samples, submodel_id, language):
        self.asked += 1
        return self

    def result(self):
        if self.asked <= self.times:
            raise client.TranscriptionError("full", "RESOURCE_EXHAUSTED", 0.0)
        return client.Transcript("yes", 0.0, "", "base")


def recording(folder, name, num_samples):
    path = folder / name
    soundfile.write(path, np.resize([0.1, -0.1], num_samples), 16000)
    return str(path)


def made(value, layout=LAYOUT, language=""):
    vector = np.full(layout.num_values, value, np.float32)
    return submodel.create(
        layout,
        layout.unpack(vector),
        base_fingerprint=BASE,
        speaker="F01",
        language=language,
    )


def test_files_come_in_order_and_a_bad_one_is_skipped(
    tmp_path,
):
    paths = [recording(tmp_path, f"{n}.wav", 1000 * n) for n in (3, 1, 2)]
    (tmp_path / "text.wav").write_text("not audio")
    paths.insert(1, str(tmp_path / "text.wav"))
    paths.append(recording(tmp_path, "long.wav", 16000))
    found = list(
        transcribing.transcribe_files(
            transcribing.Local(Engine()), paths, None, in_flight=2
        )
    )
    assert [path for path, _, _ in found] == paths
    texts = [row and row.text for _, row, _ in found]
    assert texts == [
        "base 3000 0",
        None,
        "base 1000 0",
        "base 2000 0",
        None,
    ]
    assert "text.wav" in found[1][2]
    assert found[4][2] == f"{paths[4]}: too long"


def test_a_local_model_writes_the_language_asked_for_or_the_submodels():
    def local(**fields):
        return transcribing.Local(
            Engine(languages=("en", "de", "fr")), made(0.0, **fields)
        )

    def text(recogniser, **more):
        return recogniser.submit(np.zeros(300), **more).result().text

    assert text(local(language="de")) == "serving_default 300 0 in 1"
    assert text(local(language="de"), language="fr").endswith(" in 2")
    with pytest.raises(ValueError, match="nothing says in which language"):
        text(local())
    with pytest.raises(ValueError, match="no language 'es'. It knows: de, en"):
        text(local(language="de"), language="es")
    # A model of one language is not asked for any.
    assert text(transcribing.Local(Engine())) == "base 300 0"


def test_a_language_that_is_not_known_is_each_recordings_error(tmp_path):
    path = recording(tmp_path, "a.wav", 1000)
    [found] = transcribing.transcribe_files(
        transcribing.Local(Engine()), [path], None, language="es"
    )
    assert found.error.startswith(f"{path}: ") and "'en' alone" in found.error


def test_a_cut_text_is_a_transcript_that_says_so():
    whole, cut = (
        transcribing.Local(Engine()).submit(np.zeros(n)).result()
        for n in (300, 15999)
    )
    assert (whole.text, whole.status) == ("base 300 0", "OK")
    assert (cut.text, cut.status) == (
        "base 15999 0",
        "CUT: as many tokens as can be",
    )


def test_a_busy_server_is_asked_again_at_its_time(tmp_path):
    path = recording(tmp_path, "a.wav", 1000)
    busy = Busy(times=3)
    ((_, found, error),) = transcribing.transcribe_files(busy, [path], "F01")
    assert found.text == "yes" and busy.asked == 4


def test_a_server_that_stays_busy_is_given_up(tmp_path):
    path = recording(tmp_path, "a.wav", 1000)
    ((_, found, error),) = transcribing.transcribe_files(
        Busy(times=1000), [path], "F01"
    )
    assert found is None and error == f"{path}: full"


@pytest.fixture
def local_engine(monkeypatch):
    loaded = Engine()
    monkeypatch.setattr(
        transcribing.saved_model,
        "SavedModelEngine",
        lambda path, warm_up: loaded,
    )
    monkeypatch.setattr(transcribing, "newest", lambda path: path)
    return loaded


def test_local_uses_a_submodels_file(tmp_path, local_engine):
    file = tmp_path / "F01.safetensors"
    submodel.save(file, made(2.0))
    with transcribing.open_local("export", path=str(file)) as recogniser:
        found = recogniser.submit(np.zeros(5, np.float32)).result()
    assert found.text == f"serving_default 5 {2 * LAYOUT.num_values}"
    assert found.served_by == "submodel"
    assert local_engine.closed


def test_local_uses_the_stores_current_version(tmp_path, local_engine):
    store = submodel_store.SubmodelStore(str(tmp_path / "store"))
    for value in (1.0, 3.0):
        store.publish(submodel.to_bytes(made(value)), "clinic", "F01")
    recogniser = transcribing.open_local(
        "export", store=str(tmp_path / "store"), tenant="clinic", speaker="F01"
    )
    found = recogniser.submit(np.zeros(5, np.float32)).result()
    assert found.text == f"serving_default 5 {3 * LAYOUT.num_values}"
    assert found.submodel_version.startswith("2-")


def test_local_speaker_who_is_not_in_the_store_is_an_error(
    tmp_path, local_engine
):
    store = submodel_store.SubmodelStore(str(tmp_path / "store"))
    store.publish(submodel.to_bytes(made(1.0)), "clinic", "F01")
    with pytest.raises(ValueError, match="F02"):
        transcribing.open_local(
            "export",
            store=str(tmp_path / "store"),
            tenant="clinic",
            speaker="F02",
        )
    assert local_engine.closed


def test_local_submodel_of_another_base_is_refused(tmp_path, local_engine):
    other = submodel.create(
        LAYOUT,
        LAYOUT.unpack(np.zeros(LAYOUT.num_values, np.float32)),
        base_fingerprint="cd" * 32,
        speaker="F01",
    )
    file = tmp_path / "F01.safetensors"
    submodel.save(file, other)
    with pytest.raises(ValueError, match="another base"):
        transcribing.open_local("export", path=str(file))
    assert local_engine.closed


def test_local_submodel_of_another_residual_weight_is_refused(
    tmp_path, local_engine
):
    other = made(1.0, layouts.adapters(2, 1, (0,), residual_weight=0.5))
    file = tmp_path / "F01.safetensors"
    submodel.save(file, other)
    with pytest.raises(ValueError, match="Received: .* residual_weight=0.5"):
        transcribing.open_local("export", path=str(file))
    assert local_engine.closed


def test_newest_export_is_the_highest_number_and_not_the_last_name(tmp_path):
    for name in ("9", "10", "2", "temporary"):
        (tmp_path / name).mkdir()
    assert transcribing.newest(str(tmp_path)) == str(tmp_path / "10")
    with pytest.raises(ValueError, match="no export"):
        transcribing.newest(str(tmp_path / "2"))


def test_export_with_a_submodel_folded_in_takes_none(tmp_path, monkeypatch):
    folded = Engine({"sha256": "cd" * 32})
    monkeypatch.setattr(
        transcribing.saved_model,
        "SavedModelEngine",
        lambda path, warm_up: folded,
    )
    monkeypatch.setattr(transcribing, "newest", lambda path: path)
    found = transcribing.open_local("export").submit(np.zeros(5)).result()
    assert found.text == "serving_default 5 0"
    assert (found.served_by, found.submodel_version) == ("submodel", "cd" * 6)
    with pytest.raises(ValueError, match="name none"):
        transcribing.open_local("export", base=True)


def test_export_that_takes_submodels_wants_one_named(local_engine):
    with pytest.raises(ValueError, match="say whose"):
        transcribing.open_local("export")
    recogniser = transcribing.open_local("export", base=True)
    assert recogniser.submit(np.zeros(5)).result().text == "base 5 0"


def test_recordings_are_read_at_the_rate_that_the_base_takes(tmp_path):
    path = str(tmp_path / "a.wav")
    soundfile.write(path, np.sin(np.arange(16000)), 16000)
    for rate in (8000, 12000):
        recogniser = Engine()
        recogniser.description.sample_rate = rate
        local = transcribing.Local(recogniser)
        [(_, found, error)] = transcribing.transcribe_files(local, [path], None)
        assert not error
        assert found.text == f"base {rate} 0"
