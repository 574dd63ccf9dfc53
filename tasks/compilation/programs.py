"""The programs of the accelerator, as functions of tensors of static shape.

The training step is `SubmodelTask.train_step`; recognition is what an export
computes from padded audio to tokens. The host makes text of the tokens: that
takes tables of strings, which no accelerator has.
"""

import contextlib
import dataclasses
import functools
import math
from collections import abc
from typing import Any

import numpy as np
import tensorflow as tf

from lingvo_like.base_models import base_model
from lingvo_like.space import replica_sums
from lingvo_like.stack import stack as stack_lib
from params import schema
from tasks.asr import layouts
from tasks.asr.batches import input_pipeline
from tasks.asr.training import sharding, stack_and_optimizer, task
from tasks.serving.exports import signatures
from tpu.aot import compiler, report as aot_report


@dataclasses.dataclass(frozen=True)
class Program:
    """A function and the shapes that it is compiled for.

    Attributes:
        function: of as many tensors as there are specs.
        specs: by the arguments' names, in order.
        slot_bytes: accelerator memory that one Submodel more takes, before any
            padding; 0 if it does not stay there.
        num_utterances: utterances of one step, with every place filled.
        seconds: padded length of an utterance.
        num_steps: of a call.
    """

    function: abc.Callable
    specs: dict[str, tf.TensorSpec]
    slot_bytes: int
    num_utterances: int
    seconds: float
    num_replicas: int = 1
    num_steps: int = 1

    def compile(self, topology: str) -> aot_report.CompileReport:
        """Compiles it for a chip of a topology; see `compiler.compile`."""
        return compiler.compile(
            self.function,
            list(self.specs.values()),
            topology,
            self.num_replicas,
        )


# TensorFlow requires this alignment of a tensor's memory.
_ALIGNMENT = 64


@contextlib.contextmanager
def unread_variables() -> abc.Iterator[None]:
    """Makes variables zeros that take no memory until they are written.

    So a machine can compile a stack of thousands of Submodels that it has no
    room for: the compiler only reads shapes.
    """

    def create(
        next_creator: abc.Callable[..., tf.Variable], **kwargs: Any
    ) -> tf.Variable:
        value = kwargs["initial_value"]
        value = tf.convert_to_tensor(value() if callable(value) else value)
        if value.shape.rank > 1 and value.dtype == tf.float32:
            zeros = _aligned_zeros(value.shape)
            value = tf.experimental.dlpack.from_dlpack(zeros.__dlpack__())
        return next_creator(**{**kwargs, "initial_value": value})

    with tf.variable_creator_scope(create):
        yield


def _aligned_zeros(shape):
    """Float32 zeros in pages that have no memory until they are written."""
    num_bytes = 4 * math.prod(shape)
    room = np.zeros(num_bytes + _ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + num_bytes].view(np.float32).reshape(shape)


def training_job(
    base: base_model.BaseModel, experiment: schema.Experiment, num_slots: int
) -> task.SubmodelTask:
    """A training task of `num_slots` Submodels, of which only shapes matter."""
    speakers = [f"speaker_{slot}" for slot in range(num_slots)]
    if experiment.space.embedding_dim:
        return task.SubmodelTask(base, experiment, speakers)
    job = task.SubmodelTask(base, experiment, speakers[:1])
    # Replaces the stack of one, so that no initial values are drawn.
    with unread_variables():
        job.stack = stack_lib.Stack(
            speakers, job.stack.layout, job.stack.constants
        )
        job.optimizer = stack_and_optimizer.slot_optimizer(
            job.stack.variables_by_name, experiment
        )
    return job


def batch_specs(
    job: task.SubmodelTask, places: int, num_samples: int, num_tokens: int
) -> dict[str, tf.TensorSpec]:
    """The shapes of a training batch, as `input_pipeline` makes them."""
    experiment = job.experiment
    shape = (places, experiment.train.utterances_per_speaker)
    augment = experiment.augment
    cached = experiment.train.cache_activations
    specs = {
        "audio": tf.TensorSpec([*shape, 0 if cached else num_samples]),
        "lengths": tf.TensorSpec(shape, tf.int32),
        "tokens": tf.TensorSpec([*shape, num_tokens], tf.int32),
        "token_lengths": tf.TensorSpec(shape, tf.int32),
        "weights": tf.TensorSpec(shape),
        "languages": tf.TensorSpec(shape, tf.int32),
        "row_indices": tf.TensorSpec([places], tf.int32),
        "active": tf.TensorSpec([places], tf.bool),
        "seeds": tf.TensorSpec([places, 2], tf.int32),
        "freq_masks": tf.TensorSpec([*shape, augment.num_freq_masks, 2]),
        "time_masks": tf.TensorSpec([*shape, augment.num_time_masks, 2]),
    }
    if cached:
        lower = job.lower.get_concrete_function(  # pyright: ignore
            tf.TensorSpec([1, num_samples]), tf.TensorSpec([1], tf.int32)
        )
        activations, paddings = lower.structured_outputs
        specs |= {
            "activations": tf.TensorSpec([*shape, *activations.shape[1:]]),
            "activation_paddings": tf.TensorSpec([*shape, *paddings.shape[1:]]),
        }
    return specs


def train_program(
    base: base_model.BaseModel,
    experiment: schema.Experiment,
    num_slots: int,
    places: int,
    num_samples: int,
    num_tokens: int | None,
    num_replicas: int = 1,
) -> Program:
    """The program of one call on a chip: `train.steps_per_call` steps.

    Args:
        num_slots: Submodels that the chip holds.
        places: how many of them are in a step, all different.
        num_samples: the bucket.
        num_tokens: of the longest transcript of the job; None for the longest
            that the experiment trains on.
        num_replicas: chips that train the job together.

    Raises:
        ValueError: there are fewer Submodels than places.
    """
    if num_slots < places:
        raise ValueError(
            f"a step of {places} speakers needs as many Submodels. "
            f"Received: {num_slots}."
        )
    num_samples = base.bucket_samples(num_samples)
    num_tokens = num_tokens or experiment.train.max_tokens
    tokens = input_pipeline.token_bucket([[0] * num_tokens], base.max_tokens)
    job = training_job(base, experiment, num_slots)
    specs = batch_specs(job, places, num_samples, tokens)

    steps = sharding.steps_per_call(experiment, num_replicas)
    if steps > 1:
        specs = {
            name: tf.TensorSpec([steps, *spec.shape], spec.dtype)
            for name, spec in specs.items()
        }
        specs["count"] = tf.TensorSpec([], tf.int32)

    def call(*tensors: tf.Tensor) -> Any:
        batch = dict(zip(specs, tensors, strict=True))
        with replica_sums.summed_by(_all_reduce(num_replicas)):
            if steps == 1:
                return job.train_step.python_function(batch)  # pyright: ignore
            count = batch.pop("count")
            return job.train_steps.python_function(  # pyright: ignore
                batch, count
            )

    one, two = (_state_bytes(base, experiment, count) for count in (1, 2))
    return Program(
        function=call,
        specs=specs,
        slot_bytes=two - one,
        num_utterances=places * experiment.train.utterances_per_speaker,
        seconds=base.seconds(num_samples),
        num_replicas=num_replicas,
        num_steps=steps,
    )


def _all_reduce(num_replicas):
    """A function that sums a tensor over chips; None for a single chip."""
    if num_replicas == 1:
        return None
    # There is no public name: TensorFlow's TPU strategies rewrite their graphs
    # to use it.
    from tensorflow.compiler.tf2xla.ops import gen_xla_ops

    return functools.partial(
        gen_xla_ops.xla_all_reduce,
        group_assignment=[list(range(num_replicas))],
        reduce_op="Add",
        mode="CrossReplica",
    )


def _state_bytes(base, experiment, num_slots):
    job = training_job(base, experiment, num_slots)
    return sum(
        variable.dtype.size * variable.shape.num_elements()
        for variable in job.state_by_name.values()
    )


def serve_program(
    base: base_model.BaseModel,
    experiment: schema.Experiment,
    num_rows: int,
    num_samples: int,
    beam_size: int = 1,
) -> Program:
    """Recognition of one bucket's utterances, each with its own Submodel.

    The program's function returns what `Recognizer.recognize_tokens` does.

    Args:
        num_rows: utterances of a call.
        num_samples: the bucket.
    """
    num_samples = base.bucket_samples(num_samples)
    recognizer = signatures.Recognizer(
        base, layouts.of(base.sites, experiment), beam_size
    )
    specs = {
        "audio": tf.TensorSpec([num_rows, num_samples]),
        "length": tf.TensorSpec([num_rows], tf.int32),
        "submodel": tf.TensorSpec([num_rows, recognizer.layout.num_values]),
    }

    def recognize(
        audio: tf.Tensor, lengths: tf.Tensor, submodels: tf.Tensor
    ) -> Any:
        return recognizer.recognize_tokens(
            audio, lengths, recognizer.site_functions(submodels)
        )

    return Program(recognize, specs, 0, num_rows, base.seconds(num_samples))
