"""Makes a short-context base model out of a pretrained Whisper, once.

    python -m tasks.shorten_context --base=tiny.en --manifest=speech.jsonl \\
        --output_dir=BASE

Whisper computes on 30 s of audio, whatever the utterance's length. The base
model that this command writes computes on the utterance alone. It is a Hugging
Face safetensors directory, a base model with a fingerprint of its own. The
speech needs no transcripts; a few hundred utterances of several voices are
enough.
"""

from absl import flags

from lingvo_like import hyperparams
from params import bases
from tasks import cli, setting_flags

flags.adopt_module_key_flags(setting_flags)

_BASE = flags.DEFINE_string("base", "", "The Whisper to start from.")
_MANIFEST = flags.DEFINE_list(
    "manifest", [], "JSONL manifests of any speech, separated by commas."
)
_OUTPUT_DIR = flags.DEFINE_string("output_dir", "", "Folder to write.")
_STRICT = flags.DEFINE_bool(
    "strict", False, "Refuse if any utterance is unusable."
)
_LANGUAGE = flags.DEFINE_string(
    "language",
    "",
    "Language of utterances whose lines name none, a code such as es.",
)
_CHECK_MEMORY = flags.DEFINE_bool(
    "check_memory", True, "Refuse what takes more memory than there is."
)


def main(_: list[str]) -> None:
    if setting_flags.are_to_be_listed():
        setting_flags.show(bases.ContextShortening())
        return
    cli.require(_BASE, _MANIFEST, _OUTPUT_DIR)
    settings = hyperparams.replace(
        bases.ContextShortening(), setting_flags.given()
    )
    # Late, so that --help answers at once.
    from tasks.asr.bases import context_shortening
    from tasks.asr.estimates import shortening

    shortening.check(
        _BASE.value, _MANIFEST.value, settings, _CHECK_MEMORY.value
    )
    context_shortening.make_short_base(
        _BASE.value,
        _MANIFEST.value,
        _OUTPUT_DIR.value,
        settings,
        language=_LANGUAGE.value,
        strict=_STRICT.value,
    )


if __name__ == "__main__":
    cli.run(main)
