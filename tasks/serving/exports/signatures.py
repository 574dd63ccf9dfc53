"""The graph that is exported: audio and packed Submodels in, text out.

A row's bucket follows from its own length, inside the graph. Rows of different
buckets may share a call: each bucket's rows are gathered, padded to the bucket
and recognised together, so no row depends on another.

Letters in shapes: b rows of a call, r rows of one bucket, u Submodels.
"""

import bisect
from collections import abc
from typing import Any

import numpy as np
import tensorflow as tf

from lingvo_like import tensor_types
from lingvo_like.base_models import base_model
from lingvo_like.layers import sites
from lingvo_like.submodel import (
    layout as submodel_layout,
    selection,
    sites as submodel_sites,
)
from tasks.asr.recognition import statuses as text_statuses
from tasks.serving.exports import statuses

Answer = dict[str, tf.Tensor]
# The input of an export that has several languages.
LANGUAGE_INDEX = "language_index"
# Of row numbers `[r]`: the functions of the base's sites for these rows.
FunctionsOf = abc.Callable[[tf.Tensor], sites.SiteFunctions]


def bucket_table(
    base: base_model.BaseModel,
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A base model's buckets, found by bisection.

    Returns:
        Limits and samples: an utterance of n samples falls in the first bucket
        with n <= limit, and is padded to its samples.
    """
    limits, samples = [], []
    lengths = range(1, base.max_samples + 1)
    while lengths:
        samples.append(base.bucket_samples(lengths[0]))
        end = bisect.bisect(lengths, samples[-1], key=base.bucket_samples)
        limits.append(lengths[end - 1])
        lengths = lengths[end:]
    return tuple(limits), tuple(samples)


class Recognizer:
    """A base model as functions of tensors that need no Python any more.

    Args:
        layout: of the Submodels that it takes.
        beam_size: 1 for greedy search.

    Attributes:
        takes_languages: whether each row says its language, as an index into
            `base.languages`; a base of one language is not asked.
    """

    def __init__(
        self,
        base: base_model.BaseModel,
        layout: submodel_layout.Layout,
        beam_size: int = 1,
    ) -> None:
        self.base = base
        self.layout = layout
        self._constants = layout.constants(base.kernel)
        self.beam_size = beam_size
        self.takes_languages = len(base.languages) > 1
        self._folded: Any = None
        self.bucket_limits, self.bucket_samples = bucket_table(base)

    def module(self) -> tf.Module:
        """The object for `tf.saved_model.save`, with each tensor's variable.

        It holds no Keras layers: saving those writes two sets of variables, and
        readers that restore only the first, such as TensorFlow Serving and the
        C library, would then read the second.
        """
        module: Any = tf.Module(name="recognizer")
        module.weights = {
            name: variable.value
            for name, variable in self.base.named_weights().items()
        }
        module.submodel = self._folded
        tokenizer = getattr(self.base, "tokenizer", None)
        if isinstance(tokenizer, tf.Module):
            module.tokenizer = tokenizer
        return module

    def signatures(self, vector: np.ndarray | None = None) -> dict[str, Any]:
        """The concrete functions to export, by name.

        Args:
            vector: a packed Submodel `[num_values]` float32 to fold into the
                only signature; None for signatures that take Submodels.
        """
        audio = tf.TensorSpec([None, None], tf.float32, "audio")
        length = tf.TensorSpec([None], tf.int32, "length")
        languages = []
        if self.takes_languages:
            languages = [tf.TensorSpec([None], tf.int32, LANGUAGE_INDEX)]
        if vector is not None:
            self._folded = tf.Variable(
                tf.constant(vector), trainable=False, name="submodel"
            )
            folded = _traced(self.folded, audio, length, *languages)
            return {"serving_default": folded}
        shape = [None, self.layout.num_values]
        submodel = tf.TensorSpec(shape, tf.float32, "submodel")
        submodels = tf.TensorSpec(shape, tf.float32, "submodels")
        index = tf.TensorSpec([None], tf.int32, "index")
        grouped = _traced(
            self.grouped, audio, length, submodels, index, *languages
        )

        def mixed(
            audio: tf.Tensor,
            length: tf.Tensor,
            submodel: tf.Tensor,
            language_index: tf.Tensor | None = None,
        ) -> Answer:
            # The one graph serves both: each row has a Submodel of its own.
            rows = tf.range(tf.shape(submodel)[0])
            others = [language_index] if self.takes_languages else []
            return grouped(audio, length, submodel, rows, *others)

        return {
            "serving_default": _traced(
                mixed, audio, length, submodel, *languages
            ),
            "base": _traced(self.alone, audio, length, *languages),
            "grouped": grouped,
        }

    def alone(
        self,
        audio: tf.Tensor,
        length: tf.Tensor,
        language_index: tf.Tensor | None = None,
    ) -> Answer:
        """Recognises every row with the base model.

        Args:
            audio: `[b, samples]` float32; anything past a row's length.
            length: `[b]` int32, valid samples.
            language_index: `[b]` int32, each row's language among
                `base.languages`; None where there is one.

        Returns:
            text `[b]` string, score `[b]` float32 and status `[b]` string:
            "OK"; "CUT: ..." if the end of a text is missing; or the reason why
            a row has no text.
        """
        audio = self._with_equal_rows(audio, length, language_index)
        status = self._status(audio, length, language_index)
        return self._recognize(
            audio,
            length,
            language_index,
            status,
            # As for a Submodel of zeros, bit for bit.
            lambda rows: sites.unchanged(self.layout.site_names),
        )

    def grouped(
        self,
        audio: tf.Tensor,
        length: tf.Tensor,
        submodels: tf.Tensor,
        index: tf.Tensor,
        language_index: tf.Tensor | None = None,
    ) -> Answer:
        """Recognises row i with the Submodel `submodels[index[i]]`.

        Args:
            audio, length, language_index: as for `alone`.
            submodels: `[u, num_values]` float32; zeros are the base.
            index: `[b]` int32.
        """
        audio = self._with_equal_rows(audio, length, language_index, index)
        # The C library does not check its inputs against a signature.
        submodels = tf.ensure_shape(submodels, [None, self.layout.num_values])
        status = self._status(audio, length, language_index)
        count = tf.shape(submodels)[0]
        known = (index >= 0) & (index < count)
        finite = tf.reduce_all(tf.math.is_finite(submodels), axis=1)
        # One row more, so that an empty table has something to gather.
        finite = tf.concat([finite, [True]], axis=0)
        status = statuses.refine(
            status,
            [
                (known, ["index must be from 0 to ", count - 1], index),
                (
                    tf.gather(finite, tf.where(known, index, count)),
                    ["the Submodel has values that are not finite"],
                    None,
                ),
            ],
        )

        def functions(rows: tf.Tensor) -> Any:
            selected = selection.select(
                {"submodel": submodels}, tf.gather(index, rows)
            )
            return self.site_functions(selected["submodel"])

        return self._recognize(audio, length, language_index, status, functions)

    def folded(
        self,
        audio: tf.Tensor,
        length: tf.Tensor,
        language_index: tf.Tensor | None = None,
    ) -> Answer:
        """Recognises every row with the Submodel that is folded in."""
        audio = self._with_equal_rows(audio, length, language_index)
        status = self._status(audio, length, language_index)
        submodel = tf.convert_to_tensor(self._folded)[None]
        return self._recognize(
            audio,
            length,
            language_index,
            status,
            lambda rows: self.site_functions(submodel),
        )

    def site_functions(
        self, submodels: tensor_types.Tensor
    ) -> sites.SiteFunctions:
        """The functions of the base's sites, from `[speakers, num_values]`."""
        return submodel_sites.site_functions(
            self.layout, self.layout.unpack(submodels), self._constants
        )

    def _with_equal_rows(self, audio, length, language_index, *others):
        given = [] if language_index is None else [language_index]
        return _with_equal_rows(audio, length, *given, *others)

    def _status(self, audio, length, language_index):
        """The fault of each row, if any, whatever its Submodel is."""
        status = statuses.of_audio(self.base, audio, length)
        if language_index is None:
            return status
        last = len(self.base.languages) - 1
        known = (language_index >= 0) & (language_index <= last)
        message = [f"{LANGUAGE_INDEX} must be from 0 to {last}"]
        return statuses.refine(status, [(known, message, language_index)])

    def _recognize(
        self,
        audio,
        length,
        language_index,
        status,
        functions_of: FunctionsOf,
    ) -> Answer:
        """Text and score of the rows that have any, bucket by bucket."""
        count = tf.shape(audio)[0]
        limits = tf.constant(self.bucket_limits)
        rooms = tf.constant(self.bucket_samples)
        good = tf.where(status == statuses.OK)[:, 0]
        buckets = tf.searchsorted(limits, tf.gather(length, good))
        present, _ = tf.unique(buckets)

        def recognize_bucket(
            step: tf.Tensor,
            text: tf.Tensor,
            score: tf.Tensor,
            text_status: tf.Tensor,
        ) -> tuple[tf.Tensor, ...]:
            rows = tf.gather(good, tf.where(buckets == present[step])[:, 0])
            room = tf.gather(rooms, present[step])
            part = tf.gather(audio, rows)[:, :room]
            missing = room - tf.shape(part)[1]
            part = tf.pad(part, [[0, 0], [0, missing]])
            languages = None
            if language_index is not None:
                languages = tf.gather(language_index, rows)
            tokens, token_lengths, scores, ended = self.recognize_tokens(
                part, tf.gather(length, rows), functions_of(rows), languages
            )
            texts = self.base.detokenize(tokens, token_lengths)
            found = text_statuses.of_texts(
                ended, token_lengths, self.base.max_tokens
            )
            places = rows[:, None]
            return (
                step + 1,
                tf.tensor_scatter_nd_update(text, places, texts),
                tf.tensor_scatter_nd_update(score, places, scores),
                tf.tensor_scatter_nd_update(text_status, places, found),
            )

        nothing = tf.fill([count], "")
        _, text, score, text_status = tf.while_loop(
            lambda step, *_: step < tf.size(present),
            recognize_bucket,
            (0, nothing, tf.zeros([count]), nothing),
            parallel_iterations=1,
        )
        overflow = ["the Submodel's values are so large that they overflow"]
        status = statuses.refine(
            status, [(tf.math.is_finite(score), overflow, None)]
        )
        good = status == statuses.OK
        return {
            "text": tf.where(good, text, ""),
            "score": tf.where(good, score, 0.0),
            "status": tf.where(good, text_status, status),
        }

    def recognize_tokens(
        self,
        audio: tf.Tensor,
        lengths: tf.Tensor,
        functions: sites.SiteFunctions,
        languages: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """The part of recognition that an accelerator can do: all but text.

        Args:
            audio: `[r, samples]` float32, padded to a bucket.
            lengths: `[r]` int32, valid samples.
            languages: `[r]` int32; see `BaseModel.decode`.

        Returns:
            Tokens `[r, max_tokens]`, their lengths `[r]`, scores `[r]` and
            whether each text ended by itself `[r]`.
        """
        features, paddings = self.base.features(audio, lengths)
        encoded, paddings = self.base.encode(features, paddings, functions)
        return self.base.decode(
            encoded,
            paddings,
            self.beam_size,
            languages=languages,
            functions=functions,
        )


def _traced(function, *specs):
    return tf.function(
        function, input_signature=specs, autograph=False
    ).get_concrete_function()


def _with_equal_rows(audio: tf.Tensor, *others: tf.Tensor) -> tf.Tensor:
    """The audio, once it is known that all inputs have as many rows.

    Otherwise the whole request is refused, since there is no row to give a
    status to. Using the result makes later operations wait for the checks.
    """
    checks = [
        tf.debugging.assert_equal(
            tf.shape(audio)[0],
            tf.shape(tensor)[0],
            "audio, length, language_index and submodel (or index) must have "
            "the same number of rows",
        )
        for tensor in others
    ]
    with tf.control_dependencies(checks):
        return tf.identity(audio)
