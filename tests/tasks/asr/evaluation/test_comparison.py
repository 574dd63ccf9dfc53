"""The same speech with and without Submodels."""

import numpy as np

from lingvo_like.submodel import file as submodel_file
from tasks.asr import layouts
from tasks.asr.evaluation import comparison, recordings, tested_submodels
from tasks.asr.training import model_directory
from tests import tiny

SPEAKERS = ("ann", "bob", "cy")


def test_submodels_that_no_one_stack_holds_are_taken_in_parts(
    tmp_path, monkeypatch
):
    base = tiny.base()
    manifest = tiny.recordings(tmp_path, SPEAKERS, 2)
    layout = layouts.of(base.sites, tiny.experiment())
    directory = model_directory.ModelDirectory(str(tmp_path / "run"))
    directory.prepare()
    for index, speaker in enumerate(SPEAKERS):
        draw = np.random.default_rng(index)
        vector = draw.standard_normal(layout.num_values, dtype=np.float32)
        submodel_file.save(
            directory.submodel(speaker),
            submodel_file.create(
                layout,
                layout.unpack(vector),
                base_fingerprint=base.fingerprint(),
                speaker=speaker,
            ),
        )
    data, _ = recordings.read(base, manifest)

    def texts():
        checked = tested_submodels.read(
            directory,
            SPEAKERS,
            base.fingerprint(),
            layout,
            layout.constants(base.kernel),
        )
        return {
            (each.speaker, each.utt_id): each.submodel_hypothesis
            for each in comparison.transcribe(base, base, checked, data, {})
        }

    whole = texts()
    assert len(whole) == 6
    # Who has which Submodel can be heard.
    assert len({whole[speaker, "train0"] for speaker in SPEAKERS}) == 3
    monkeypatch.setattr(tested_submodels, "PAGE", 2)
    assert texts() == whole
