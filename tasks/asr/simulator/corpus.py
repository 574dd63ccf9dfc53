"""A simulated corpus: audio, manifests and the account of how it was made."""

import concurrent.futures
import dataclasses
import io
import json
import multiprocessing
import os
import signal

import soundfile
import tqdm

from tasks.asr import new_folder
from tasks.asr.simulator import phonology, prompts, synthesis, voices

METADATA = "simulation.json"
_NOTICE = (
    "Simulated speech: synthetic voices with phonological processes applied "
    "by rule. Never clinical evidence."
)
_UTTERANCES_PER_TASK = 8


@dataclasses.dataclass(frozen=True)
class Request:
    """Everything that the bytes of a simulated corpus depend on.

    Raises:
        ValueError: on construction, for a value that makes no corpus.
    """

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

    def __post_init__(self):
        for name in ("num_speakers", "utterances_per_speaker"):
            _check_at_least(self, name, 1)
        for name in ("dev_utterances", "test_utterances"):
            _check_at_least(self, name, 0)
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
        if not self.speaker_prefix.isalnum():
            raise ValueError(
                "`speaker_prefix` must be letters and digits. "
                f"Received: {self.speaker_prefix!r}."
            )
        self.texts("")

    def speakers(self):
        """The `voices.Speaker`s; each is the same however many there are."""
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

    def texts(self, speaker):
        """What the speaker of an id says: a list of `(text, split)`."""
        return prompts.draw(
            voices.stream(self.seed, speaker, "prompts"),
            self.utterances_per_speaker,
            self.dev_utterances if self.split else 0,
            self.test_utterances if self.split else 0,
        )

    def as_json(self):
        """A dictionary of JSON values, the engine's version included."""
        values = dataclasses.asdict(self) | {"engine": synthesis.engine()}
        return json.loads(json.dumps(values))


def _check_at_least(request, name, least):
    value = getattr(request, name)
    if value < least:
        raise ValueError(
            f"`{name}` must be at least {least}. Received: {value}."
        )


def simulate(request, output_dir, num_processes=None):
    """Writes a corpus into a new folder, or finds the same one there.

    The folder holds audio/, manifest.jsonl, simulation.json and, if the
    request splits, train.jsonl, dev.jsonl and test.jsonl. Its bytes depend on
    the request and the engine alone, not on `num_processes`.

    Args:
        request: a `Request`.
        output_dir: local folder, absent or empty, or made by the very same
            request, which is then left as it is.
        num_processes: how many worker processes; every core by default.

    Returns:
        `(metadata, made)`: the content of simulation.json, and whether it was
        made now. `seconds` is the total duration of the audio.

    Raises:
        ValueError: the optional package is missing.
        FileExistsError: the folder holds something else.
        OSError: it cannot be written, or a worker died.
    """
    made_before = _same_corpus(request, output_dir)
    if made_before:
        return made_before, False
    speakers = request.speakers()
    with new_folder.create(output_dir) as folder:
        lines, pronunciations = _record(
            request, speakers, folder, num_processes
        )
        new_folder.write_manifests(folder, lines, request.split)
        metadata = {
            "notice": _NOTICE,
            "simulated": True,
            "request": request.as_json(),
            "seconds": round(sum(line["duration"] for line in lines), 3),
            "num_utterances": len(lines),
            "speakers": [
                dataclasses.asdict(speaker)
                | {"homophones": pronunciations.account(speaker, lines)}
                for speaker in speakers
            ],
        }
        (folder / METADATA).write_text(
            json.dumps(metadata, indent=1) + "\n", encoding="utf-8"
        )
    return metadata, True


def _same_corpus(request, output_dir):
    path = new_folder.local_path(output_dir) / METADATA
    if not path.exists():
        return None
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
        before = metadata["request"]
    except (ValueError, KeyError, TypeError):
        before = {}
    wanted = request.as_json()
    different = sorted(
        key
        for key in wanted.keys() | before.keys()
        if wanted.get(key) != before.get(key)
    )
    if different:
        raise FileExistsError(
            f"{output_dir} holds a simulated corpus of another request: "
            + ", ".join(
                f"{key} is {before.get(key)!r} there, {wanted.get(key)!r} here"
                for key in different
            )
            + "; name another output folder or remove that one."
        )
    return metadata


@dataclasses.dataclass(frozen=True)
class _Pronunciations:
    """What was said, for the account of homophones."""

    lexicon: dict
    by_utterance: dict

    def account(self, speaker, lines):
        """Texts that one speaker's processes made one, and what that costs."""
        rates = speaker.processes
        all_fire = dict.fromkeys(rates, 1.0)
        phrases, words = prompts.phrases(), prompts.words()
        possible = phonology.collisions(phrases, self.lexicon, all_fire)
        own = [line for line in lines if line["speaker"] == speaker.speaker]
        bounds = {}
        for split in ("train", "dev", "test"):
            said = [
                (line["text"], self.by_utterance[line["utt_id"]])
                for line in own
                if line["split"] == split
            ]
            if said:
                bounds[split] = phonology.error_bounds(said)
        return {
            "always_phrases": phonology.collisions(
                phrases, self.lexicon, rates
            ),
            "always_words": phonology.collisions(words, self.lexicon, rates),
            "possible_words": phonology.collisions(
                words, self.lexicon, all_fire
            ),
            "possible_num_phrases": sum(len(group) for group in possible),
            "lowest_error_rates": bounds,
        }


def _record(request, speakers, folder, num_processes):
    """Writes the audio; returns the manifest's lines and `_Pronunciations`."""
    plan = []
    for speaker in speakers:
        (folder / "audio" / speaker.speaker).mkdir(parents=True)
        texts = request.texts(speaker.speaker)
        plan += [
            (speaker, number, text, split)
            for number, (text, split) in enumerate(texts)
        ]
    lines, phonemes = [], {}
    with (
        _workers(num_processes) as pool,
        tqdm.tqdm(total=len(plan), unit="utterance", desc="simulate") as bar,
    ):
        lexicon = pool.submit(synthesis.lexicon, prompts.words()).result()
        tasks = [
            pool.submit(_utterances, part, request.seed, lexicon, str(folder))
            for part in (
                plan[start : start + _UTTERANCES_PER_TASK]
                for start in range(0, len(plan), _UTTERANCES_PER_TASK)
            )
        ]
        for task in tasks:
            for line, said in task.result():
                lines.append(line)
                phonemes[line["utt_id"]] = said
                bar.update()
    return lines, _Pronunciations(lexicon, phonemes)


class _Workers(concurrent.futures.ProcessPoolExecutor):
    """Fresh processes, so that nothing loaded here reaches the engine."""

    def __exit__(self, error_type, error, traceback):
        self.shutdown(wait=True, cancel_futures=error is not None)
        if isinstance(error, concurrent.futures.process.BrokenProcessPool):
            raise OSError(
                "a worker of the simulation died, perhaps for want of memory; "
                "run it again with a smaller --num_processes."
            ) from error


def _workers(num_processes):
    return _Workers(
        num_processes or os.cpu_count(),
        mp_context=multiprocessing.get_context("spawn"),
        # Ctrl-C is for the parent, which then cancels what is left.
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )


def _utterances(plan, seed, lexicon, folder):
    """A worker's task: lines of the manifest and what was said."""
    results = []
    for speaker, number, text, split in plan:
        phonemes, audio = synthesis.utterance(
            speaker, text, number, seed, lexicon
        )
        utt_id = f"{speaker.speaker}_{number:04d}"
        path = f"audio/{speaker.speaker}/{utt_id}.wav"
        # Encoded in memory: soundfile hides why a file cannot be written.
        wav = io.BytesIO()
        soundfile.write(
            wav, audio, synthesis.SAMPLE_RATE, "PCM_16", None, "WAV"
        )
        with open(os.path.join(folder, path), "wb") as file:
            file.write(wav.getvalue())
        line = {
            "audio_filepath": path,
            "duration": len(audio) / synthesis.SAMPLE_RATE,
            "text": text,
            "speaker": speaker.speaker,
            "utt_id": utt_id,
            "split": split,
            "severity": speaker.severity,
            "simulated": True,
        }
        results.append((line, phonemes))
    return results
