"""Times PEFT's training step of one LoRA on PyTorch.

    TORCH_PYTHON -m tests.benchmarks.torch_step [--dtype=bfloat16]

It is the step of `jax_step` with one Submodel of the kind `lora`, as its peers
do it: Hugging Face's Whisper encoder of the same size with random weights, the
same batch, LoRA by PEFT of the same rank at the same projections, the mean
square of the output as the loss, and PyTorch's AdamW. On a GPU, the optimizer
is the fused one. Under bfloat16 the frozen base is stored in it, and the LoRA
in float32; products in float32 may be rounded as JAX rounds them by default, to
TensorFloat-32.

The rows are `eager`; `compiled`, by torch.compile; and on a GPU `graphs`, by
torch.compile in its mode "reduce-overhead". One that does not work has its
error in place of a time. The environment needs PyTorch, Transformers and PEFT
(`REQUIRED`) and nothing of this project's.
"""

import functools
import gc
import importlib.util
import json
import math
import sys

from tests.benchmarks import turns

REQUIRED = ("torch", "transformers", "peft")
# By row, the mode of torch.compile.
MODES = {"eager": None, "compiled": "default", "graphs": "reduce-overhead"}


def missing():
    """Packages that this interpreter lacks."""
    return [name for name in REQUIRED if not importlib.util.find_spec(name)]


class Job:
    """One LoRA and its step.

    Args:
        mode: of torch.compile; None is eager.
        device: `cpu` or `cuda`.
        arguments: the program's.
    """

    def __init__(self, mode, device, arguments):
        import peft
        import torch
        from transformers import WhisperConfig
        from transformers.models.whisper import modeling_whisper

        config = WhisperConfig(
            d_model=turns.MODEL_DIM,
            encoder_layers=turns.NUM_BLOCKS,
            encoder_attention_heads=turns.NUM_HEADS,
            encoder_ffn_dim=turns.FEED_FORWARD_DIM,
            num_mel_bins=turns.BINS,
            max_source_positions=arguments.frames // 2,
        )
        dtype = getattr(torch, arguments.dtype)
        encoder = modeling_whisper.WhisperEncoder(config).to(dtype)
        model = peft.get_peft_model(
            encoder,
            peft.LoraConfig(
                r=arguments.bottleneck_dim,
                lora_alpha=2 * arguments.bottleneck_dim,
                target_modules=["q_proj", "k_proj", "v_proj", "out_proj"],
            ),
        ).to(device)
        # Nothing is dropped in either mode; in training it draws for nothing.
        model.eval()
        trained = [p for p in model.parameters() if p.requires_grad]
        self.num_values = sum(p.numel() for p in trained)
        self._optimizer = torch.optim.AdamW(
            trained, lr=1e-3, fused=device == "cuda"
        )
        self._model = model if mode is None else torch.compile(model, mode=mode)
        self._features = torch.randn(
            arguments.batch, turns.BINS, arguments.frames, device=device
        ).to(dtype)
        self._autocast = torch.autocast(
            device, torch.bfloat16, enabled=arguments.dtype == "bfloat16"
        )

    def step(self):
        """Starts a step; returns its loss."""
        with self._autocast:
            encoded = self._model(self._features).last_hidden_state
            loss = encoded.float().square().mean()
        loss.backward()
        self._optimizer.step()
        self._optimizer.zero_grad()
        return loss.detach()


def run(arguments):
    """Runs the rows one after the other; returns the results."""
    import peft
    import torch

    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    results = {
        "device": name,
        "dtype": arguments.dtype,
        "torch": torch.__version__,
        "peft": peft.__version__,
    }
    print(f"PyTorch {torch.__version__}, {name}, {arguments.dtype}")
    print(f"{'row':9} {'values':>8} {'median ms':>10} {'least ms':>10}")
    for row, mode in MODES.items():
        if row not in arguments.rows or (row, device) == ("graphs", "cpu"):
            continue
        results[row] = turns.attempt(
            row,
            functools.partial(run_row, row, mode, device, arguments),
        )
        turns.report(results, arguments)
        torch.compiler.reset()
        gc.collect()
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated()
        results["peak_gib"] = round(peak / 2**30, 3)
    return results


def run_row(row, mode, device, arguments):
    """Times one way to run the step; returns its results."""
    import torch

    print(f"warming {row}", file=sys.stderr)
    job = Job(mode, device, arguments)
    # The first steps compile and record.
    losses = [float(job.step()) for _ in range(4)]

    def wait(_):
        if device == "cuda":
            torch.cuda.synchronize()

    times = turns.take({row: job.step}, wait, arguments)
    median_ms = turns.median_ms(times, row)
    print(
        f"{row:9} {job.num_values:8} {median_ms:10.2f} "
        f"{min(times[row]) * 1e3:10.2f}",
        flush=True,
    )
    return {
        "num_values": job.num_values,
        "finite": all(map(math.isfinite, losses)),
        "ms": median_ms,
    }


def main():
    parser = turns.parser_of_part(__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument(
        "--rows", type=lambda text: text.split(","), default=list(MODES)
    )
    parser.add_argument("--threads", type=int, help="on CPU")
    arguments = parser.parse_args()
    if missing():
        print(f"PEFT's row is left out: {', '.join(missing())} not installed")
        print(json.dumps({"missing": missing()}))
        return
    print(json.dumps(run(arguments)))


if __name__ == "__main__":
    main()
