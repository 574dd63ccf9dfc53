"""What an export says of itself to people: README.md."""

_TEXT = """\
# {name}

{what}

A TensorFlow SavedModel, made by `python -m tasks.export`. description.json
beside it says the same to programs, with the SHA-256 of every file.

## Inputs

{inputs}

Audio is mono, {sample_rate} samples per second, in [-1, 1] (16-bit integers
are divided by 32768), at most {max_seconds:g} s ({max_samples} samples).
Rows shorter than the longest one are padded with anything: only the first
`length` samples of a row are heard. Rows of one call never see each other.

## Outputs

- `text`, string [rows]: the transcript, UTF-8.
- `score`, float32 [rows]: the mean log probability of a token.
- `status`, string [rows]: "OK", or why this row has no text. A bad row is
  no error of the call, and its neighbours are answered.

## Base model

- experiment: {experiment}
- fingerprint: {base_fingerprint}
- decoding: {decoding}, at most {max_tokens} tokens
- padded lengths, in samples: {bucket_samples}
{submodel}
## Use

{use}
"""

_SERVE = """\
    python -m tasks.serve --export_dir=EXPORT_DIR --store=STORE

or with TensorFlow Serving, which takes the Submodel as an input:

    tensorflow_model_server --rest_api_port=8501 \\
      --model_name={name} --model_base_path=EXPORT_DIR"""

_PYTHON = """\
In Python:

    import tensorflow as tf
{tf_text}\
    model = tf.saved_model.load("EXPORT_DIR/VERSION")
    answer = model.signatures["serving_default"]({arguments})
    print(answer["text"].numpy()[0].decode())"""


def text(description, name):
    """The README of an export.

    Args:
        description: `Description`, with its signatures.
        name: string, what the model is called.
    """
    folded = description.submodel
    return _TEXT.format(
        name=name,
        what=_what(folded),
        inputs=_inputs(description),
        sample_rate=description.sample_rate,
        max_seconds=description.max_samples / description.sample_rate,
        max_samples=description.max_samples,
        experiment=description.experiment or "unknown",
        base_fingerprint=description.base_fingerprint,
        decoding=(
            "greedy"
            if description.beam_size == 1
            else f"beam search with {description.beam_size} beams"
        ),
        max_tokens=description.max_tokens,
        bucket_samples=", ".join(map(str, description.bucket_samples)),
        submodel=_submodel(description),
        use=_use(description, name),
    )


def _what(folded):
    if folded:
        return (
            f"A speech recogniser with the Submodel of one speaker, "
            f"{folded['speaker']}, folded in."
        )
    return (
        "One base model that recognises every row of a batch with that row's "
        "own Submodel."
    )


def _inputs(description):
    lines = []
    for name, signature in description.signatures.items():
        lines.append(f"Signature `{name}`:\n")
        for key, info in signature["inputs"].items():
            shape = [("any" if d < 0 else str(d)) for d in info["shape"]]
            lines.append(f"- `{key}`, {info['dtype']} [{', '.join(shape)}]")
        lines.append("")
    if not description.submodel:
        lines += [
            "`submodel` is a packed Submodel for each row of audio; a row of",
            "zeros is the base model. `submodels` holds each Submodel once,",
            "and `index` says which of them each row of audio takes.",
        ]
    return "\n".join(lines).strip()


def _submodel(description):
    if description.submodel:
        return (
            f"- Submodel: of {description.submodel['speaker']}, SHA-256 "
            f"{description.submodel['sha256']}\n"
        )
    return (
        f"\n## Submodels\n\n"
        f"{description.num_values} float32 values: for each of the encoder "
        f"blocks\n{', '.join(map(str, description.blocks))}, in this order, "
        "row-major:\n\n"
        f"- norm_scale [{description.model_dim}], an offset from one\n"
        f"- norm_bias [{description.model_dim}]\n"
        f"- down_kernel [{description.model_dim}, "
        f"{description.bottleneck_dim}]\n"
        f"- down_bias [{description.bottleneck_dim}]\n"
        f"- up_kernel [{description.bottleneck_dim}, "
        f"{description.model_dim}]\n"
        f"- up_bias [{description.model_dim}]\n\n"
        f"They must be of this base's fingerprint and have the residual "
        f"weight\n{description.residual_weight:g}.\n"
    )


def _use(description, name):
    python = _PYTHON.format(
        tf_text=(
            "    import tensorflow_text  # registers its operations\n"
            if description.requires_tensorflow_text
            else ""
        ),
        arguments=(
            "audio=audio, length=length"
            if description.submodel
            else "\n        audio=audio, length=length, submodel=submodel\n    "
        ),
    )
    if description.submodel:
        return python
    return f"{_SERVE.format(name=name)}\n\n{python}"
