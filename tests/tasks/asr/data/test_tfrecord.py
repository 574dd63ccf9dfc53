"""Records by their place, in TensorFlow's own format."""

import pytest
import tensorflow as tf

from tasks.asr.data import rejections, tfrecord

UnusableError = rejections.UnusableError

RECORDS = [b"one", b"", b"three" * 1000]


@pytest.fixture
def shard(tmp_path):
    """A file that TensorFlow wrote, and where its records begin."""
    path = str(tmp_path / "a.tfrecord")
    offsets, end = [], 0
    with tf.io.TFRecordWriter(path) as writer:
        for record in RECORDS:
            writer.write(record)
            offsets.append(end)
            end += tfrecord.OVERHEAD_BYTES + len(record)
    return path, offsets


def damage(path, position):
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))


def test_what_tensorflow_writes_is_read_in_any_order(shard):
    path, offsets = shard
    for index in (2, 0, 1):
        assert tfrecord.read(path, offsets[index]) == RECORDS[index]


def test_framed_records_are_what_tensorflow_writes(shard):
    with open(shard[0], "rb") as file:
        assert b"".join(map(tfrecord.framed, RECORDS)) == file.read()


def test_a_file_system_of_tensorflow_is_read():
    path = "ram://folder/a.tfrecord"
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(tfrecord.framed(b"one") + tfrecord.framed(b"two"))
    assert tfrecord.read(path, 19) == b"two"
    with pytest.raises(UnusableError, match="missing"):
        tfrecord.read("ram://folder/b.tfrecord", 0)


@pytest.mark.parametrize("position", [0, 7, 8, 11, 12, 14, 15, 18])
def test_every_damaged_byte_of_a_record_is_noticed(shard, position):
    path, _ = shard
    damage(path, position)
    with pytest.raises(UnusableError, match="damaged"):
        tfrecord.read(path, 0)


def test_damage_elsewhere_in_the_file_is_another_records(shard):
    path, offsets = shard
    damage(path, 14)
    assert tfrecord.read(path, offsets[2]) == RECORDS[2]


def test_a_beginning_is_read_without_the_rest(shard):
    path, offsets = shard
    damage(path, offsets[2] + 4000)
    assert tfrecord.read(path, offsets[2], 10) == b"threethree"
    with pytest.raises(UnusableError, match="wrong checksum"):
        tfrecord.read(path, offsets[2])
    assert tfrecord.read(path, offsets[0], 10) == b"one"


@pytest.mark.parametrize("offset", [1, 3, 18])
def test_a_place_where_no_record_begins_is_refused(shard, offset):
    with pytest.raises(UnusableError, match="no record begins at"):
        tfrecord.read(shard[0], offset)


def test_a_file_that_is_cut_short_is_refused(shard):
    path, offsets = shard
    with open(path, "r+b") as file:
        file.truncate(offsets[2] + 500)
    for max_bytes in (None, 10):
        with pytest.raises(UnusableError, match="truncated: 5000 bytes"):
            tfrecord.read(path, offsets[2], max_bytes)
    with pytest.raises(UnusableError, match="truncated: a record at"):
        tfrecord.read(path, 10**17)


def test_a_folder_is_not_a_shard(tmp_path):
    with pytest.raises(UnusableError, match="may not be read"):
        tfrecord.read(str(tmp_path), 0)


def test_addresses_are_taken_apart_and_other_paths_are_not():
    address = tfrecord.address("/a#1/b.tfrecord", 12)
    assert tfrecord.parse(address) == ("/a#1/b.tfrecord", 12)
    for path in ("a.wav", "a.wav#12", "a.tfrecord", "a.tfrecord#x", "#12"):
        assert tfrecord.parse(path) is None
