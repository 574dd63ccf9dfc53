"""Jobs of one test module that share what they compile.

A step of a tiny job takes milliseconds, and seconds to compile.
"""

import contextlib
import dataclasses
from collections import abc

import numpy as np
import pytest

from lingvo_like.stack import rows as slot_rows
from tasks.asr import base_loading
from tasks.asr.batches import speaker_places
from tasks.asr.training import job_state, sharding
from tpu.distribute import replicas as replicas_lib


@contextlib.contextmanager
def sharing() -> abc.Iterator[None]:
    """Within it, bases are loaded and steps are compiled once.

    For jobs of slots on one replica.
    """
    bases, made = {}, {}
    load, create = base_loading.load, job_state.create

    def load_once(values, path, *more):
        key = (values, path, more)
        if key not in bases:
            bases[key] = load(values, path, *more)
        return bases[key]

    def create_once(base, experiment, data, replicas=None, speakers=()):
        if experiment.space.embedding_dim:
            return create(base, experiment, data, replicas, speakers)
        names = tuple(speakers) or tuple(d.speaker for d in data.values())
        in_graph = dataclasses.replace(
            experiment,
            train=dataclasses.replace(
                experiment.train, eval_every_steps=1, patience=0
            ),
        )
        key = (id(base), len(names), in_graph)
        if key not in made:
            state = create(base, experiment, data, replicas, speakers)
            start = {
                k: np.array(v) for k, v in state.task.state_by_name.items()
            }
            made[key] = state.task, state.sharding.slot_rows, start
            return state
        task, rows, start = made[key]
        task.experiment = experiment
        shards = sharding.shard(
            replicas_lib.Replicas(), base, experiment, data, len(names)
        )
        task.stack.speakers = names
        task.stack._slots = {name: slot for slot, name in enumerate(names)}
        for name, variable in task.state_by_name.items():
            variable.assign(start[name])
        taken = range(len(names))
        if isinstance(rows, slot_rows.PooledRows):
            rows.leave(taken)
            order = speaker_places.in_turn(taken, (), shards.places_of)
            taken = rows.take(order)
        shared_start = experiment.submodel.shared_start
        task.stack.start(taken, experiment.train.seed, shared_start)
        task.optimizer.reset(rows, taken)
        return job_state.JobState(
            task, dataclasses.replace(shards, slot_rows=rows)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base_loading, "load", load_once)
        patch.setattr(job_state, "create", create_once)
        yield
