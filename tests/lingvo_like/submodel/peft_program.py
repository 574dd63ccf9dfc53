"""Computes logits with PEFT, in an environment of its own.

    python peft_program.py FOLDER ADAPTER TRAINING

Reads FOLDER/base and FOLDER/inputs.npz, and writes FOLDER/logits.npz, computed
in float64. With TRAINING, the JSON of a LoraConfig's arguments, it trains
ADAPTER first.
"""

import json
import sys
import warnings

import numpy as np
import peft
import torch
import transformers


def main(folder, adapter, training):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    inputs = np.load(f"{folder}/inputs.npz")
    features = torch.tensor(inputs["features"].transpose(0, 2, 1))
    tokens = torch.tensor(inputs["tokens"]).long()

    def base():
        return transformers.WhisperForConditionalGeneration.from_pretrained(
            f"{folder}/base"
        )

    def logits(model):
        with torch.no_grad():
            found = model.eval().double()(
                input_features=features.double(), decoder_input_ids=tokens
            )
        return found.logits.numpy()

    if training:
        model = peft.get_peft_model(base(), peft.LoraConfig(**training)).train()
        optimizer = torch.optim.AdamW(
            [p for p in model.parameters() if p.requires_grad], lr=2e-3
        )
        for _ in range(3):
            model(input_features=features, labels=tokens).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        model.save_pretrained(adapter)
    found = {"base": logits(base())}
    # Keys that are missing or not expected are a warning there.
    warnings.simplefilter("error", UserWarning)
    found["adapted"] = logits(peft.PeftModel.from_pretrained(base(), adapter))
    np.savez(f"{folder}/logits.npz", **found)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
