"""Free memory is what the machine and its limits leave."""

import psutil

from tasks.asr.estimates import machine


def group(folder, limit, used, inactive=0):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {inactive}\n")


def test_the_limit_of_a_control_group_counts(tmp_path):
    free = psutil.virtual_memory().available
    group(tmp_path, "max", 5)
    assert abs(machine.free_bytes(str(tmp_path)) - free) < 2**30
    group(tmp_path, 1000, 400, inactive=50)
    assert machine.free_bytes(str(tmp_path)) == 650


def test_the_limit_of_the_first_version_counts(tmp_path):
    folder = tmp_path / "memory"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text("1000\n")
    (folder / "memory.usage_in_bytes").write_text("100\n")
    (folder / "memory.stat").write_text("cache 0\n")
    assert machine.free_bytes(str(tmp_path)) == 900


def test_memory_in_use_is_below_its_peak_and_the_rate_is_positive():
    assert 0 < machine.used_bytes() <= 1.1 * machine.peak_bytes()
    assert machine.products_per_second() > 1e8
