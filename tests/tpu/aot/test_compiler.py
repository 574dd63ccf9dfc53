"""Compiling for a TPU that is not there."""

import pytest
import tensorflow as tf

from tests.tasks.compilation import program_cases
from tpu.aot import compiler, report as aot_report, topology

needs_libtpu = program_cases.needs_aot


def _report(**changes):
    values = {
        "topology": topology.lookup("v5e-4"),
        "compile_seconds": 1.0,
        "flops": 197e12,
        "bytes_accessed": 819e9 / 2,
        "argument_bytes": 2**30,
        "output_bytes": 2**30,
        "alias_bytes": 2**29,
        "temporary_bytes": 2**32,
        "code_bytes": 2**29,
    }
    return aot_report.CompileReport(**(values | changes))


def test_the_roofline_is_the_slower_of_arithmetic_and_traffic():
    compute = _report()
    assert compute.roofline_seconds == pytest.approx(1.0)
    assert compute.bound == "compute"
    memory = _report(bytes_accessed=819e9 * 3)
    assert memory.roofline_seconds == pytest.approx(3.0)
    assert memory.bound == "memory"


def test_memory_counts_aliased_outputs_once():
    assert _report().memory_bytes == 6 * 2**30
    assert _report().hbm_fraction == pytest.approx(6 / 15.75)


def test_the_report_names_topology_and_bound():
    rows = dict(_report().rows())
    assert rows["topology"].startswith("v5e-4, 4 chips")
    assert rows["HBM"].startswith("6.00 GiB of the 15.75 that")
    assert rows["roofline"].startswith("about 1,000.000 ms (compute)")


def test_an_unknown_topology_is_refused_before_any_work():
    with pytest.raises(ValueError, match="unknown TPU topology"):
        compiler.compile(lambda x: x, [tf.zeros([1])], "v5e-5")


@pytest.mark.tpu_compiler
@needs_libtpu
def test_a_step_that_assigns_variables_compiles():
    weights = tf.Variable(tf.zeros([64, 32]))

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum((x @ weights) ** 2)
        weights.assign_sub(0.1 * tape.gradient(loss, weights))
        return loss

    args = [tf.TensorSpec([128, 64])]
    for name in ("v4-8", "v5e-4", "v5p-8", "v6e-4"):
        report = compiler.compile(step, args, name)
        assert report.topology.name == name
        # Two products of 2 * 128 * 64 * 32 operations, and little else.
        assert 1.0 <= report.flops / (4 * 128 * 64 * 32) < 1.2
        assert report.argument_bytes >= 4 * (128 * 64 + 64 * 32)
        assert 0 < report.hbm_fraction < 1


@pytest.mark.tpu_compiler
@needs_libtpu
def test_what_no_tpu_can_run_is_one_clear_error():
    with pytest.raises(ValueError, match="cannot lower.*AsString") as raised:
        compiler.compile(tf.strings.as_string, [tf.zeros([4])], "v5e-4")
    assert "\n" not in str(raised.value)


@pytest.mark.tpu_compiler
@needs_libtpu
@pytest.mark.parametrize("name", ["v4-8", "v5e-4", "v5p-8", "v6e-4"])
def test_what_does_not_fit_in_memory_is_refused(name):
    def product(x):
        return x @ x

    size = 120_000
    with pytest.raises(
        compiler.DoesNotFitError, match=f"does not fit a chip of {name}"
    ) as raised:
        compiler.compile(product, [tf.TensorSpec([size, size])], name)
    # Argument and result.
    expected = 2 * 4 * size**2
    assert raised.value.needed_bytes == pytest.approx(expected, rel=0.01)
    available = topology.lookup(name).chip.program_hbm_bytes
    assert raised.value.available_bytes == pytest.approx(available, rel=0.001)


@pytest.mark.parametrize(
    "message",
    [
        "E1000: Ran out of memory on HBM, the total memory required for HLO "
        "temporaries (18.50G) exceeds available HBM (15.75G). HLO module: m.",
        "Ran out of memory in memory space hbm. Used 18.50G of 15.75G hbm. "
        "Exceeded hbm capacity by 2.75G.",
    ],
)
def test_by_how_much_it_does_not_fit_is_read_in_what_the_compiler_says(message):
    error = compiler._refusal(message, topology.lookup("v5e-4"))
    assert isinstance(error, compiler.DoesNotFitError)
    assert error.excess_bytes == pytest.approx(2.75 * 2**30)
    assert "18.50 GiB of the 15.75 GiB" in str(error)
    assert "2.75 GiB too much" in str(error)


def test_another_refusal_is_one_line():
    error = compiler._refusal("INTERNAL:\nsome thing", topology.lookup("v4-8"))
    assert str(error).endswith("for v4-8: INTERNAL: some thing")


def test_a_shape_that_is_not_static_is_refused():
    with pytest.raises(ValueError, match="argument 0 must have a static shape"):
        compiler.compile(tf.nn.relu, [tf.TensorSpec([None, 4])], "v5e-4")
