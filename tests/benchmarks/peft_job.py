"""LoRA by PEFT on Hugging Face's Whisper, in an environment of its own.

    PEFT_PYTHON peft_job.py BASE SPEECH SETTINGS RESULT

BASE is a Hugging Face folder, SPEECH and SETTINGS what `peft_voices` wrote,
RESULT a JSON file: the tokens that the trained model hears in the test speech,
and the seconds of training, start and reading included.
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


def read(path, split, extractor):
    """Features and token ids of each utterance of a split."""
    speech = np.load(path)
    ends = np.cumsum(speech[f"{split}_lengths"])
    audio = np.split(speech[f"{split}_audio"], ends[:-1])
    tokens = [[t for t in row if t >= 0] for row in speech[f"{split}_tokens"]]

    def features(chosen):
        waves = [audio[i].astype("float32") / 32768.0 for i in chosen]
        return extractor(
            waves, sampling_rate=RATE, return_tensors="pt"
        ).input_features

    return features, [[int(t) for t in row] for row in tokens]


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


def train(model, features, tokens, settings):
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
            input_features=features(chosen),
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
    extractor = transformers.WhisperFeatureExtractor(
        feature_size=model.config.num_mel_bins
    )
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
    train(adapted, *read(speech, "train", extractor), settings)
    seconds = time.monotonic() - start
    adapted.eval()
    features, tokens = read(speech, "test", extractor)
    found = []
    for first in range(0, len(tokens), settings["batch"]):
        rows = range(first, min(first + settings["batch"], len(tokens)))
        found += greedy(adapted.get_base_model(), features(rows), settings)
    pathlib.Path(result).write_text(
        json.dumps(
            {"tokens": found, "seconds": seconds, "num_values": num_values}
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
