"""Users with Submodels that tell them apart, published to a store."""

import os

import numpy as np
import tqdm

from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file

TENANT = "bench"


def vector(description, seed, scale):
    """A packed Submodel `[num_values]` of noise; the same for the same seed.

    Args:
        description: `export_description.Description`.
        seed: sequence of ints.
        scale: float, the standard deviation of its values.
    """
    draw = np.random.default_rng(seed)
    values = draw.standard_normal(description.num_values, dtype=np.float32)
    return np.float32(scale) * values


def file_bytes(description, packed, speaker):
    """The file of a packed Submodel for an exported base."""
    layout = description.layout
    return submodel_file.to_bytes(
        submodel_file.create(
            layout,
            layout.unpack(packed),
            base_fingerprint=description.base_fingerprint,
            speaker=speaker,
            experiment=description.experiment,
        )
    )


def name(number):
    """A user's id."""
    return f"user-{number:05d}"


def publish(root, description, count, scale, first=0):
    """Publishes one Submodel each of users, unless they are there.

    Args:
        root: str, of the store.
        count: int, how many users.
        scale: float, see `vector`.
        first: int, the number of the first user.

    Returns:
        the `SubmodelStore`.
    """
    store = submodel_store.SubmodelStore(root)
    numbers = range(first, first + count)
    for number in tqdm.tqdm(numbers, desc="publishing", delay=5):
        speaker = name(number)
        try:
            store.resolve(TENANT, speaker)
            continue
        except (LookupError, OSError):
            pass
        packed = vector(description, [number, 0], scale)
        store.publish(file_bytes(description, packed, speaker), TENANT, speaker)
    return store


def drop_from_page_cache(root):
    """Asks the system to forget a folder's files, so that reads are cold."""
    for folder, _, names in os.walk(root):
        for each in names:
            descriptor = os.open(os.path.join(folder, each), os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)
