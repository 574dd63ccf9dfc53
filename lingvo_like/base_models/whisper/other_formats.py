"""Formats of weights that are not read, and what to do about each."""

_CONVERSION = (
    "write it as safetensors with transformers: "
    "WhisperForConditionalGeneration.from_pretrained(FOLDER{})"
    ".save_pretrained(OUT), and copy tokenizer.json there"
)
# By the name of a file in a folder without model.safetensors.
ADVICE = {
    "adapter_config.json": "adapters of PEFT, whose model is elsewhere: "
    "tasks.submodel import makes a Submodel of them; merge_and_unload() and "
    "save_pretrained(OUT) write both as one",
    "pytorch_model.bin": "a pickle, which can run any program; "
    + _CONVERSION.format(""),
    "pytorch_model.bin.index.json": "pickles, which can run any program; "
    + _CONVERSION.format(""),
    "tf_model.h5": "weights of TensorFlow classes; "
    + _CONVERSION.format(", from_tf=True"),
    "flax_model.msgpack": "weights of Flax classes; "
    + _CONVERSION.format(", from_flax=True"),
}
