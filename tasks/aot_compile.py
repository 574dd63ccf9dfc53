"""Compiles an experiment's programs for a named TPU, with no TPU at hand.

    python -m tasks.aot_compile --experiment=conformer.LibriSpeechL128 \\
        --topology=v5e:4x4

What is compiled is the training step that tasks.train runs, or with
--function=serve what an export computes from audio to tokens. Prints what one
chip needs of memory, arithmetic and traffic, how many Submodels fit, and at
last one JSON object. Nothing is trained: the base model is untrained
unless --base names one.
"""

import json

from absl import flags

from lingvo_like import hyperparams
from params import registry
from tasks import cli
from tpu.aot import topology

_EXPERIMENT = flags.DEFINE_string(
    "experiment", "", "Name of an experiment; see tasks.train."
)
_SET = flags.DEFINE_multi_string(
    "set", [], "Override of one value, such as adapter.bottleneck_dim=64."
)
_TOPOLOGY = flags.DEFINE_string(
    "topology", "", "A TPU, as Cloud TPU or its compiler names it: v5e:2x2."
)
_FUNCTION = flags.DEFINE_enum(
    "function", "train", ["train", "serve"], "What to compile."
)
_NUM_SUBMODELS = flags.DEFINE_integer(
    "num_submodels",
    None,
    "Submodels of the job, on all chips; those of one step, if not set.",
    lower_bound=1,
)
_SECONDS = flags.DEFINE_float(
    "seconds",
    None,
    "Audio of an utterance, padded to its bucket; the longest, if not set.",
    lower_bound=0.1,
)
_NUM_TOKENS = flags.DEFINE_integer(
    "num_tokens",
    None,
    "Tokens of the longest transcript; the most of the base, if not set.",
    lower_bound=1,
)
_NUM_ROWS = flags.DEFINE_integer(
    "num_rows", 16, "Utterances of a call, with --function=serve.", 1
)
_BEAM_SIZE = flags.DEFINE_integer(
    "beam_size", 1, "1 for greedy decoding, with --function=serve.", 1
)
_BASE = flags.DEFINE_string(
    "base", "", "A base model; an untrained one, if empty."
)
_WHISPER_SIZE = flags.DEFINE_string(
    "whisper_size", "tiny.en", "Which Whisper, where --base is empty."
)
_CONFIRM = flags.DEFINE_bool(
    "confirm",
    True,
    "Find the largest number of Submodels that fit by compiling up to six "
    "programs more; else compute it.",
)
_OF_FUNCTION = {
    "train": (_NUM_SUBMODELS, _NUM_TOKENS, _CONFIRM),
    "serve": (_NUM_ROWS, _BEAM_SIZE),
}


def main(_):
    for flag in (_EXPERIMENT, _TOPOLOGY):
        if not flag.value:
            cli.fail(f"--{flag.name} is missing; see --help")
    for function, its_flags in _OF_FUNCTION.items():
        for flag in its_flags:
            if flag.present and function != _FUNCTION.value:
                cli.fail(
                    f"--{flag.name} is of --function={function}. "
                    f"Received: --function={_FUNCTION.value}."
                )
    experiment = hyperparams.override(
        registry.get(_EXPERIMENT.value), _SET.value
    )
    target = topology.lookup(_TOPOLOGY.value)
    # Late, so that --help and a mistyped name answer at once.
    from tpu.aot import compiler

    compiler.check_installed()
    from tasks.compilation import account, untrained

    # An export computes in float32.
    is_serving = _FUNCTION.value == "serve"
    compute_dtype = "float32" if is_serving else experiment.train.compute_dtype
    base = untrained.load_or_make(
        experiment.base, _BASE.value, _WHISPER_SIZE.value, compute_dtype
    )
    num_samples = base.max_samples
    if _SECONDS.value:
        num_samples = base.num_samples(_SECONDS.value)
    if is_serving:
        result = account.serving(
            base,
            experiment,
            target,
            num_samples,
            _NUM_ROWS.value,
            _BEAM_SIZE.value,
        )
    else:
        result = account.training(
            base,
            experiment,
            target,
            num_samples,
            _NUM_TOKENS.value,
            _NUM_SUBMODELS.value,
            _CONFIRM.value,
        )
    width = max(len(name) for name, _ in result.rows)
    for name, value in result.rows:
        print(f"{name:<{width}}  {value}")
    print(
        json.dumps(
            {
                "experiment": _EXPERIMENT.value,
                "function": _FUNCTION.value,
                "compute_dtype": compute_dtype,
                **result.figures,
            }
        )
    )
    if result.problem:
        cli.fail(result.problem)


if __name__ == "__main__":
    cli.run(main)
