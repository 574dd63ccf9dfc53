"""Experiments on Conformer-CTC (Gulati et al. 2020), the paper's base."""

import dataclasses

from params import bases, jobs, kinds, schema, spaces


@dataclasses.dataclass(frozen=True)
class LibriSpeechS(schema.Experiment):
    """Conformer S, 16 blocks of 144: trains on LibriSpeech, then Submodels.

    Train the base with
    `python -m tasks.train_base --experiment=conformer.LibriSpeechS` on the
    manifest of `tasks.import_corpus --from=librispeech`. Its error rate has
    not been measured.
    """

    base: bases.ConformerCtc = bases.ConformerCtc(
        model_dim=144, num_blocks=16, num_heads=4, dropout_rate=0.1
    )
    train: jobs.Train = jobs.Train(max_tokens=400)
    base_training: bases.BaseTraining = bases.BaseTraining(
        num_steps=100_000,
        utterances_per_step=256,
        learning_rate=2e-3,
        warmup_steps=10_000,
    )
    augment: jobs.Augment = jobs.Augment(
        num_freq_masks=2,
        freq_mask_max_bins=27,
        num_time_masks=5,
        time_mask_max_frames=25,
    )


@dataclasses.dataclass(frozen=True)
class LibriSpeechM(LibriSpeechS):
    """Conformer M, 16 blocks of 256: trains on LibriSpeech, then Submodels."""

    base: bases.ConformerCtc = bases.ConformerCtc(
        model_dim=256, num_blocks=16, num_heads=4, dropout_rate=0.1
    )


@dataclasses.dataclass(frozen=True)
class LibriSpeechL(LibriSpeechS):
    """Conformer L, 17 blocks of 512: trains on LibriSpeech, then Submodels."""

    base: bases.ConformerCtc = bases.ConformerCtc(
        model_dim=512, num_blocks=17, num_heads=8, dropout_rate=0.1
    )


@dataclasses.dataclass(frozen=True)
class LibriSpeechL128(LibriSpeechL):
    """`LibriSpeechL` at the paper's scale: 128 Submodels in a step, on a TPU.

    Adapters of 64 after each of the 17 blocks (1.14 million values), and one
    utterance of at most 30 s of each speaker: eight on each of 16 chips. Never
    trained; `python -m tasks.aot_compile` tells what it needs.
    """

    base: bases.ConformerCtc = bases.ConformerCtc(
        model_dim=512,
        num_blocks=17,
        num_heads=8,
        dropout_rate=0.1,
        buckets_seconds=(4.0, 8.0, 12.0, 16.0, 24.0, 30.0),
    )
    adapter: kinds.Adapter = kinds.Adapter(bottleneck_dim=64)
    train: jobs.Train = jobs.Train(
        speakers_per_step=8,
        utterances_per_speaker=1,
        max_tokens=400,
        compute_dtype="bfloat16",
    )


@dataclasses.dataclass(frozen=True)
class Tiny(schema.Experiment):
    """A Conformer of 2 blocks of 32 for tests: trains in a minute on a CPU."""

    base: bases.ConformerCtc = bases.ConformerCtc(
        model_dim=32,
        num_blocks=2,
        num_heads=2,
        kernel_size=7,
        feed_forward_expansion=2,
        dropout_rate=0.0,
        num_bins=40,
        buckets_seconds=(1.0, 2.0, 4.0),
    )
    adapter: kinds.Adapter = kinds.Adapter(bottleneck_dim=8)
    base_training: bases.BaseTraining = bases.BaseTraining(
        num_steps=300, utterances_per_step=8, learning_rate=3e-3
    )
    train: jobs.Train = jobs.Train(
        num_steps=8,
        speakers_per_step=2,
        utterances_per_speaker=2,
        eval_every_steps=4,
    )


@dataclasses.dataclass(frozen=True)
class TinyEmbedding(Tiny):
    """`Tiny` with a space of 4 elements instead of a slot for each speaker."""

    space: spaces.Space = spaces.Space(
        embedding_dim=4,
        element_dropout_rate=0.05,
        speaker_dropout_rate=0.1,
    )
