"""An export whose texts are put together by TensorFlow Text's operations."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.base_models import conformer_ctc
from params import conformer
from tasks.serving.exports import folder as export_folder, signatures
from tests import layouts
from tests.tasks.serving import example_exports

LENGTHS = [9000, 16000]
# A server of its own process, where nobody has loaded TensorFlow Text before.
PROGRAM = """
import json, sys
import numpy as np
from tasks.serving.exports import saved_model
loaded = saved_model.SavedModelEngine(sys.argv[1], warm_up=False)
inputs = dict(np.load(sys.argv[2]))
answer = loaded.predict("serving_default", inputs)
print(json.dumps([text.decode() for text in answer["text"]]))
"""


@pytest.mark.slow
def test_a_sentence_piece_vocabulary_goes_into_the_graph(tmp_path):
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    trainer.train(
        sentence_iterator=iter(["turn on the light", "it's 7 o'clock"] * 20),
        model_prefix=str(tmp_path / "words"),
        vocab_size=30,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    keras.utils.set_random_seed(0)
    base = conformer_ctc.ConformerCtc(
        **vars(conformer.Tiny().base)
        | {
            "vocabulary": str(tmp_path / "words.model"),
            "buckets_seconds": (1.0,),
        }
    )
    layout = layouts.adapters(base.model_dim, 4, (0, 1))
    made = signatures.Recognizer(base, layout)
    path, description = export_folder.write(
        tmp_path / "exports", 1, made, base.fingerprint(), "test.Small"
    )
    assert description.requires_tensorflow_text
    readme = (pathlib.Path(path) / "README.md").read_text()
    assert "import tensorflow_text" in readme
    audio, length = example_exports.utterances(LENGTHS)
    draw = np.random.default_rng(0)
    rows = 0.3 * draw.standard_normal((2, layout.num_values)).astype("float32")
    encoded, paddings = base.encode(
        *base.features(tf.constant(audio), tf.constant(length)),
        made.site_functions(tf.constant(rows)),
    )
    tokens, lengths, *_ = base.decode(encoded, paddings)
    expected = base.detokenize(tokens, lengths).numpy()
    assert all(expected)
    np.savez(tmp_path / "inputs.npz", audio=audio, length=length, submodel=rows)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, path, str(tmp_path / "inputs.npz")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == [text.decode() for text in expected]
