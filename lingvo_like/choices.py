"""The names that a choice is made of, where experiments have to know them.

They stand here, without Keras and TensorFlow, so that a mistyped one is
refused at once.
"""

# How much audio Whisper's encoder takes.
AUDIO_CONTEXTS = ("full", "short")
# How a learning rate falls after its warmup.
DECAYS = ("constant", "linear", "cosine")
# How an embedding is normalized before it mixes the basis.
NORMALIZATIONS = ("none", "softmax", "unit")
