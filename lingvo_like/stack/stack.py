"""The stack of a job: all blocks' stacked adapters as one thing.

A speaker id maps to a slot; a slot's tensors, over all blocks, are a Submodel.
"""

import numpy as np
import tensorflow as tf

from lingvo_like import random_streams
from lingvo_like.layers import adapter
from lingvo_like.stack import rows as slot_rows_lib
from lingvo_like.submodel import layout as submodel_layout

# Starting points drawn before they are written: a stack of thousands never has
# a second copy in memory.
_SLOTS_AT_ONCE = 256


class SpeakerSlots(tf.Module):
    """Which slot each speaker has.

    Args:
        speakers: sequence of speaker ids; a speaker's slot is its position.
        name: str.

    Raises:
        ValueError: there is no speaker, or one appears twice.
    """

    def __init__(self, speakers, name):
        super().__init__(name=name)
        self.speakers = tuple(speakers)
        self._slots = {speaker: i for i, speaker in enumerate(self.speakers)}
        if len(self._slots) != len(self.speakers):
            raise ValueError("a speaker appears twice in one stack")
        if not self.speakers:
            raise ValueError("a stack needs at least one speaker")

    @property
    def num_slots(self):
        return len(self.speakers)

    def slot(self, speaker):
        """The slot of a speaker.

        Raises:
            ValueError: the speaker has none; never a neighbour's.
        """
        if speaker not in self._slots:
            raise ValueError(
                f"speaker {speaker!r} has no slot in this stack of "
                f"{self.num_slots}"
            )
        return self._slots[speaker]


class Stack(SpeakerSlots):
    """The Submodels that are trained together.

    Args:
        speakers: sequence of speaker ids; a speaker's slot is its position.
        layout: `submodel_layout.Layout`, the tensors of one Submodel.
        residual_weight: float.
        slot_rows: `SlotRows`, where the rows of the slots are; a row for each
            slot if None.

    Attributes:
        adapters: dict of block index to `StackedAdapter`.
        variables_by_name: dict of tensor name to variable `[slots, ...]`, in
            the layout's order.
        slot_rows: as given. Steps know slots by their rows: `gather` takes
            rows, which are the slots where each has one.
    """

    def __init__(self, speakers, layout, residual_weight=1.0, slot_rows=None):
        super().__init__(speakers, name="stack")
        self.layout = layout
        self.residual_weight = residual_weight
        self.slot_rows = slot_rows or slot_rows_lib.SlotRows(self.num_slots)
        self.adapters = {
            block: adapter.StackedAdapter(
                num_slots=self.slot_rows.num_rows,
                model_dim=layout.model_dim,
                bottleneck_dim=layout.bottleneck_dim,
                residual_weight=residual_weight,
                name=f"adapter_{block:02d}",
            )
            for block in layout.blocks
        }

    @property
    def variables_by_name(self):
        return {
            submodel_layout.tensor_name(block, field): weight.value
            for block, layer in self.adapters.items()
            for field, weight in layer.stack._asdict().items()
        }

    def initialize(self, seed, shared_start=False):
        """Draws the starting point of every speaker who has a row.

        Args:
            seed: int.
            shared_start: bool, all speakers draw from one stream of the seed.
        """
        self.start(self.slot_rows.slots, seed, shared_start)

    def start(self, slots, seed, shared_start=False):
        """Draws speakers' starting points: the identity, ready to learn.

        The down projections come from a stream of (seed, speaker), scaled as
        He et al. 2015 for ReLU; everything else is zero, so each Submodel
        starts as the base, wherever its slot is and whoever its neighbours.

        Args:
            slots: sequence of slots that have rows.
            seed, shared_start: as `initialize`.
        """
        for first in range(0, len(slots), _SLOTS_AT_ONCE):
            some = slots[first : first + _SLOTS_AT_ONCE]
            for name, variable in self.variables_by_name.items():
                values = np.zeros((len(some), *variable.shape[1:]), np.float32)
                if name.endswith("/down_kernel"):
                    for value, slot in zip(values, some, strict=True):
                        whose = "" if shared_start else self.speakers[slot]
                        stream = random_streams.generator(
                            "initial", seed, whose, name
                        )
                        stream.standard_normal(out=value, dtype=np.float32)
                    values *= np.float32(np.sqrt(2.0 / values.shape[1]))
                self.slot_rows.write(variable, some, values)

    def gather(self, slots):
        """Rows of the slots `[speakers]`: dict of name to `[speakers, ...]`."""
        return {
            name: tf.gather(variable, slots)
            for name, variable in self.variables_by_name.items()
        }

    def trainables(self, slots):
        """What a step differentiates by: here, the rows of the slots."""
        return self.gather(slots)

    def listen(self, activations, paddings, weights):
        """Nothing: a stack has no speaker encoder."""
        del activations, paddings, weights

    def rows(self, trainables, seeds=None, heard=None):
        """The rows `[speakers, ...]` that `trainables` stand for: themselves.

        Args:
            trainables: dict from `trainables`.
            seeds: `[speakers, 2]` int32 or None; a stack draws nothing.
            heard: from `listen`.
        """
        del seeds, heard
        return trainables

    def prediction_loss(self, trainables, heard, active):
        """Zero: nothing is predicted."""
        del trainables, heard, active
        return 0.0

    def adapter_functions(self, rows, dropout_masks=None):
        """What a base model's `upper` takes: a function for each block.

        Args:
            rows: dict of name to `[speakers, ...]`, as `gather` gives.
            dropout_masks: None, or a dict of block to
                `[speakers, utterances * time, bottleneck_dim]`.

        Returns:
            dict of block to a function of activations
            `[speakers * utterances, time, model_dim]`.
        """
        return {
            block: self._adapter_function(
                layer,
                adapter.AdapterWeights(
                    *(
                        rows[submodel_layout.tensor_name(block, field)]
                        for field in adapter.AdapterWeights._fields
                    )
                ),
                None if dropout_masks is None else dropout_masks[block],
            )
            for block, layer in self.adapters.items()
        }

    @staticmethod
    def _adapter_function(layer, weights, mask):
        speakers = weights.down_kernel.shape[0]

        def apply(x):
            grouped = tf.reshape(x, [speakers, -1, layer.model_dim])
            return tf.reshape(layer(grouped, weights, mask), tf.shape(x))

        return apply

    def row(self, slot):
        """One Submodel's tensors: dict of name to a NumPy array."""
        return {
            name: self.slot_rows.read(variable, slot)
            for name, variable in self.variables_by_name.items()
        }

    def set_row(self, slot, tensors):
        """Puts one Submodel's tensors into a slot."""
        adapter.check_slots([slot], self.num_slots)
        for name, variable in self.variables_by_name.items():
            self.slot_rows.write(
                variable, [slot], np.asarray(tensors[name])[None]
            )
