"""Simulates typical and atypical speech, for demos, tests and benchmarks.

    python -m tasks.simulate --output_dir=/tmp/simulated --num_speakers=16
    python -m tasks.simulate --output_dir=/tmp/altered --manifest=all.jsonl

The speakers are synthetic; or, with --manifest, human, and altered by rule:
each becomes another speaker for each severity. The result says in every line
that it is simulated, and is no clinical evidence.
"""

from collections import abc

from absl import flags

from tasks import cli
from tasks.asr.simulator import (
    corpus,
    disorders,
    phonology,
    recordings,
    voices,
)

_DEFAULTS = corpus.Request()
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", "", "Folder to make: audio, manifests, simulation.json."
)
_MANIFEST = flags.DEFINE_string(
    "manifest",
    "",
    "JSONL manifest, or several with commas, of recordings to alter, such as "
    "tasks.fetch_recordings makes; without it speakers are synthetic.",
)
_ALTERATIONS = flags.DEFINE_list(
    "alterations",
    list(disorders.ALTERATIONS),
    "What --manifest's recordings are altered in: "
    f"{', '.join(disorders.ALTERATIONS)}.",
)
_NUM_SPEAKERS = flags.DEFINE_integer(
    "num_speakers", _DEFAULTS.num_speakers, "Speakers, any number."
)
_SEVERITIES = flags.DEFINE_list(
    "severities",
    list(_DEFAULTS.severities),
    f"Severities that speakers take in turn: {', '.join(voices.SEVERITIES)}; "
    "with --manifest, that each speaker gets, all but typical by default.",
)
_UTTERANCES = flags.DEFINE_integer(
    "utterances_per_speaker",
    _DEFAULTS.utterances_per_speaker,
    "Utterances of each speaker, dev and test among them.",
)
_DEV_UTTERANCES = flags.DEFINE_integer(
    "dev_utterances",
    _DEFAULTS.dev_utterances,
    "Dev utterances of each speaker, of phrases never said in training.",
)
_TEST_UTTERANCES = flags.DEFINE_integer(
    "test_utterances",
    _DEFAULTS.test_utterances,
    "Test utterances of each speaker, of phrases never said elsewhere.",
)
_SEED = flags.DEFINE_integer("seed", _DEFAULTS.seed, "Seed of everything.")
_VOICES = flags.DEFINE_string(
    "voices",
    f"{_DEFAULTS.first_voice}:{_DEFAULTS.last_voice}",
    "FIRST:LAST of the voices that speakers take in turn, the last left out; "
    "disjoint ranges share no voice.",
)
_PROCESSES = flags.DEFINE_list(
    "processes",
    list(_DEFAULTS.processes),
    f"Phonological processes to draw: {', '.join(phonology.PROCESSES)}.",
)
_SPEAKER_PREFIX = flags.DEFINE_string(
    "speaker_prefix",
    _DEFAULTS.speaker_prefix,
    "Start of speaker ids; give each corpus used in one job its own.",
)
_SPLIT = flags.DEFINE_bool(
    "split", _DEFAULTS.split, "Hold out dev and test phrases per speaker."
)
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes",
    None,
    "Worker processes, all cores by default; the result is the same.",
    lower_bound=1,
)

_OF_SYNTHETIC_SPEAKERS = (
    _NUM_SPEAKERS,
    _UTTERANCES,
    _DEV_UTTERANCES,
    _TEST_UTTERANCES,
    _VOICES,
    _PROCESSES,
    _SPEAKER_PREFIX,
    _SPLIT,
)


def main(_: list[str]) -> None:
    cli.require(_OUTPUT_DIR)
    if _MANIFEST.value:
        _alter()
    else:
        _synthesise()


def _alter() -> None:
    _refuse(_OF_SYNTHETIC_SPEAKERS, "is about synthetic speakers; leave it out")
    chosen = {}
    if _SEVERITIES.present:
        chosen["severities"] = tuple(_SEVERITIES.value)
    request = recordings.Request(
        manifest=_MANIFEST.value,
        alterations=tuple(_ALTERATIONS.value),
        seed=_SEED.value,
        **chosen,
    )
    output_dir = _OUTPUT_DIR.value
    metadata, left_out, made = recordings.alter(
        request, output_dir, _NUM_PROCESSES.value
    )
    if not made:
        print(f"{output_dir} already holds these recordings; left as it is.")
    print(left_out.describe(), end="")
    print(metadata["notice"])
    print(
        f"{len(metadata['speakers'])} altered speakers, "
        f"{metadata['num_utterances']} utterances, "
        f"{metadata['seconds'] / 60:.1f} minutes: {output_dir}"
    )


def _refuse(refused: abc.Iterable[flags.FlagHolder], why: str) -> None:
    for flag in refused:
        if flag.present:
            raise ValueError(f"--{flag.name} {why}")


def _synthesise() -> None:
    _refuse([_ALTERATIONS], "is about recordings; name them with --manifest")
    first_voice, last_voice = _voice_range()
    request = corpus.Request(
        num_speakers=_NUM_SPEAKERS.value,
        severities=tuple(_SEVERITIES.value),
        utterances_per_speaker=_UTTERANCES.value,
        dev_utterances=_DEV_UTTERANCES.value,
        test_utterances=_TEST_UTTERANCES.value,
        seed=_SEED.value,
        first_voice=first_voice,
        last_voice=last_voice,
        processes=tuple(_PROCESSES.value),
        speaker_prefix=_SPEAKER_PREFIX.value,
        split=_SPLIT.value,
    )
    output_dir = _OUTPUT_DIR.value
    metadata, made = corpus.simulate(request, output_dir, _NUM_PROCESSES.value)
    if not made:
        print(f"{output_dir} already holds this very corpus; left as it is.")
    print(
        f"{request.num_speakers} simulated speakers, "
        f"{metadata['num_utterances']} utterances, "
        f"{metadata['seconds'] / 60:.1f} minutes: {output_dir}"
    )


def _voice_range() -> tuple[int, int]:
    first, _, last = _VOICES.value.partition(":")
    try:
        return int(first), int(last)
    except ValueError:
        raise ValueError(
            "--voices must be FIRST:LAST, two whole numbers. "
            f"Received: {_VOICES.value!r}."
        ) from None


if __name__ == "__main__":
    cli.run(main)
