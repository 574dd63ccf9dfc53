"""The encoder with its Submodels in another program's kernels."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tasks.serving import example_exports

LENGTHS = [9000, 20000, 16001]


def encoder(recognizer, inputs):
    """Features and packed Submodels to the encoder's output, traced."""

    def encode(features, paddings, submodels):
        functions = recognizer.site_functions(submodels)
        return recognizer.base.encode(features, paddings, functions)[0]

    specs = [
        tf.TensorSpec(value.shape, tf.float32, name)
        for name, value in inputs.items()
    ]
    return tf.function(
        encode, input_signature=specs, autograph=False
    ).get_concrete_function()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["full", "short", "conformer"])
def test_openvino_agrees_on_the_encoder(kind, tmp_path):
    openvino = pytest.importorskip("openvino")
    recognizer = example_exports.recognizer(kind)
    room = recognizer.base.bucket_samples(max(LENGTHS))
    audio, length = example_exports.utterances(LENGTHS, room)
    features, paddings = recognizer.base.features(
        tf.constant(audio), tf.constant(length)
    )
    inputs = {
        "features": features.numpy(),
        "paddings": paddings.numpy(),
        "submodels": example_exports.rows(kind, len(LENGTHS)),
    }
    function = encoder(recognizer, inputs)
    expected = function(*map(tf.constant, inputs.values())).numpy()
    tf.saved_model.save(
        recognizer.module(),
        str(tmp_path),
        function,
        tf.saved_model.SaveOptions(experimental_custom_gradients=False),
    )
    compiled = openvino.Core().compile_model(
        openvino.convert_model(str(tmp_path)),
        "CPU",
        # Its default may be bfloat16, by the processor.
        {"INFERENCE_PRECISION_HINT": "f32"},
    )
    (found,) = compiled(inputs).values()
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)
    zeros = np.zeros_like(inputs["submodels"])
    (base,) = compiled({**inputs, "submodels": zeros}).values()
    assert np.abs(base - found).max() > 1e-2
