"""Trains PEFT's LoRA on the same voices, one job a voice.

A row of `peft_voices.jsonl` is one job: its settings, error rates and seconds.
"""

import json
import pathlib
import subprocess

import numpy as np

from lingvo_like import files
from lingvo_like.base_models.whisper import loops
from tasks.asr.data import audio, preparation, rejections, text
from tasks.asr.evaluation import recordings
from tests.benchmarks import heard as heard_lib, real_speech

ROWS = pathlib.Path(__file__).with_suffix(".jsonl")
_BLOCKS = r".*\.layers\.\d+\."
# Ranks and modules, as regular expressions over Hugging Face's names.
VARIANTS = {
    "peft_encoder_32": (
        32,
        r".*encoder\.layers\.\d+\.(self_attn\.\w+_proj|fc1|fc2)",
    ),
    "peft_both_4": (
        4,
        _BLOCKS + r"((self_attn|encoder_attn)\.(q|v)_proj|fc1|fc2)",
    ),
}


class PeftVoices:
    """PEFT's jobs, their files in a folder.

    Args:
        base: the Whisper of 30 s.
        arguments: `peft_python`, `peft_rows`, `peft_steps`,
            `peft_learning_rate`, `peft_seconds`.
        folder: for PEFT's input and output.
        manifests: paths by split. PEFT learns from the dev speech, too: it
            has no other use for it.
    """

    def __init__(self, base, arguments, folder, manifests):
        self._base, self._arguments = base, arguments
        self._folder = pathlib.Path(folder)
        self._manifests = manifests
        self._train = None

    def run(self, voice, variant, learn):
        """The row of a voice.

        Args:
            learn: if False, only a row that is there is given; None without it.
        """
        arguments = self._arguments
        settings = {
            "base": self._base.fingerprint(),
            "speech": real_speech.digest_of(voice, *self._manifests.values()),
            "steps": arguments.peft_steps,
            "batch": 8,
            "learning_rate": arguments.peft_learning_rate,
            "context_seconds": arguments.peft_seconds,
            "seed": 0,
        }
        name = {"voice": voice, "variant": variant}
        rows = self._rows()
        for row in rows:
            if row | name == row and row["settings"] == settings:
                return row
        if not learn:
            return None
        row = name | {"settings": settings}
        row |= self._learn(voice, variant, settings)
        others = [each for each in self._rows() if each | name != each]
        self._write([*others, row])
        return row

    def _rows(self):
        path = pathlib.Path(self._arguments.peft_rows)
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_text().splitlines()]

    def _write(self, rows):
        rows.sort(key=lambda row: (row["voice"], row["variant"]))
        text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
        files.write_atomically(self._arguments.peft_rows, text.encode())

    def _learn(self, voice, variant, settings):
        if not self._arguments.peft_python:
            raise SystemExit(
                f"PEFT's figures of {voice} are not there, or of other "
                "settings: give --peft_python, or leave out --parts=peft"
            )
        base, folder = self._base, self._folder
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "base").is_dir():
            base.save(str(folder / "base"))
        train, test = self._speech(voice)
        np.savez(
            folder / "speech.npz",
            **_arrays(base, "train", train),
            **_arrays(base, "test", test),
        )
        rank, modules = VARIANTS[variant]
        tokenizer = base.tokenizer
        language = base.language_index(test[0].language)
        (folder / "settings.json").write_text(
            json.dumps(
                settings
                | {
                    "rank": rank,
                    "modules": modules,
                    "prompt": tokenizer.prompts[language],
                    "end": tokenizer.end_of_text,
                    "suppressed": tokenizer.suppressed,
                    "suppressed_first": tokenizer.suppressed_first,
                    "max_tokens": min(base.max_tokens, 224),
                }
            )
        )
        print(f"PEFT, {variant}, {voice}", flush=True)
        subprocess.run(
            [
                self._arguments.peft_python,
                str(pathlib.Path(__file__).with_name("peft_job.py")),
                *map(str, (folder / "base", folder / "speech.npz")),
                *map(str, (folder / "settings.json", folder / "result.json")),
            ],
            check=True,
        )
        result = json.loads((folder / "result.json").read_text())
        texts = _texts(base, result.pop("tokens"))
        heard = [
            heard_lib.Heard(
                voice, each.utt_id, each.language, each.text, {variant: words}
            )
            for each, words in zip(test, texts, strict=True)
        ]
        return result | {"figures": heard_lib.figures(heard, variant)[voice]}

    def _speech(self, voice):
        """The voice's utterances to learn from, and to be tested on."""
        base, left_out = self._base, rejections.Rejections()
        if self._train is None:
            values = real_speech.experiment(self._arguments.set)
            read = preparation.reader(base, values, left_out)
            self._train = [
                read(str(self._manifests[split])) for split in ("train", "dev")
            ]
        test, _ = recordings.read(
            base,
            str(self._manifests["test"]),
            [voice],
            normalizer=text.AUTO,
        )
        learnt = [u for each in self._train for u in each.get(voice, ())]
        return learnt, test[0].utterances


def _arrays(base, split, utterances):
    """Audio of 16 bits, its lengths, and tokens that -1 fills up."""
    waves = [
        audio.read(
            each.audio_filepath, base.sample_rate, each.offset, each.duration
        )
        for each in utterances
    ]
    width = max(len(each.tokens) for each in utterances)
    tokens = np.full((len(utterances), width), -1, np.int32)
    for row, each in enumerate(utterances):
        tokens[row, : len(each.tokens)] = each.tokens
    whole = np.clip(np.round(np.concatenate(waves) * 32768.0), -32768, 32767)
    return {
        f"{split}_audio": whole.astype(np.int16),
        f"{split}_lengths": np.array([len(wave) for wave in waves]),
        f"{split}_tokens": tokens,
    }


def _texts(base, rows):
    """The texts of tokens, cut where they loop, as our own search's are."""
    end = base.tokenizer.end_of_text
    width = max(map(len, rows))
    tokens = np.full((len(rows), width), end, np.int32)
    for number, row in enumerate(rows):
        tokens[number, : len(row)] = row
    lengths = (tokens != end).sum(axis=1).astype(np.int32)
    ended = (tokens == end).any(axis=1)
    tokens, lengths = loops.without_loops(tokens, lengths, ended, end)
    return [
        each.decode(errors="replace")
        for each in base.detokenize(tokens, lengths).numpy()
    ]
