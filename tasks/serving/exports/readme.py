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
- `status`, string [rows]: "OK"; or "CUT: ..." and why, where the text has no
  end of its own and what was said after it is missing; or why this row has no
  text. A bad row does not fail the call, and its neighbours are answered.

## Base model

- experiment: {experiment}
- fingerprint: {export.base_fingerprint}
- decoding: {decoding}, at most {export.max_tokens} tokens
{languages}\
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

_OPEN = (
    "One base model that recognises every row of a batch with that row's own "
    "Submodel."
)
_ARGUMENTS = (
    "\n        audio=audio, length=length, submodel=submodel{more}\n    "
)
_LANGUAGE_ARGUMENT = ", language_index=[0]"
_SUBMODELS = """
## Submodels

{layout}: {export.num_values} float32 values, in this order, row-major.

{tensors}

A Submodel must have this base's fingerprint.
"""

# Of an export with one Submodel folded in.
_FOLDED = (
    "A speech recogniser with the Submodel of one speaker, {speaker}, folded "
    "in."
)
_FOLDED_ARGUMENTS = "audio=audio, length=length{more}"
_FOLDED_SUBMODEL = "- Submodel: of {speaker}, SHA-256 {sha256}\n"


def text(description: export_description.Description, name: str) -> str:
    """The README of an export of a model with this name."""
    folded = description.submodel
    has_languages = len(description.languages) > 1
    tf_text = "    import tensorflow_text  # registers its operations\n"
    python = _PYTHON.format(
        tf_text=tf_text if description.requires_tensorflow_text else "",
        arguments=(_FOLDED_ARGUMENTS if folded else _ARGUMENTS).format(
            more=_LANGUAGE_ARGUMENT if has_languages else ""
        ),
    )
    beams = f"beam search with {description.beam_size} beams"
    return _TEXT.format(
        name=name,
        export=description,
        what=_FOLDED.format(**folded) if folded else _OPEN,
        inputs=_inputs(description),
        sample_rate=description.sample_rate,
        max_seconds=description.max_samples / description.sample_rate,
        experiment=description.experiment or "unknown",
        languages=_languages(description),
        decoding="greedy" if description.beam_size == 1 else beams,
        bucket_samples=", ".join(map(str, description.bucket_samples)),
        submodel=(
            _FOLDED_SUBMODEL.format(**folded)
            if folded
            else _SUBMODELS.format(
                export=description,
                layout=description.layout.describe(),
                tensors="\n".join(
                    f"- {name} {list(shape)}"
                    for name, shape in description.layout.shapes.items()
                ),
            )
        ),
        use=python if folded else f"{_SERVE.format(name=name)}\n\n{python}",
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
    if len(description.languages) > 1:
        known = len(description.languages)
        default = description.default_language or "each request names one"
        lines.append(f"  languages: {known}, default: {default}")
    if description.submodel:
        lines.append(f"  Submodel folded in: {description.submodel['speaker']}")
    else:
        lines.append(f"  Submodels: {description.num_values} values")
    if description.requires_tensorflow_text:
        lines.append("  a program that loads it must import tensorflow_text")
    return "\n".join(lines)


def _languages(description: export_description.Description) -> str:
    """A line on the languages that a row may name; empty without any."""
    if len(description.languages) == 1:
        return ""
    indices = ", ".join(
        f"{code} {index}" for index, code in enumerate(description.languages)
    )
    default = description.default_language or "none"
    return (
        f"- languages, with the value of `language_index`: {indices}\n"
        f"- language of a server's requests that name none: {default}\n"
    )


def _inputs(description: export_description.Description) -> str:
    lines = []
    for name, signature in description.signatures.items():
        lines.append(f"Signature `{name}`:\n")
        for key, info in signature["inputs"].items():
            shape = [("any" if d < 0 else str(d)) for d in info["shape"]]
            lines.append(f"- `{key}`, {info['dtype']} [{', '.join(shape)}]")
        lines.append("")
    if len(description.languages) > 1:
        lines += [
            "`language_index` is the language to write, for each row of audio;",
            "below is which one has which index.",
            "",
        ]
    if not description.submodel:
        lines += [
            "`submodel` is a packed Submodel for each row of audio; a row of",
            "zeros is the base model. `submodels` holds each Submodel once,",
            "and `index` chooses one of them for each row of audio.",
        ]
    return "\n".join(lines).strip()
