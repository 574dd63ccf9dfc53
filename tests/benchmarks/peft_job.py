"""LoRA by PEFT on Hugging Face's Whisper, in an environment of its own.

    PEFT_PYTHON peft_job.py BASE SPEECH SETTINGS RESULT

BASE is a Hugging Face folder, SPEECH and SETTINGS what `peft_voices` wrote,
RESULT a JSON file: the tokens that the trained model hears in the test speech,
and the seconds of training, start and reading included. Whisper is given as
many seconds of audio context as SETTINGS says, in training and in the test;
what is longer is left out of training, and heard at 30 s.
"""

import json
import pathlib
import sys
import time

import numpy as np
import peft
import torch
import transformers

RATE = 16000
FULL_SECONDS = 30
# Encoder frames, of which each has one position.
POSITIONS_PER_SECOND = 50


class Context:
    """The seconds of audio that a Whisper is given."""

    def __init__(self, model):
        self._model, self._encoder = model, model.get_encoder()
        self._positions = self._encoder.embed_positions.weight.detach().clone()

    def cut(self, seconds):
        """Has the model take so many; returns the extractor of its features."""
        count = seconds * POSITIONS_PER_SECOND
        self._encoder.embed_positions = torch.nn.Embedding.from_pretrained(
            self._positions[:count]
        )
        self._model.config.max_source_positions = count
        return transformers.WhisperFeatureExtractor(
            feature_size=self._model.config.num_mel_bins, chunk_length=seconds
        )


def read(path, split):
    """Waves and token ids of each utterance of a split."""
    speech = np.load(path)
    ends = np.cumsum(speech[f"{split}_lengths"])
    audio = np.split(speech[f"{split}_audio"], ends[:-1])
    waves = [each.astype("float32") / 32768.0 for each in audio]
    tokens = [[t for t in row if t >= 0] for row in speech[f"{split}_tokens"]]
    return waves, [[int(t) for t in row] for row in tokens]


def features_of(waves, extractor):
    """Features of waves, padded to the extractor's length."""
    found = extractor(waves, sampling_rate=RATE, return_tensors="pt")
    return found.input_features


def batch(tokens, prompt, end):
    """The decoder's inputs and labels; a label of -100 is not scored."""
    width = max(map(len, tokens)) + len(prompt)
    inputs = torch.full((len(tokens), width), end)
    labels = torch.full((len(tokens), width), -100)
    for row, text in enumerate(tokens):
        written = prompt + text
        inputs[row, : len(written)] = torch.tensor(written)
        start = len(prompt) - 1
        labels[row, start : len(written)] = torch.tensor([*text, end])
    return inputs, labels


def train(model, waves, tokens, extractor, settings):
    """Trains with AdamW; the rate rises and then falls linearly."""
    steps, warmup = settings["steps"], max(settings["steps"] // 10, 1)
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad],
        lr=settings["learning_rate"],
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(
            (step + 1) / warmup, (steps - step) / max(steps - warmup, 1)
        ),
    )
    draw = np.random.default_rng(settings["seed"])
    order = []
    model.train()
    for step in range(steps):
        while len(order) < settings["batch"]:
            order.extend(draw.permutation(len(tokens)).tolist())
        chosen, order = order[: settings["batch"]], order[settings["batch"] :]
        inputs, labels = batch(
            [tokens[i] for i in chosen], settings["prompt"], settings["end"]
        )
        loss = model(
            input_features=features_of([waves[i] for i in chosen], extractor),
            decoder_input_ids=inputs,
            labels=labels,
        ).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 10 == 0:
            print(f"step {step}: {loss.item():.3f}", flush=True)


@torch.no_grad()
def greedy(model, features, settings):
    """The tokens after the prompt, under Whisper's rules without timestamps."""
    encoded = model.get_encoder()(features)
    rows = features.shape[0]
    fed = torch.tensor([settings["prompt"]] * rows)
    ended, cache = torch.zeros(rows, dtype=torch.bool), None
    found = []
    for step in range(settings["max_tokens"]):
        out = model(
            encoder_outputs=encoded,
            decoder_input_ids=fed,
            past_key_values=cache,
            use_cache=True,
        )
        cache, logits = out.past_key_values, out.logits[:, -1]
        logits[:, settings["suppressed"]] = -torch.inf
        if step == 0:
            logits[:, settings["suppressed_first"]] = -torch.inf
        chosen = torch.where(ended, settings["end"], logits.argmax(dim=-1))
        ended |= chosen == settings["end"]
        found.append(chosen)
        fed = chosen[:, None]
        if bool(ended.all()):
            break
    return torch.stack(found, dim=1).tolist()


def main(base, speech, settings, result):
    start = time.monotonic()
    settings = json.loads(pathlib.Path(settings).read_text())
    torch.manual_seed(settings["seed"])
    model = transformers.WhisperForConditionalGeneration.from_pretrained(base)
    context, seconds = Context(model), settings["context_seconds"]
    adapted = peft.get_peft_model(
        model,
        peft.LoraConfig(
            r=settings["rank"],
            lora_alpha=2 * settings["rank"],
            lora_dropout=0.05,
            target_modules=settings["modules"],
        ),
    )
    num_values = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    waves, tokens = read(speech, "train")
    short = [i for i, wave in enumerate(waves) if len(wave) <= seconds * RATE]
    train(
        adapted,
        [waves[i] for i in short],
        [tokens[i] for i in short],
        context.cut(seconds),
        settings,
    )
    spent = time.monotonic() - start
    adapted.eval()
    waves, _ = read(speech, "test")
    found = [None] * len(waves)
    is_short = [len(wave) <= seconds * RATE for wave in waves]
    for length, wanted in ((seconds, True), (FULL_SECONDS, False)):
        extractor = context.cut(length)
        rows = [i for i, short in enumerate(is_short) if short == wanted]
        for first in range(0, len(rows), settings["batch"]):
            chosen = rows[first : first + settings["batch"]]
            features = features_of([waves[i] for i in chosen], extractor)
            heard = greedy(adapted.get_base_model(), features, settings)
            for i, heard_tokens in zip(chosen, heard, strict=True):
                found[i] = heard_tokens
    pathlib.Path(result).write_text(
        json.dumps(
            {"tokens": found, "seconds": spent, "num_values": num_values}
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
