"""Makes a simulated corpus: audio, manifests and a record of the making."""

import collections
import dataclasses
import json
import os
import pathlib
from collections import abc

import tqdm

from lingvo_like import folders
from tasks.asr.data import corpus_folder, manifest
from tasks.asr.simulator import (
    phonology,
    prompts,
    synthesis,
    voices,
    wav,
    workers,
)

METADATA = "simulation.json"
_NOTICE = (
    "Simulated speech: synthetic voices with phonological processes applied "
    "by rule. Never clinical evidence."
)
_UTTERANCES_PER_TASK = 8

# An utterance and how it was said, as phonemes.
_Spoken = tuple[manifest.Utterance, str]


@dataclasses.dataclass(frozen=True)
class Request:
    """Everything that the bytes of a simulated corpus depend on."""

    num_speakers: int = 16
    # Speakers take these in turn: one name may stand twice.
    severities: tuple[str, ...] = tuple(voices.SEVERITIES)
    utterances_per_speaker: int = 70
    dev_utterances: int = 5
    test_utterances: int = 15
    seed: int = 0
    # Of voices.VARIANTS, from the first up to but without the last; speakers
    # take them in turn. Disjoint ranges share no voice.
    first_voice: int = 0
    last_voice: int = len(voices.VARIANTS)
    processes: tuple[str, ...] = phonology.PROCESSES
    # Speaker ids start with it; ids of corpora used together must differ.
    speaker_prefix: str = "SIM"
    split: bool = True

    def __post_init__(self) -> None:
        for name, least in (
            ("num_speakers", 1),
            ("utterances_per_speaker", 1),
            ("dev_utterances", 0),
            ("test_utterances", 0),
        ):
            if getattr(self, name) < least:
                raise ValueError(
                    f"`{name}` must be at least {least}. "
                    f"Received: {getattr(self, name)}."
                )
        if not self.severities:
            raise ValueError(
                "`severities` is empty; name some of: "
                f"{', '.join(voices.SEVERITIES)}."
            )
        voices.check_known(self.severities, voices.SEVERITIES, "severity")
        voices.check_known(self.processes, phonology.PROCESSES, "process")
        num_voices = len(voices.VARIANTS)
        if not 0 <= self.first_voice < self.last_voice <= num_voices:
            raise ValueError(
                f"voices go from 0 up to {num_voices}, first before last. "
                f"Received: {self.first_voice}:{self.last_voice}."
            )
        prefix = self.speaker_prefix
        if not (prefix.isalnum() and prefix.isascii() and len(prefix) <= 100):
            raise ValueError(
                "`speaker_prefix` must be up to 100 letters and digits of "
                "ASCII. "
                f"Received: {self.speaker_prefix!r}."
            )
        self.texts("")

    def speakers(self) -> list[voices.Speaker]:
        """Each speaker is the same, however many there are."""
        variants = voices.VARIANTS[self.first_voice : self.last_voice]
        return [
            voices.draw(
                self.seed,
                f"{self.speaker_prefix}{index:03d}",
                self.severities[index % len(self.severities)],
                variants[index % len(variants)],
                self.processes,
            )
            for index in range(self.num_speakers)
        ]

    def texts(self, speaker: str) -> list[tuple[str, str]]:
        """The texts of a speaker, each with its split."""
        return prompts.draw(
            voices.stream(self.seed, speaker, "prompts"),
            self.utterances_per_speaker,
            self.dev_utterances if self.split else 0,
            self.test_utterances if self.split else 0,
        )

    def as_json(self) -> dict:
        """A dictionary of JSON values, the engine's version included."""
        values = dataclasses.asdict(self) | {"engine": synthesis.engine()}
        return json.loads(json.dumps(values))


def simulate(
    request: Request,
    output_dir: str | os.PathLike,
    num_processes: int | None = None,
) -> tuple[dict, bool]:
    """Writes a corpus into a new folder, or finds the same one there.

    The folder holds audio/, manifest.jsonl, simulation.json and, if the
    request splits, train.jsonl, dev.jsonl and test.jsonl. Its bytes depend on
    the request and the engine alone, not on `num_processes`.

    Args:
        output_dir: local folder, absent or empty, or made by the very same
            request, which is then left as it is.
        num_processes: worker processes; every core by default.

    Returns:
        the content of simulation.json, and whether it was made now.

    Raises:
        ValueError: the optional package is missing.
        FileExistsError: the folder holds something else.
        OSError: it cannot be written, or a worker died.
    """
    wanted = request.as_json()
    made_before = corpus_folder.existing(output_dir, METADATA, wanted)
    if made_before:
        return made_before, False
    speakers = request.speakers()
    with folders.new_folder(output_dir) as folder:
        lexicon, spoken = _record(request, speakers, folder, num_processes)
        utterances = [utterance for utterance, _ in spoken]
        own = collections.defaultdict(list)
        for utterance, phonemes in spoken:
            own[utterance.speaker].append((utterance, phonemes))
        corpus_folder.write_manifests(folder, utterances, request.split)
        metadata = {
            "notice": _NOTICE,
            "simulated": True,
            "request": wanted,
            "seconds": round(sum(each.duration for each in utterances), 3),
            "num_utterances": len(utterances),
            "speakers": [
                dataclasses.asdict(each)
                | {"homophones": _homophones(each, lexicon, own[each.speaker])}
                for each in speakers
            ],
        }
        corpus_folder.write_json(folder / METADATA, metadata)
    return metadata, True


def _homophones(
    speaker: voices.Speaker,
    lexicon: phonology.Lexicon,
    spoken: abc.Iterable[_Spoken],
) -> dict:
    """Texts that a speaker's processes make equal, and the errors they cost."""
    rates = speaker.processes
    all_fire = dict.fromkeys(rates, 1.0)
    phrases, words = prompts.phrases(), prompts.words()
    possible = phonology.collisions(phrases, lexicon, all_fire)
    said = collections.defaultdict(list)
    for utterance, phonemes in spoken:
        said[utterance.split].append((utterance.text, phonemes))
    return {
        "always_phrases": phonology.collisions(phrases, lexicon, rates),
        "always_words": phonology.collisions(words, lexicon, rates),
        "possible_words": phonology.collisions(words, lexicon, all_fire),
        "possible_num_phrases": sum(len(group) for group in possible),
        # Of this corpus, as it was said: no recogniser can do better.
        "lowest_error_rates": {
            split: phonology.error_bounds(pairs)
            for split, pairs in said.items()
        },
    }


def _record(
    request: Request,
    speakers: abc.Iterable[voices.Speaker],
    folder: pathlib.Path,
    num_processes: int | None,
) -> tuple[phonology.Lexicon, list[_Spoken]]:
    plan = []
    for speaker in speakers:
        (folder / "audio" / speaker.speaker).mkdir(parents=True)
        texts = request.texts(speaker.speaker)
        plan += [
            (speaker, number, text, split)
            for number, (text, split) in enumerate(texts)
        ]
    spoken = []
    with (
        workers.Workers(num_processes) as pool,
        tqdm.tqdm(total=len(plan), unit="utterance", desc="simulate") as bar,
    ):
        lexicon = pool.submit(synthesis.lexicon, prompts.words()).result()
        starts = range(0, len(plan), _UTTERANCES_PER_TASK)
        parts = [plan[start : start + _UTTERANCES_PER_TASK] for start in starts]
        tasks = [
            pool.submit(_utterances, part, request.seed, lexicon, str(folder))
            for part in parts
        ]
        for task in tasks:
            spoken += task.result()
            bar.update(len(spoken) - bar.n)
    return lexicon, spoken


def _utterances(
    plan: abc.Iterable[tuple[voices.Speaker, int, str, str]],
    seed: int,
    lexicon: phonology.Lexicon,
    folder: str,
) -> list[_Spoken]:
    """A worker's task: utterances and how each was said."""
    results = []
    for speaker, number, text, split in plan:
        phonemes, audio = synthesis.utterance(
            speaker, text, number, seed, lexicon
        )
        utt_id = f"{speaker.speaker}_{number:04d}"
        path = os.path.join(folder, "audio", speaker.speaker, f"{utt_id}.wav")
        wav.write(path, audio, synthesis.SAMPLE_RATE)
        utterance = manifest.Utterance(
            path,
            text,
            speaker.speaker,
            utt_id,
            len(audio) / synthesis.SAMPLE_RATE,
            split=split,
            severity=speaker.severity,
            language="en",
            simulated=True,
        )
        results.append((utterance, phonemes))
    return results
