"""Compares results that must be the same, for `tests.benchmarks.enrolment`."""

import dataclasses
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np

from lingvo_like.stack import stack
from lingvo_like.store import store as submodel_store
from lingvo_like.submodel import file as submodel_file
from tasks.asr.batches import padded_audio
from tasks.asr.enrolment import destination, enrol, plan, recordings
from tasks.serving import client
from tests.benchmarks import enrolment_costs, enrolment_curve
from tests.benchmarks.serving import direct, server_process, users


def same(arguments, folder, run):
    """Materialised against embedding, alone against together, and kills."""
    space, experiment, base = enrolment_curve.load(arguments, run)
    train, _, _ = recordings.read(
        base, experiment, str(folder / "train.jsonl"), "", [], 0.3
    )
    few = {
        speaker: enrolment_curve.first(data, 3)
        for speaker, data in list(train.items())[:4]
    }
    values = plan.Values()
    together = enrol.enrol(space, base, few, mode="embedding", values=values)
    speaker = together[-1].speaker
    (alone,) = enrol.enrol(
        space, base, {speaker: few[speaker]}, mode="embedding", values=values
    )
    difference = np.abs(np.subtract(alone.embedding, together[-1].embedding))
    result = {
        "largest_difference_alone": float(difference.max()),
        "largest_difference_materialised": _materialised(
            space, base, few, [each.embedding for each in together]
        ),
        **_deployed(arguments, space, base, few, run, together),
        **_kills(arguments, folder, run),
    }
    for name, value in result.items():
        print(f"{name}: {value:g}")
    return result


def _materialised(space, base, few, embeddings):
    """The largest difference of the encoder's output by the two paths."""
    speakers = list(few)
    constants = space.layout.constants(base.kernel)
    learned = space.embedding_space(speakers, constants)
    learned.set_embeddings(np.array(embeddings, np.float32))
    files = {
        speaker: space.materialise(np.array(embedding, np.float32))
        for speaker, embedding in zip(speakers, embeddings, strict=True)
    }
    fixed = stack.Stack(speakers, space.layout, constants)
    for speaker, tensors in files.items():
        fixed.write(fixed.slot(speaker), tensors)
    batch = enrolment_costs.batch(base, len(speakers), 1)
    features = base.features(batch["audio"][:, 0], batch["lengths"][:, 0])
    slots = list(range(len(speakers)))
    by_embedding, by_file = (
        np.asarray(
            base.encode(*features, each.site_functions(each.select(slots)))[0]
        )
        for each in (learned, fixed)
    )
    return float(np.abs(by_embedding - by_file).max())


def _kills(arguments, folder, run):
    """Files that are not whole after enrolments killed at any moment.

    Beside them, how many kills there were: who had ended before is none.
    """
    work_dir = pathlib.Path(arguments.work_dir)
    path = enrolment_costs.few(folder, work_dir / "few_killed.jsonl", 2, 4)
    output, broken, killed = work_dir / "killed", 0, 0
    command = enrolment_costs.command(arguments, run, path, output)
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    longest = time.perf_counter() - started
    if not _files(output):
        raise RuntimeError("nobody was enrolled: there is no file to break")
    draw = random.Random(0)
    for _ in range(arguments.kills):
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        # Most of the time is before the files: look nearer to the end.
        time.sleep(longest * draw.uniform(0.7, 1.0))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
        for path in _files(output):
            try:
                submodel_file.load(path)
            except submodel_file.SubmodelError:
                broken += 1
    return {"half_written_after_kills": broken, "kills": killed}


def _files(output):
    """The paths of the Submodel files in an output folder."""
    folder = output / "submodels"
    return [
        str(folder / name)
        for name in os.listdir(folder)
        if name.endswith(submodel_file.SUFFIX) and not name.startswith(".")
    ]


def _deployed(arguments, space, base, few, run, enrolled):
    """An export, and a server of published Submodels, against embeddings."""
    work_dir = pathlib.Path(arguments.work_dir)
    exports = work_dir / "export"
    shutil.rmtree(exports, ignore_errors=True)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "tasks.export",
            f"--model_dir={run}",
            f"--base={arguments.base}",
            f"--export_dir={exports}",
        ],
        check=True,
        stdout=sys.stderr,
    )
    utterances = [data.utterances[0] for data in few.values()]
    clips = [
        padded_audio.read_samples(each, base.sample_rate) for each in utterances
    ]
    materialised = [
        dataclasses.replace(
            each,
            tensors=space.materialise(np.array(each.embedding, np.float32)),
        )
        for each in enrolled
    ]
    expected = _by_embeddings(space, base, enrolled, clips)
    result = {}
    for name, answers in (
        ("exported", _exported(space, exports, work_dir, materialised, clips)),
        ("served", _served(space, exports, work_dir, materialised, clips)),
    ):
        pairs = list(zip(answers, expected, strict=True))
        result |= {
            f"{name}_texts_the_same": sum(
                text == wanted for (text, _), (wanted, _) in pairs
            )
            / len(pairs),
            f"largest_difference_{name}_score": max(
                abs(score - wanted) for (_, score), (_, wanted) in pairs
            ),
        }
    return result


def _by_embeddings(space, base, enrolled, clips):
    """Text and score of each clip, by its speaker's point of the space."""
    learned = space.embedding_space(
        [each.speaker for each in enrolled],
        space.layout.constants(base.kernel),
    )
    learned.set_embeddings(
        np.array([each.embedding for each in enrolled], np.float32)
    )
    result = []
    for slot, clip in enumerate(clips):
        # A served row is padded to its own bucket.
        audio = np.zeros((1, base.bucket_samples(len(clip))), np.float32)
        audio[0, : len(clip)] = clip
        functions = learned.site_functions(learned.select([slot]))
        encoded, paddings = base.encode(
            *base.features(audio, np.array([len(clip)], np.int32)), functions
        )
        tokens, lengths, scores, _ = base.decode(
            encoded, paddings, functions=functions
        )
        text = base.detokenize(tokens, lengths).numpy()[0].decode()
        result.append((text, float(scores[0])))
    return result


def _exported(space, exports, work_dir, enrolled, clips):
    """The same by the SavedModel's signature, in one batch."""
    lengths = np.array([len(clip) for clip in clips], np.int32)
    audio = np.zeros((len(clips), lengths.max()), np.float32)
    for row, clip in zip(audio, clips, strict=True):
        row[: len(clip)] = clip
    vectors = [
        np.concatenate([each.tensors[k].ravel() for k in space.layout.shapes])
        for each in enrolled
    ]
    with direct.Direct(str(exports / "1"), work_dir / "direct") as saved:
        saved.prepare(
            "mixed",
            "serving_default",
            {"audio": audio, "length": lengths, "submodel": np.stack(vectors)},
        )
        answers = saved.answers("mixed")
    return [(text.decode(), score) for text, score, _ in answers]


def _served(space, exports, work_dir, enrolled, clips):
    """The same by a server to which the Submodels are published."""
    store = work_dir / "store"
    for each in enrolled:
        submodel_store.SubmodelStore(str(store)).publish(
            submodel_file.to_bytes(destination.make_submodel(each, space, 0)),
            users.TENANT,
            each.speaker,
        )
    with (
        server_process.ServerProcess(
            exports, str(store), work_dir / "server"
        ) as server,
        client.Client(server.grpc, server.token) as caller,
    ):
        pending = [
            caller.submit(clip, each.speaker)
            for clip, each in zip(clips, enrolled, strict=True)
        ]
        answers = [each.result() for each in pending]
    return [(each.text, each.score) for each in answers]
