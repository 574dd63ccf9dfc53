"""The table of chips and topologies, and how names find it."""

import pytest

from tpu.aot import topology


def test_both_names_find_the_same_topology():
    assert topology.lookup("v5e-4") is topology.lookup("v5e:2x2")
    assert topology.lookup("v4-8") is topology.lookup("v4:2x2x1")


def test_v4_and_v5p_names_count_two_cores_a_chip():
    assert topology.lookup("v4-8").num_chips == 4
    assert topology.lookup("v5p-8").num_chips == 4
    assert topology.lookup("v5e-8").num_chips == 8
    assert topology.lookup("v6e-8").num_chips == 8


def test_an_unknown_name_lists_near_ones():
    with pytest.raises(ValueError, match="'v5e-5'.*Did you mean v5e-"):
        topology.lookup("v5e-5")


def test_a_name_like_no_other_lists_all():
    with pytest.raises(ValueError, match="Known: v4-8, .*v6e-256"):
        topology.lookup("gpu")


def test_published_figures():
    figures = {
        name: (
            chip.hbm_gib,
            chip.peak_bfloat16_tflops_per_second,
            chip.hbm_gigabytes_per_second,
        )
        for name, chip in topology.CHIPS.items()
    }
    assert figures == {
        "v4": (32, 275, 1200),
        "v5e": (16, 197, 819),
        "v5p": (95, 459, 2765),
        "v6e": (32, 918, 1638),
    }


def test_no_two_topologies_share_a_name():
    names = [each.name for each in topology.TOPOLOGIES.values()]
    compiler_names = [
        each.compiler_name for each in topology.TOPOLOGIES.values()
    ]
    assert len(set(names + compiler_names)) == 2 * len(names)
    assert set(names) == set(topology.TOPOLOGIES)
