"""Publishes Submodels to servers, lists them, rolls back, erases, verifies.

    python -m tasks.store publish --store=STORE --tenant=T F01.safetensors
    python -m tasks.store publish --store=STORE --tenant=T --model_dir=RUN
    python -m tasks.store list --store=STORE
    python -m tasks.store show --store=STORE --tenant=T F01
    python -m tasks.store rollback --store=STORE --tenant=T F01
    python -m tasks.store erase --store=STORE --tenant=T F01 --reason=asked
    python -m tasks.store erase ... F01 --reason=withdrew --run=RUN,SPACE
    python -m tasks.store erase F01 --run=RUN
    python -m tasks.store verify --store=STORE

STORE is a folder or a bucket. A Submodel is published for the speaker whom its
file names. With --gate it has to be better than the base: in a results.json of
`tasks.evaluate --test_manifest=dev.jsonl`, the whole interval of the change of
the speaker's word error rate must lie below zero. A Submodel of which nothing
was learned is refused, and so is one for another base model than that which
serves, and one of a speaker who was erased; flags allow each. rollback goes to
what served before the current version was published. erase names the files of a
speaker that are still elsewhere; with --run it takes the speaker out of the
folders of runs, spaces, enrolments and evaluations too. A speaker or file that
is refused is one line on stderr; the others go on, and the exit status is 1.
"""

from absl import flags

from tasks import cli

_STORE = flags.DEFINE_string("store", "", "Folder or bucket of the store.")
_TENANT = flags.DEFINE_string(
    "tenant", "", "Whose speakers; list takes all tenants if it is empty."
)
_MODEL_DIR = flags.DEFINE_string(
    "model_dir", "", "publish: a run, all of whose Submodels are published."
)
_SPEAKER = flags.DEFINE_string(
    "speaker", "", "publish: the speaker's id, if the file names another one."
)
_GATE = flags.DEFINE_string(
    "gate", "", "publish: results.json on dev speech that has to show a gain."
)
_CHANGE_BASE = flags.DEFINE_bool(
    "change_base",
    False,
    "publish: also where the Submodel that serves is of another base model.",
)
_AGAIN = flags.DEFINE_bool(
    "again", False, "publish: also speakers who were erased."
)
_FORCE = flags.DEFINE_bool(
    "force", False, "publish: also Submodels of which nothing was learned."
)
_NUMBER = flags.DEFINE_integer(
    "number", None, "rollback: to this version, not to what served before."
)
_REASON = flags.DEFINE_string("reason", "", "erase: why, for the audit log.")
_RUN = flags.DEFINE_list(
    "run",
    [],
    "erase: folders of runs, spaces, enrolments and evaluations, to take the "
    "speaker out of them too.",
)
_REMOVE_LEFTOVERS = flags.DEFINE_bool(
    "remove_leftovers", False, "verify: remove what killed writers left."
)
_JSON = flags.DEFINE_bool("json", False, "Print lines of JSON.")


# Every command: whether it takes arguments, and what it does.
COMMANDS = {
    "publish": (
        True,
        lambda act, paths: act.publish(
            paths,
            _MODEL_DIR.value,
            _SPEAKER.value,
            _GATE.value,
            change_base=_CHANGE_BASE.value,
            again=_AGAIN.value,
            force=_FORCE.value,
        ),
    ),
    "list": (False, lambda act, _: act.list()),
    "show": (True, lambda act, speakers: act.show(speakers)),
    "rollback": (
        True,
        lambda act, speakers: act.rollback(speakers, _NUMBER.value),
    ),
    "erase": (
        True,
        lambda act, speakers: act.erase(speakers, _REASON.value, _RUN.value),
    ),
    "verify": (False, lambda act, _: act.verify(_REMOVE_LEFTOVERS.value)),
}


@cli.takes_arguments
def main(argv: list[str]) -> None:
    name, arguments = "".join(argv[1:2]), argv[2:]
    if name not in COMMANDS:
        cli.fail(f"name one of {', '.join(COMMANDS)} first; see --help")
    takes_arguments, command = COMMANDS[name]
    # A person may be in runs alone.
    has_store = bool(_STORE.value) or name != "erase" or not _RUN.value
    if has_store:
        cli.require(_STORE)
    if has_store and takes_arguments:
        cli.require(_TENANT)
    if arguments and not takes_arguments:
        cli.fail(f"unexpected argument {arguments[0]!r}; flags start with --")
    # Late, so that --help answers at once.
    from lingvo_like.store import store as submodel_store
    from tasks.serving import store_commands

    store = None
    if has_store:
        store = submodel_store.SubmodelStore(_STORE.value)
    act = store_commands.StoreCommands(store, _TENANT.value, _JSON.value)
    problem = command(act, arguments)
    if problem:
        cli.fail(problem)
    if name == "publish" and not _JSON.value:
        print(
            "Next, if no server reads this store yet: python -m tasks.serve "
            f"--export_dir=exports --store={_STORE.value}"
        )


if __name__ == "__main__":
    cli.run(main)
