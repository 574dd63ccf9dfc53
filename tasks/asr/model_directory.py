"""What a run leaves behind, and the check that a later run agrees with it.

experiment.json   resolved values, base model and speakers of the job
left_out.txt      what was not used, and why
train_texts.json  what each speaker trained on
submodels/        one file per speaker: the deliverable
checkpoints/      to go on after an interruption
history.jsonl     losses of each speaker over its steps
tensorboard/      the same as curves
evaluation/       results.json, hypotheses.jsonl, report.html
"""

import json
import os
import posixpath

import tensorflow as tf

from lingvo_like import files, hyperparams
from lingvo_like import submodel as submodel_lib

EXPERIMENT_FILE = "experiment.json"


class ModelDirectory:
    """Paths of one run.

    Args:
        path: str, a folder or a bucket.
    """

    def __init__(self, path):
        if not path:
            raise ValueError("--model_dir is empty; name a folder for the run")
        self.path = path
        self.checkpoints = posixpath.join(path, "checkpoints")
        self.tensorboard = posixpath.join(path, "tensorboard")
        self.submodels = posixpath.join(path, "submodels")
        self.activations = posixpath.join(path, "activations")
        self.evaluation = posixpath.join(path, "evaluation")
        self.history = posixpath.join(path, "history.jsonl")
        self.texts = posixpath.join(path, "train_texts.json")
        self.left_out = posixpath.join(path, "left_out.txt")
        self.experiment = posixpath.join(path, EXPERIMENT_FILE)

    def submodel(self, speaker):
        """The path of a speaker's Submodel file."""
        return posixpath.join(self.submodels, submodel_lib.file_name(speaker))

    def prepare(self):
        """Makes the folders, and shows now that they can be written.

        Raises:
            OSError: they cannot; said before hours of training.
        """
        try:
            for folder in (self.path, self.submodels, self.checkpoints):
                tf.io.gfile.makedirs(folder)
            probe = posixpath.join(self.path, f".write_probe_{os.getpid()}")
            files.write_atomically(probe, b"probe")
            tf.io.gfile.remove(probe)
        except (tf.errors.OpError, OSError) as error:
            raise OSError(
                f"{self.path}: the model directory cannot be written: "
                f"{getattr(error, 'message', error)}"
            ) from None

    def read_experiment(self):
        """What `write_experiment` wrote, or None for a new directory.

        Raises:
            ValueError: the file is damaged.
        """
        if not tf.io.gfile.exists(self.experiment):
            return None
        with tf.io.gfile.GFile(self.experiment) as file:
            text = file.read()
        try:
            saved = json.loads(text)
            saved["experiment"], saved["values"], saved["base_fingerprint"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"{self.experiment}: not a run's description; restore it or "
                f"train into another --model_dir"
            ) from None
        return saved

    def check_request(self, saved, experiment, name, assignments):
        """Refuses an experiment or overrides that the run does not have.

        Args:
            saved: dict from `read_experiment`.
            experiment: `schema.Experiment`, the run's own.
            name: str, the experiment asked for, or empty.
            assignments: overrides asked for.

        Raises:
            ValueError: with the difference.
        """
        lines = []
        if name and name != saved["experiment"]:
            lines.append(f"experiment: saved {saved['experiment']}, now {name}")
        lines += hyperparams.difference(
            experiment, hyperparams.override(experiment, assignments)
        )
        if lines:
            raise ValueError(
                f"{self.path} holds another run:\n  " + "\n  ".join(lines)
            )

    def read_history(self):
        """The learning curves that training wrote, or an empty list."""
        if not tf.io.gfile.exists(self.history):
            return []
        with tf.io.gfile.GFile(self.history) as file:
            return [json.loads(line) for line in file]

    def write_texts(self, texts):
        """Writes what each speaker trained on: dict of speaker to texts.

        Evaluation tells seen phrases from unseen ones by it.
        """
        data = json.dumps(texts, ensure_ascii=False, indent=0)
        files.write_atomically(self.texts, data.encode())

    def read_texts(self):
        """What `write_texts` wrote."""
        with tf.io.gfile.GFile(self.texts) as file:
            return json.load(file)

    def write_left_out(self, text):
        """Writes the account of what is not used."""
        files.write_atomically(self.left_out, text.encode())

    def write_experiment(self, description):
        files.write_atomically(
            self.experiment,
            (json.dumps(description, indent=2) + "\n").encode(),
        )


def describe_run(name, experiment, base_path, base_fingerprint, data_digests):
    """What `experiment.json` holds.

    Args:
        name: str, the experiment's registered name.
        experiment: `schema.Experiment`, resolved.
        base_path: str, as given; where it was found, not what it is.
        base_fingerprint: str, what it is.
        data_digests: dict of speaker, in slot order, to the SHA-256 of its
            training and dev utterances.
    """
    return {
        "experiment": name,
        "values": hyperparams.to_dict(experiment),
        "base": base_path,
        "base_fingerprint": base_fingerprint,
        "data": data_digests,
    }


def check_agreement(directory, saved, now, template):
    """Refuses to go on in a directory that belongs to another run.

    Args:
        directory: str, named in the message.
        saved: dict from `read_experiment`.
        now: dict from `describe_run`.
        template: `schema.Experiment` of the run now.

    Raises:
        ValueError: with every difference.
    """
    lines = []
    if saved["experiment"] != now["experiment"]:
        lines.append(
            f"experiment: saved {saved['experiment']}, now {now['experiment']}"
        )
    else:
        lines += hyperparams.difference(
            hyperparams.from_dict(template, saved["values"]), template
        )
    if saved["base_fingerprint"] != now["base_fingerprint"]:
        lines.append(
            f"base model: saved {saved['base_fingerprint'][:12]} "
            f"({saved.get('base')}), now {now['base_fingerprint'][:12]} "
            f"({now['base']})"
        )
    before, after = saved.get("data", {}), now["data"]
    for title, speakers in (
        ("speakers no longer there", [s for s in before if s not in after]),
        ("new speakers", [s for s in after if s not in before]),
        (
            "speakers whose recordings changed",
            [s for s in after if before.get(s, after[s]) != after[s]],
        ),
    ):
        if speakers:
            more = f" and {len(speakers) - 5} more" if speakers[5:] else ""
            lines.append(f"{title}: {', '.join(speakers[:5])}{more}")
    if lines:
        raise ValueError(
            f"{directory} holds another run:\n  "
            + "\n  ".join(lines)
            + "\nUse the same settings to go on with it, or another "
            "--model_dir."
        )
