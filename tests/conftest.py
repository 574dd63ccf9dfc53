"""The state that every test starts from: threads, quiet logs, seeds."""

import os

# Before any test module imports TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("MPLBACKEND", "Agg")
# No test asks a hub for a model: what is missing fails at once.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores; threads of their own would fight over them.
    for _name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ.setdefault(_name, "1")

import random  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

# How long an example takes tells of the machine.
hypothesis.settings.register_profile(
    "house",
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("house")

# A script that runs the tests in its background has them ignore Ctrl-C, and so
# would the processes that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _seeds():
    """The same random streams for a test alone and after others.

    Keras draws the seeds of layers and initializers from `random`.
    """
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True, scope="module")
def _keras_seed():
    """TensorFlow's own streams start anew with each module.

    Not with each test: setting TensorFlow's seed drops all its compiled
    functions, which cost a second or two each to make again.
    """
    keras = sys.modules.get("keras")
    if keras is not None:
        keras.utils.set_random_seed(0)
