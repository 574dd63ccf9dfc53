"""Every registered experiment can be built, written, read and described."""

import dataclasses
import importlib
import inspect
import json
import pathlib
import subprocess
import sys

import pytest

import params
from lingvo_like import choices, hyperparams
from lingvo_like.base_models import conformer_ctc
from lingvo_like.base_models.whisper import model as whisper
from lingvo_like.space import embedding_space
from lingvo_like.stack import adamw, stack
from lingvo_like.submodel.kinds import by_name
from params import bases, jobs, kinds, registry, schema, spaces
from tasks.asr import base_loading
from tasks.asr.training import stack_and_optimizer
from tests import tiny
from tests.lingvo_like.base_models.whisper import whisper_bases

every_experiment = pytest.mark.parametrize("name", registry.EXPERIMENTS)


def field_names(cls):
    return {field.name for field in dataclasses.fields(cls)}


def arguments(function):
    return inspect.signature(function).parameters


def defaults_differ(cls, function):
    """Fields whose default is not that of the argument of their name."""
    values, parameters = cls(), arguments(function)
    return {
        name: (getattr(values, name), parameters[name].default)
        for name in field_names(cls) & set(parameters)
        if getattr(values, name) != parameters[name].default
    }


@every_experiment
def test_an_experiment_is_an_experiment_of_its_own(name):
    experiment = registry.get(name)
    assert isinstance(experiment, schema.Experiment)
    cls = type(experiment)
    module = cls.__module__.removeprefix("params.")
    assert name == f"{module}.{cls.__name__}"
    # Without its own decorator its values would be the base class's.
    assert "__dataclass_fields__" in vars(cls)
    # Without a docstring of its own it would have the dataclass's signature.
    assert cls.__doc__ and not cls.__doc__.startswith(f"{cls.__name__}(")


@every_experiment
def test_an_experiment_comes_back_from_json(name):
    experiment = registry.get(name)
    text = hyperparams.to_json(experiment)
    assert (
        hyperparams.from_dict(type(experiment), json.loads(text)) == experiment
    )
    assert hyperparams.difference(experiment, registry.get(name)) == []
    changed = hyperparams.override(experiment, ["adapter.bottleneck_dim=3"])
    assert len(hyperparams.difference(experiment, changed)) == 1


@pytest.fixture(scope="module")
def bases_of():
    """A small base of each class of values."""
    return {
        bases.Whisper: whisper_bases.small(),
        bases.ConformerCtc: tiny.base(),
    }


@every_experiment
def test_an_experiments_values_build_its_stack_and_optimizer(name, bases_of):
    experiment = registry.get(name)
    base = bases_of[type(experiment.base)]
    made, parts = stack_and_optimizer.make(base, experiment, ("F01", "F02"))
    sections = {part.kind.name: part for part in made.layout.parts}
    for kind in by_name.KINDS:
        values = getattr(experiment, kind)
        assert bool(values.sites) == (kind in sections)
        for field in field_names(by_name.KINDS[kind]):
            if kind in sections:
                value = getattr(sections[kind].kind, field)
                assert value == getattr(values, field)
    space = experiment.space
    if not space.embedding_dim:
        assert isinstance(made, stack.Stack)
        assert parts.rule.learning_rate == experiment.optimizer.learning_rate
        return
    assert isinstance(made, embedding_space.EmbeddingSpace)
    assert made.embedding_dim == space.embedding_dim
    assert bool(made.encoder) == space.speaker_encoder
    assert parts.embeddings.rule.learning_rate == space.learning_rate
    assert parts.embeddings.rule.weight_decay == space.weight_decay
    assert parts.basis.rule.learning_rate == experiment.optimizer.learning_rate
    if made.encoder:
        rate = space.encoder_learning_rate
        assert parts.encoder.rule.learning_rate == rate


@pytest.fixture(scope="module")
def whispers(tmp_path_factory):
    """Folders of small Whispers of random weights, by audio context."""
    folders = {}
    for context in choices.AUDIO_CONTEXTS:
        folders[context] = str(tmp_path_factory.mktemp(context))
        base = whisper_bases.small(audio_context=context, positions=128)
        base.save(folders[context])
    return folders


@every_experiment
def test_an_experiments_values_build_its_base(name, whispers):
    values = registry.get(name).base
    if isinstance(values, bases.Whisper):
        values = dataclasses.replace(values, language="en")
        base = base_loading.load(values, whispers[values.audio_context])
        assert isinstance(base, whisper.Whisper)
        assert base.audio_context == values.audio_context
        assert values.language in base.languages
    else:
        # One block, since all are alike; the whole of a large one is slow.
        base = base_loading.create(dataclasses.replace(values, num_blocks=1))
        assert isinstance(base, conformer_ctc.ConformerCtc)
        assert base.model_dim == values.model_dim


def test_every_experiment_of_the_package_is_registered():
    folder = pathlib.Path(params.__file__).parent
    found = set()
    for path in folder.glob("*.py"):
        if path.stem in ("__init__", "schema", "section", "registry"):
            continue
        module = importlib.import_module(f"params.{path.stem}")
        found |= {
            cls
            for cls in vars(module).values()
            if isinstance(cls, type)
            and issubclass(cls, schema.Experiment)
            and cls.__module__ == module.__name__
        }
    assert found == set(registry.EXPERIMENTS.values())


@pytest.mark.parametrize("name", by_name.KINDS)
def test_a_kinds_fields_are_its_hyperparameters_and_its_sites(name):
    section = type(getattr(schema.Experiment(), name))
    assert section.section_name == name
    assert field_names(section) - field_names(by_name.KINDS[name]) == {"sites"}
    assert field_names(by_name.KINDS[name]) <= field_names(section)
    for _, default in defaults_differ(section, by_name.KINDS[name]).values():
        assert default is inspect.Parameter.empty


def test_what_holds_for_every_kind_is_of_the_step_and_of_the_start():
    # The task draws the dropout masks, from the speaker's own stream.
    assert field_names(kinds.Submodel) == {"dropout_rate", "shared_start"}
    starting = arguments(stack.Stack.initialize)["shared_start"]
    assert kinds.Submodel().shared_start == starting.default


def test_optimizer_fields_are_the_optimizers_arguments():
    given = field_names(adamw.AdamW)
    assert given - field_names(jobs.Optimizer) == {"num_steps"}
    assert field_names(jobs.Optimizer) <= given


def test_space_fields_are_the_spaces_and_its_optimizers_arguments():
    given = set(arguments(embedding_space.EmbeddingSpace))
    own = {
        "initializer",
        "learning_rate",
        "weight_decay",
        "speaker_encoder",
        "encoder_dim",
        "encoder_learning_rate",
    }
    assert field_names(spaces.Space) - given == own
    differ = defaults_differ(spaces.Space, embedding_space.EmbeddingSpace)
    # No space is the default of an experiment, and no default of a space.
    assert set(differ) == {"embedding_dim"}


def test_conformer_fields_are_the_base_models_arguments():
    given = set(arguments(conformer_ctc.ConformerCtc)) - {"kwargs"}
    assert given == field_names(bases.ConformerCtc)
    assert not defaults_differ(bases.ConformerCtc, conformer_ctc.ConformerCtc)


def test_whisper_fields_are_arguments_of_its_loader():
    # Utterances have a language; the loaded model takes any of its own.
    fields = field_names(bases.Whisper) - {"language"}
    assert fields <= set(arguments(whisper.load))


def test_an_unknown_name_lists_the_near_ones():
    known = next(iter(registry.EXPERIMENTS))
    with pytest.raises(ValueError, match=f"Did you mean.*{known}"):
        registry.get(known.lower())
    with pytest.raises(ValueError, match=f"Did you mean.*{known}"):
        registry.get(known.partition(".")[2])
    with pytest.raises(ValueError, match=f"unknown experiment.*{known}"):
        registry.get("")


def test_the_description_has_a_line_for_each_experiment():
    lines = registry.describe().splitlines()
    assert len(lines) == len(registry.EXPERIMENTS)
    for line in lines:
        name, first_line = line.split(maxsplit=1)
        doc = registry.EXPERIMENTS[name].__doc__
        assert doc.splitlines()[0] == first_line


def test_listing_experiments_needs_no_tensorflow():
    program = (
        "import sys; from params import registry; registry.describe();"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
