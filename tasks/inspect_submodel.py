"""Prints the content of Submodel files: one in full, several as a table.

    python -m tasks.inspect_submodel RUN/submodels/F01.safetensors
    python -m tasks.inspect_submodel RUN/submodels/*.safetensors
    python -m tasks.inspect_submodel --json RUN/submodels/*.safetensors

Every file is checked as a server checks it. The store hash is the SHA-256 of
the file, with whose first digits a store names its versions: 3-54af968d037a.
With --json each file is one line of JSON. A file that is not a valid Submodel
is one line on stderr, and the exit status is then 1.
"""

import json
import sys

from absl import flags

from tasks import cli

_JSON = flags.DEFINE_bool("json", False, "Print a line of JSON for each file.")


@cli.takes_arguments
def main(argv: list[str]) -> None:
    paths = cli.arguments(argv, "Submodel file")
    # Late, so that --help answers at once.
    from lingvo_like.submodel import file as submodel_file
    from tasks.asr import submodel_contents

    found, errors = [], []
    for path in paths:
        try:
            found.append(submodel_contents.read(path))
        except submodel_file.SubmodelError as error:
            errors.append(str(error))
    if _JSON.value:
        for one in found:
            print(json.dumps(one))
    elif found and len(paths) == 1:
        print(submodel_contents.in_full(found[0]), end="")
    elif found:
        print(submodel_contents.table(found))
    for error in errors[:-1]:
        print(f"error: {error}", file=sys.stderr)
    if errors:
        cli.fail(errors[-1])


if __name__ == "__main__":
    cli.run(main)
