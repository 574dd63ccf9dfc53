"""The graph that is exported: audio and packed Submodels in, text out.

A row's bucket follows from its own length, inside the graph. Rows of different
buckets may share a call: each bucket's rows are gathered, padded to it and
recognised together, and none of them sees another bucket or row.
"""

import tensorflow as tf

from lingvo_like.submodel import selection, sites

OK = "OK"
# Far above any audio in [-1, 1], far below integer samples that nobody scaled.
MAX_AMPLITUDE = 16.0


def bucket_table(base):
    """A base model's buckets, found by bisection.

    Args:
        base: a `BaseModel`.

    Returns:
        limits and samples, tuples: an utterance of n samples falls in the
        first bucket with n <= limit, and is padded to its samples.
    """
    limits, samples = [], []
    start = 1
    while start <= base.max_samples:
        room = base.bucket_samples(start)
        low, high = start, base.max_samples
        while low < high:
            middle = (low + high + 1) // 2
            if base.bucket_samples(middle) == room:
                low = middle
            else:
                high = middle - 1
        limits.append(low)
        samples.append(room)
        start = low + 1
    return tuple(limits), tuple(samples)


class Recognizer:
    """A base model as functions of tensors that hold no Python any more.

    Args:
        base: a frozen `BaseModel`.
        layout: `Layout` of the Submodels it takes.
        residual_weight: float, of their adapters.
        beam_size: int, 1 for greedy.
    """

    def __init__(self, base, layout, residual_weight=1.0, beam_size=1):
        self.base = base
        self.layout = layout
        self.residual_weight = residual_weight
        self.beam_size = beam_size
        self.row = None
        self.bucket_limits, self.bucket_samples = bucket_table(base)

    def module(self):
        """What `tf.saved_model.save` takes: every tensor's plain variable.

        Not the Keras layers: of their variables two sets are saved, and what
        restores only the first reads the second, TensorFlow Serving and the
        C library among them.
        """
        module = tf.Module(name="recognizer")
        module.weights = {
            name: variable.value
            for name, variable in self.base.named_weights().items()
        }
        module.row = self.row
        tokenizer = getattr(self.base, "tokenizer", None)
        if isinstance(tokenizer, tf.Module):
            module.tokenizer = tokenizer
        return module

    def signatures(self, row=None):
        """The concrete functions to export, by name.

        Args:
            row: None; or a packed Submodel `[num_values]` float32, which is
                folded into one signature that takes no other.
        """
        audio = tf.TensorSpec([None, None], tf.float32, "audio")
        length = tf.TensorSpec([None], tf.int32, "length")
        if row is not None:
            self.row = tf.Variable(row, trainable=False, name="submodel")
            return {"serving_default": _traced(self.folded, audio, length)}
        shape = [None, self.layout.num_values]
        submodel = tf.TensorSpec(shape, tf.float32, "submodel")
        submodels = tf.TensorSpec(shape, tf.float32, "submodels")
        index = tf.TensorSpec([None], tf.int32, "index")
        grouped = _traced(self.grouped, audio, length, submodels, index)

        def mixed(audio, length, submodel):
            # The one graph serves both: each row's Submodel is its own.
            rows = tf.range(tf.shape(submodel)[0])
            return grouped(audio, length, submodel, rows)

        return {
            "serving_default": _traced(mixed, audio, length, submodel),
            "base": _traced(self.alone, audio, length),
            "grouped": grouped,
        }

    def alone(self, audio, length):
        """The base model.

        Args:
            audio: `[b, samples]` float32; anything past a row's length.
            length: `[b]` int32, valid samples.

        Returns:
            dict of text `[b]` string, score `[b]` float32 and status `[b]`
            string: "OK", or why this row has no text.
        """
        audio = _of_same_rows(audio, length)
        status = self._audio_status(audio, length)
        return self._recognize(audio, length, status, lambda rows: {})

    def grouped(self, audio, length, submodels, index):
        """Row i with the Submodel `submodels[index[i]]`; else as `alone`.

        Args:
            submodels: `[u, num_values]` float32; zeros are the base.
            index: `[b]` int32.
        """
        audio = _of_same_rows(audio, length, index)
        # The C library does not hold what is fed against a signature.
        submodels = tf.ensure_shape(submodels, [None, self.layout.num_values])
        status = self._audio_status(audio, length)
        count = tf.shape(submodels)[0]
        known = (index >= 0) & (index < count)
        finite = tf.reduce_all(tf.math.is_finite(submodels), axis=1)
        # One row more, so that there is something to gather without any.
        finite = tf.concat([finite, [True]], axis=0)
        status = _refine(
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

        def adapters(rows):
            chosen = selection.select(
                {"submodel": submodels}, tf.gather(index, rows)
            )
            return self.site_functions(chosen["submodel"])

        return self._recognize(audio, length, status, adapters)

    def folded(self, audio, length):
        """Every row with the one Submodel that is folded in."""
        audio = _of_same_rows(audio, length)
        status = self._audio_status(audio, length)
        row = tf.convert_to_tensor(self.row)[None]
        return self._recognize(
            audio, length, status, lambda rows: self.site_functions(row)
        )

    def site_functions(
        self, submodels: tf.Tensor
    ) -> dict[int, sites.SiteFunction]:
        """What `BaseModel.encode` takes, for packed Submodels.

        Args:
            submodels: `[speakers, num_values]` float32.
        """
        return sites.site_functions(
            self.layout, self.layout.unpack(submodels), self.residual_weight
        )

    def _audio_status(self, audio, length):
        """`[b]` string: "OK", or what is wrong with a row's audio."""
        rows, width = tf.unstack(tf.shape(audio))
        valid = tf.sequence_mask(length, width)
        heard = tf.where(valid, audio, 0.0)
        finite = tf.reduce_all(tf.math.is_finite(heard), axis=1)
        peak = tf.reduce_max(tf.abs(tf.pad(heard, [[0, 0], [0, 1]])), axis=1)
        longest = self.base.max_samples
        return _refine(
            tf.fill([rows], OK),
            [
                (length >= 1, ["length must be at least 1 sample"], length),
                (
                    length <= width,
                    ["length must be at most the width of audio, ", width],
                    length,
                ),
                (
                    length <= longest,
                    [
                        "the utterance is too long: length must be at most "
                        f"{longest} samples, "
                        f"{self.base.seconds(longest):g} s"
                    ],
                    length,
                ),
                (finite, ["audio has samples that are not finite"], None),
                (
                    peak <= MAX_AMPLITUDE,
                    [
                        "audio must be in [-1, 1] (16-bit integers are "
                        "divided by 32768): its peak is too high"
                    ],
                    peak,
                ),
            ],
        )

    def _recognize(self, audio, length, status, adapters):
        """Text and score of the rows that are OK, bucket by bucket.

        Args:
            adapters: function of row numbers `[r]` that returns what
                `BaseModel.encode` takes for those.
        """
        count = tf.shape(audio)[0]
        limits = tf.constant(self.bucket_limits)
        rooms = tf.constant(self.bucket_samples)
        good = tf.where(status == OK)[:, 0]
        buckets = tf.searchsorted(limits, tf.gather(length, good))
        present, _ = tf.unique(buckets)

        def recognize_bucket(step, text, score):
            rows = tf.gather(good, tf.where(buckets == present[step])[:, 0])
            room = tf.gather(rooms, present[step])
            part = tf.gather(audio, rows)[:, :room]
            missing = room - tf.shape(part)[1]
            part = tf.pad(part, [[0, 0], [0, missing]])
            some_text, some_score = self.recognize(
                part, tf.gather(length, rows), adapters(rows)
            )
            places = rows[:, None]
            return (
                step + 1,
                tf.tensor_scatter_nd_update(text, places, some_text),
                tf.tensor_scatter_nd_update(score, places, some_score),
            )

        _, text, score = tf.while_loop(
            lambda step, text, score: step < tf.size(present),
            recognize_bucket,
            (0, tf.fill([count], ""), tf.zeros([count])),
            parallel_iterations=1,
        )
        status = _refine(
            status,
            [
                (
                    tf.math.is_finite(score),
                    ["the Submodel's values are so large that they overflow"],
                    None,
                )
            ],
        )
        good = status == OK
        return {
            "text": tf.where(good, text, ""),
            "score": tf.where(good, score, 0.0),
            "status": status,
        }

    def recognize(self, audio, lengths, adapters):
        """Text and scores `[r]` of audio `[r, bucket]`, all in one bucket."""
        tokens, token_lengths, scores = self.recognize_tokens(
            audio, lengths, adapters
        )
        return self.base.detokenize(tokens, token_lengths), scores

    def recognize_tokens(self, audio, lengths, adapters):
        """As `recognize`, without text: all of it runs on an accelerator.

        Returns:
            tokens `[r, max_tokens]`, their lengths `[r]` and scores `[r]`.
        """
        features, paddings = self.base.features(audio, lengths)
        encoded, paddings = self.base.encode(features, paddings, adapters)
        return self.base.decode(encoded, paddings, self.beam_size)


def _traced(function, *specs):
    return tf.function(
        function, input_signature=specs, autograph=False
    ).get_concrete_function()


def _of_same_rows(audio, *others):
    """The audio, of a call of which all inputs have as many rows.

    Else the whole request is refused: no row would have a status for it.
    What meets the audio waits for the checks, or it could fail before them.
    """
    checks = [
        tf.debugging.assert_equal(
            tf.shape(audio)[0],
            tf.shape(tensor)[0],
            "audio, length and submodel (or index) must have the same number "
            "of rows",
        )
        for tensor in others
    ]
    with tf.control_dependencies(checks):
        return tf.identity(audio)


def _refine(status, checks):
    """Gives each row that is still OK the first of its faults.

    Args:
        status: `[b]` string.
        checks: list of (`[b]` bool that says a row is right, parts of the
            message, what the row holds instead or None).
    """
    for right, message, received in checks:
        parts = [_text(part) for part in message]
        if received is not None:
            parts += [". Received: ", tf.strings.as_string(received)]
        fault = tf.strings.join([*parts, "."])
        status = tf.where((status != OK) | right, status, fault)
    return status


def _text(part):
    return part if isinstance(part, str) else tf.strings.as_string(part)
