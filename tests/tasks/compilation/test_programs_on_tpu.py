"""The training step and recognition compile for every chip, unchanged."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from params import conformer, kinds
from tasks.asr import layouts
from tasks.compilation import programs
from tests.tasks.compilation import program_cases
from tests.tpu import lowered_on_cpu
from tpu.aot import compiler, topology

pytestmark = [pytest.mark.tpu_compiler, program_cases.needs_aot]

every_base = pytest.mark.parametrize("base", program_cases.BASES)
every_function = pytest.mark.parametrize("function", program_cases.FUNCTIONS)
every_chip = pytest.mark.parametrize("chip", program_cases.TOPOLOGIES)


@every_chip
@every_function
@every_base
def test_a_program_compiles_with_nothing_left_on_the_host(base, function, chip):
    report = compiler.compile_lowered(
        program_cases.lowered(base, function), topology.lookup(chip)
    )
    assert report.topology.name == chip
    assert report.host_operations == ()
    assert report.host_bytes == 0
    assert report.flops > 0
    assert 0 < report.hbm_fraction < 1
    # Every loop's length is known, so that the arithmetic is all there.
    assert None not in report.loops
    if function == "train":
        made = program_cases.program(base, function)
        # The stack is changed where it lies.
        stack_bytes = made.slot_bytes * program_cases.NUM_SLOTS
        assert report.alias_bytes >= stack_bytes


@every_function
def test_every_kind_of_submodel_compiles(function):
    values = dataclasses.replace(
        program_cases.experiment(),
        adapter=kinds.Adapter(sites=("*/*/output",), bottleneck_dim=4),
        lora=kinds.Lora(sites=("*/*/*attention/*",), rank=2),
        rotation=kinds.Rotation(sites=("*/*/*attention/query",), rank=4),
        bias=kinds.Bias(sites=("*/*/*/contract",)),
        scale=kinds.Scale(sites=("*/*/*/inner",)),
    )
    made = program_cases.program("whisper", function, values)
    report = made.compile("v5e-4")
    assert report.host_operations == ()
    assert None not in report.loops


@pytest.mark.parametrize("experiment", ["Tiny", "TinyEmbedding"])
@every_base
def test_chips_sum_a_spaces_basis_and_nothing_else(base, experiment):
    model = program_cases.base(base)
    values = dataclasses.replace(
        program_cases.experiment(), space=getattr(conformer, experiment)().space
    )
    made = programs.train_program(
        model, values, 4, 2, model.max_samples, program_cases.TOKENS, 4
    )
    report = made.compile("v5e-4")
    if experiment == "Tiny":
        assert report.collectives == {}
        return
    layout = layouts.of(model.sites, values)
    basis_bytes = 4 * values.space.embedding_dim * layout.num_values
    assert set(report.collectives) == {"all-reduce"}
    assert basis_bytes <= report.collective_bytes < 1.1 * basis_bytes


@every_base
def test_the_lowered_step_gives_the_losses_and_rows_of_the_step(base):
    experiment = program_cases.experiment()
    model = program_cases.base(base)
    made = program_cases.program(base, "train")
    arrays = program_cases.arrays(made.specs)
    job = programs.training_job(model, experiment, program_cases.NUM_SLOTS)
    draw = np.random.default_rng(1)
    for name, variable in job.state_by_name.items():
        if name.startswith("weight/"):
            noise = 0.05 * draw.standard_normal(variable.shape)
            variable.assign(noise.astype("float32"))

    def step(*tensors):
        return job.train_step.python_function(
            dict(zip(made.specs, tensors, strict=True))
        )

    lowered = compiler.lower(step, list(made.specs.values()))
    results, updated = lowered_on_cpu.run(lowered, arrays.values())
    before = {k: np.array(v) for k, v in job.state_by_name.items()}
    losses, norms = job.train_step(arrays)
    np.testing.assert_allclose(results[0], losses, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(results[1], norms, rtol=1e-4, atol=1e-5)
    slots = arrays["row_indices"].numpy()
    absent = sorted(set(range(program_cases.NUM_SLOTS)) - set(slots))
    moved = 0
    for name, variable in job.state_by_name.items():
        found = updated(variable)
        assert found is not None, name
        np.testing.assert_allclose(found, variable, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(found[absent], before[name][absent])
        moved += int(np.any(found[slots] != before[name][slots]))
    assert moved > len(job.stack.variables_by_name)


@every_base
def test_the_lowered_recognition_gives_the_tokens_of_recognition(base):
    made = program_cases.program(base, "serve")
    arrays = list(program_cases.arrays(made.specs).values())
    lowered = program_cases.lowered(base, "serve")
    (tokens, lengths, scores, _), _ = lowered_on_cpu.run(lowered, arrays)
    expected = tf.function(made.function)(*arrays)
    np.testing.assert_array_equal(tokens, expected[0])
    np.testing.assert_array_equal(lengths, expected[1])
    np.testing.assert_allclose(scores, expected[2], rtol=1e-5, atol=1e-5)


def test_a_loop_counts_as_often_as_it_runs():
    def once(x):
        return x @ x

    def ten_times(x):
        return tf.while_loop(
            lambda i, x: i < 10, lambda i, x: (i + 1, x @ x), (0, x)
        )[1]

    spec = [tf.TensorSpec([256, 256])]
    one = compiler.compile(once, spec, "v5e-4")
    ten = compiler.compile(ten_times, spec, "v5e-4")
    assert ten.loops == (10,)
    assert ten.flops == pytest.approx(10 * one.flops, rel=0.05)


def test_what_no_tpu_can_search_is_one_clear_error():
    model = program_cases.base("conformer")
    made = programs.serve_program(
        model, program_cases.experiment(), 2, model.max_samples, beam_size=4
    )
    with pytest.raises(ValueError, match="cannot lower") as raised:
        compiler.lower(made.function, list(made.specs.values()))
    assert "\n" not in str(raised.value)
