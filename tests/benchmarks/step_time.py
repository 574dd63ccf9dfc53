"""Measures the time and memory of a training step as Submodels grow in number.

    python -m tests.benchmarks.step_time [--rounds=7] [--no-peft]

The encoder is that of Whisper tiny with random weights. The batch is 16 x 5 s
of features, with a bottleneck of 32 after each block. The step is
`SubmodelTask.train_step` with the mean square of the encoder's output as the
loss, so that PEFT on PyTorch can do the same work beside it. The variants take
turns within a round, and a ratio is the median over rounds, because the
machine may be shared. Each variant runs in a process of its own, which answers
on a pipe, so that its memory can be measured.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

BATCH, FRAMES, BINS, BOTTLENECK = 16, 500, 80, 32
COUNTS = (1, 128, 1024, 4096)


def serve(functions, info):
    """Reads names of functions on stdin; answers with their seconds."""
    import resource
    import time

    for function in functions.values():
        function()
        function()
    info["peak_bytes"] = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    print(json.dumps(info), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        functions[line.strip()]()
        print(time.perf_counter() - start, flush=True)


def serve_submodels(num_submodels):
    """Times our step, and the base's forward with and without adapters."""
    import numpy as np
    import tensorflow as tf

    from lingvo_like.base_models.whisper import (
        architecture,
        model as whisper,
    )
    from lingvo_like.layers import sites
    from params import kinds, schema
    from tasks.asr.training import task
    from tests.benchmarks import drawn_weights

    class EncoderOnly(whisper.Whisper):
        """Whisper that takes features as they are and scores the encoder."""

        def __init__(self):
            dimensions = architecture.Dimensions(
                num_bins=BINS,
                model_dim=384,
                num_heads=6,
                num_blocks=4,
                num_decoder_blocks=1,
                feed_forward_dim=1536,
                vocabulary_size=64,
            )
            super().__init__(dimensions, _NoTokens())

        def features(self, audio, lengths):
            return audio, tf.zeros(audio.shape[:2])

        def loss(self, encoded, paddings, tokens, token_lengths, **_):
            return tf.reduce_mean(tf.square(encoded), axis=[1, 2])

    base = EncoderOnly()
    drawn_weights.draw(base)
    base.trainable = False
    experiment = schema.Experiment(
        submodel=kinds.Submodel(dropout_rate=0.0),
        adapter=kinds.Adapter(bottleneck_dim=BOTTLENECK),
    )
    job = task.SubmodelTask(
        base, experiment, [f"s{i}" for i in range(num_submodels)]
    )
    speakers = min(BATCH, num_submodels)
    shape = (speakers, BATCH // speakers)
    draw = np.random.default_rng(0)
    slots = draw.permutation(num_submodels)[:speakers].astype("int32")
    features = draw.standard_normal((*shape, FRAMES, BINS)).astype("float32")
    batch = {
        "audio": tf.constant(features),
        "lengths": tf.fill(shape, FRAMES),
        "tokens": tf.zeros((*shape, 8), tf.int32),
        "token_lengths": tf.ones(shape, tf.int32),
        "weights": tf.ones(shape),
        "languages": tf.zeros(shape, tf.int32),
        "row_indices": tf.constant(slots),
        "active": tf.ones([speakers], tf.bool),
        "seeds": tf.zeros([speakers, 2], tf.int32),
        "freq_masks": tf.zeros((*shape, 0, 2)),
        "time_masks": tf.zeros((*shape, 0, 2)),
    }
    flat = tf.reshape(batch["audio"], [BATCH, FRAMES, BINS])

    @tf.function
    def forward(adapted):
        functions = sites.NONE
        if adapted:
            functions = job.stack.site_functions(
                job.stack.select(batch["row_indices"])
            )
        encoded, _ = base.encode(flat, tf.zeros([BATCH, FRAMES]), functions)
        return tf.reduce_sum(encoded)

    state = sum(
        variable.dtype.size * variable.shape.num_elements()
        for variable in job.state_by_name.values()
    )
    serve(
        {
            "forward": lambda: float(forward(False)),
            "adapted": lambda: float(forward(True)),
            "step": lambda: job.train_step(batch)[0].numpy(),
        },
        {"state_bytes": state},
    )


class _NoTokens:
    """The part of a tokenizer that a model uses which never decodes."""

    languages = ("en",)
    prompts = ((0,),)
    end_of_text = 1
    suppressed = ()
    suppressed_first = ()

    def __getattr__(self, name):
        return ()


def serve_peft():
    """Times HF PEFT: LoRA of rank 32 on the same encoder and batch."""
    import warnings

    warnings.filterwarnings("ignore")
    import peft
    import torch
    from transformers import WhisperConfig
    from transformers.models.whisper import modeling_whisper

    torch.set_num_threads(os.cpu_count())
    config = WhisperConfig(
        d_model=384,
        encoder_layers=4,
        encoder_attention_heads=6,
        encoder_ffn_dim=1536,
        max_source_positions=FRAMES // 2,
    )
    encoder = modeling_whisper.WhisperEncoder(config)
    features = torch.randn(BATCH, BINS, FRAMES)
    lora = peft.LoraConfig(
        r=BOTTLENECK, target_modules=["fc1", "fc2"], init_lora_weights=False
    )
    model = peft.get_peft_model(encoder, lora)
    model.train()
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad]
    )

    def step():
        (model(features).last_hidden_state ** 2).mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    serve({"step": step}, {})


class Peer:
    """A process that times functions on request."""

    def __init__(self, kind):
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.benchmarks.step_time",
                "--serve",
                kind,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.info = json.loads(self._read())

    def _read(self):
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a process of the benchmark ended; see above")
        return line

    def seconds(self, function):
        self._process.stdin.write(function + "\n")
        self._process.stdin.flush()
        return float(self._read())

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def run(rounds, with_peft):
    """Runs the variants in turns; returns the results."""
    wanted = [("1", f) for f in ("forward", "adapted", "step")]
    wanted += [(str(count), "step") for count in COUNTS[1:]]
    if with_peft:
        wanted.append(("peft", "step"))
    peers = {}
    for kind, _ in wanted:
        if kind not in peers:
            print(f"starting {kind}", file=sys.stderr)
            peers[kind] = Peer(kind)
    times = {key: [] for key in wanted}
    for _ in range(rounds):
        for kind, function in wanted:
            times[kind, function].append(peers[kind].seconds(function))

    def ratio(a, b):
        return statistics.median(
            x / y for x, y in zip(times[a], times[b], strict=True)
        )

    one = ("1", "step")
    results = {
        f"ratio_{count}": ratio((str(count), "step"), one)
        for count in COUNTS[1:]
    }
    results["step_over_forward"] = ratio(one, ("1", "forward"))
    results["adapter_overhead"] = ratio(("1", "adapted"), ("1", "forward"))
    results["vs_peft"] = ratio(one, ("peft", "step")) if with_peft else None
    info = {kind: peer.info for kind, peer in peers.items()}
    most = str(COUNTS[-1])
    results["memory_ratio_4096"] = (
        info[most]["peak_bytes"] - info["1"]["peak_bytes"]
    ) / (info[most]["state_bytes"] - info["1"]["state_bytes"])
    for peer in peers.values():
        peer.close()
    print(f"{'':>6} {'':<8} {'median ms':>10} {'least ms':>10}")
    for (kind, function), values in times.items():
        print(
            f"{kind:>6} {function:<8} {statistics.median(values) * 1e3:10.0f} "
            f"{min(values) * 1e3:10.0f}"
        )
    return {
        key: None if value is None else round(value, 4)
        for key, value in results.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--no-peft", action="store_true")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve == "peft":
        serve_peft()
    elif arguments.serve:
        serve_submodels(int(arguments.serve))
    else:
        installed = all(
            importlib.util.find_spec(name)
            for name in ("torch", "peft", "transformers")
        )
        if not installed and not arguments.no_peft:
            print("PEFT is not installed: vs_peft is null", file=sys.stderr)
        results = run(arguments.rounds, installed and not arguments.no_peft)
        print(json.dumps(results))


if __name__ == "__main__":
    main()
