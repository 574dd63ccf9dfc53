"""Makes a short-context base model out of a pretrained Whisper, once.

    python -m tasks.shorten_context --base=tiny.en --manifest=speech.jsonl \\
        --output_dir=BASE

Whisper pays for 30 s of audio whatever it is given. The base model that this
writes, a Hugging Face safetensors directory, pays for the utterance. It is a
base model of its own, with its own fingerprint. The speech needs no
transcripts; a few hundred utterances of several voices are enough.
"""

import os

from absl import flags

from tasks import cli

_BASE = flags.DEFINE_string("base", "", "The Whisper to start from.")
_MANIFEST = flags.DEFINE_list(
    "manifest", [], "JSONL manifests of any speech, separated by commas."
)
_OUTPUT_DIR = flags.DEFINE_string("output_dir", "", "Folder to write.")
_SET = flags.DEFINE_multi_string(
    "set", [], "Override of one value, such as num_steps=80."
)
_STRICT = flags.DEFINE_bool(
    "strict", False, "Refuse if any utterance is unusable."
)
_LANGUAGE = flags.DEFINE_string("language", "en", "Language of the speech.")


def main(_):
    for flag in (_BASE, _MANIFEST, _OUTPUT_DIR):
        if not flag.value:
            cli.fail(f"--{flag.name} is missing; see --help")
    output = _OUTPUT_DIR.value.rstrip("/")
    if os.path.exists(output) and os.listdir(output):
        cli.fail(f"{output} exists and is not empty; name a new --output_dir")
    from lingvo_like import files, hyperparams
    from lingvo_like.base_models.whisper import model as whisper
    from params import schema
    from tasks.asr.bases import context_shortening
    from tasks.asr.data import inspection, rejections
    from tasks.asr.training import model_directory

    values = hyperparams.override(schema.ContextShortening(), _SET.value)
    model_directory.check_writable(
        os.path.dirname(output) or ".", "the folder of --output_dir"
    )
    teacher = whisper.load(_BASE.value, "full", _LANGUAGE.value)
    student = whisper.load(
        _BASE.value, "short", _LANGUAGE.value, allow_unshortened=True
    )
    decoding = inspection.Decoding(teacher.seconds(teacher.max_samples))
    utterances, left_out = [], rejections.Rejections()
    for path in _MANIFEST.value:
        usable, unusable = inspection.read(path, decoding=decoding)
        utterances += usable
        left_out.extend(unusable)
    print(left_out.describe(), end="")
    if _STRICT.value:
        left_out.raise_if_any("the manifests")
    if not utterances:
        cli.fail(
            f"{', '.join(_MANIFEST.value)}: nothing usable to learn from: "
            f"{left_out.summary() or 'no lines'}"
        )
    losses = context_shortening.shorten(teacher, student, utterances, values)
    student.save(output)
    account = left_out.describe(examples=None)
    files.write_atomically(
        os.path.join(output, "left_out.txt"), account.encode()
    )
    print(
        f"{len(utterances)} utterances, {values.num_steps} steps, loss "
        f"{losses[0]:.4f} to {losses[-1]:.4f}\nbase model: {output}\n"
        f"fingerprint: {student.fingerprint()}"
    )


if __name__ == "__main__":
    cli.run(main)
