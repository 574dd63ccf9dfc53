"""An export's description of itself for people: README.md, and a summary."""

from tasks.serving.exports import description as export_description

_TEXT = """\
# {name}

{what}

A TensorFlow SavedModel, made by `python -m tasks.export`. The file
description.json holds the same for programs, and the SHA-256 of every file.

## Inputs

{inputs}

Audio is mono, {sample_rate} samples per second, in [-1, 1] (16-bit integers
are divided by 32768), at most {max_seconds:g} s ({export.max_samples} samples).
Shorter rows may be padded with anything: only the first `length` samples of a
row are used. The rows of a call do not influence each other.

## Outputs

- `text`, string [rows]: the transcript, UTF-8.
- `score`, float32 [rows]: the mean log probability of a token.
- `status`, string [rows]: "OK", or why this row has no text. A bad row does
  not fail the call, and its neighbours are answered.

## Base model

- experiment: {experiment}
- fingerprint: {export.base_fingerprint}
- decoding: {decoding}, at most {export.max_tokens} tokens
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


def text(description: export_description.Description, name: str) -> str:
    """The README of an export of a model with this name."""
    return _TEXT.format(
        name=name,
        export=description,
        sample_rate=description.sample_rate,
        what=_what(description.submodel),
        inputs=_inputs(description),
        max_seconds=description.max_samples / description.sample_rate,
        experiment=description.experiment or "unknown",
        decoding=(
            "greedy"
            if description.beam_size == 1
            else f"beam search with {description.beam_size} beams"
        ),
        bucket_samples=", ".join(map(str, description.bucket_samples)),
        submodel=_submodel(description),
        use=_use(description, name),
    )


def summary(
    description: export_description.Description, path: str, num_bytes: int
) -> str:
    """An export in a few lines for a terminal."""
    lines = [f"exported: {path} ({num_bytes / 2**20:,.0f} MiB)"]
    for name, signature in description.signatures.items():
        lines.append(f"  {name}({', '.join(signature['inputs'])})")
    lines.append(
        f"  audio: {description.sample_rate} samples per second, at most "
        f"{description.max_samples / description.sample_rate:g} s"
    )
    if description.submodel:
        lines.append(f"  Submodel folded in: {description.submodel['speaker']}")
    else:
        lines.append(f"  Submodels: {description.num_values} values")
    if description.requires_tensorflow_text:
        lines.append("  a program that loads it must import tensorflow_text")
    return "\n".join(lines)


def _what(submodel: dict) -> str:
    if submodel:
        return (
            f"A speech recogniser with the Submodel of one speaker, "
            f"{submodel['speaker']}, folded in."
        )
    return (
        "One base model that recognises every row of a batch with that row's "
        "own Submodel."
    )


def _inputs(description: export_description.Description) -> str:
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
            "and `index` chooses one of them for each row of audio.",
        ]
    return "\n".join(lines).strip()


def _submodel(description: export_description.Description) -> str:
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
        f"A Submodel must have this base's fingerprint and the residual "
        f"weight\n{description.residual_weight:g}.\n"
    )


def _use(description: export_description.Description, name: str) -> str:
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
