"""Fetching voices as a command, from packages made up here."""

import pytest

from tasks.asr.corpora.fetched import voices
from tests import binaries
from tests.tasks.asr.corpora.fetched import made_up


def fetch(*flags):
    return binaries.run("fetch_recordings", *flags)


@pytest.fixture
def packages(tmp_path):
    """A folder with Tux Paint's stamps."""
    root = tmp_path / "build" / "tuxpaint-stamps-default"
    for name, text in (("one", "Un."), ("two", "Dos."), ("three", "Tres (3).")):
        place = f"usr/share/tuxpaint/stamps/{name}"
        made_up.put(root, f"{place}.txt", f"N.\nca.utf8={text}\n")
        made_up.put(root, f"{place}_desc_ca.ogg", made_up.ogg(0.8))
    made_up.copyrighted(root)
    made_up.build(root, tmp_path / "packages")
    return tmp_path / "packages"


def test_says_what_was_fetched_under_which_licence(packages, tmp_path):
    flags = (
        f"--output_dir={tmp_path}/out",
        f"--packages_dir={packages}",
        "--voices=stamps-ca",
        "--fractions=0.5,0,0.5",
    )
    done = fetch(*flags)
    assert done.returncode == 0, done.stderr
    assert "1  words in brackets: said or not, nobody can tell" in done.stdout
    lines = done.stdout.splitlines()
    columns = "stamps-ca  ca        2           0.0      1         stamps-ca"
    assert columns in lines
    assert voices.VOICES["stamps-ca"].notice in lines
    assert lines[-1] == f"2 recordings, 0.0 minutes: {tmp_path}/out"
    again = fetch(*flags)
    assert again.returncode == 0
    assert "already holds these recordings" in again.stdout


def test_lists_the_voices_without_a_folder():
    done = fetch("--list_voices")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{voices.listing()}\n"


@pytest.mark.parametrize(
    "flag, message",
    [
        (
            "--voices=stamps-xx",
            "unknown voice 'stamps-xx'. Did you mean stamps",
        ),
        ("--voices=", "no voice is named; name some of asterisk-en"),
        ("--fractions=1,1,1", "fractions must sum to 1"),
        ("--packages_dir=/nowhere", "asterisk-core-sounds-en-g722_*.deb in"),
    ],
)
def test_bad_flags_are_one_line(flag, message, tmp_path):
    done = fetch(f"--output_dir={tmp_path}/out", flag)
    assert done.returncode == 1
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
