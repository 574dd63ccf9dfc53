"""An export of a base model without a training run.

    python -m tests.benchmarks.serving.exporting BASE RUN BOTTLENECK_DIM

writes into the folder RUN what tasks.export reads of a run.
"""

import pathlib
import shutil
import subprocess
import sys

from tasks.serving.exports import description as export_description

EXPERIMENT = "whisper.ShortAdapters"


def export(base, work_dir, bottleneck_dim):
    """Exports once; the `pathlib.Path` of the folder with versions.

    Args:
        base: str, a short-context base model's folder.
        work_dir: `pathlib.Path`.
        bottleneck_dim: int, of the Submodels that the export takes.
    """
    exports = work_dir / f"export_{bottleneck_dim}"
    try:
        export_description.read(str(exports / "1"))
        return exports
    except ValueError:
        # None yet, or one of another version of the project.
        shutil.rmtree(exports, ignore_errors=True)
    run = str(work_dir / f"run_{bottleneck_dim}")
    for module, *arguments in (
        (__spec__.name, base, run, str(bottleneck_dim)),
        ("tasks.export", f"--model_dir={run}", f"--export_dir={exports}"),
    ):
        command = [sys.executable, "-m", module, *arguments]
        # The benchmark's own output is the table.
        subprocess.run(command, check=True, stdout=sys.stderr)
    return exports


def _write_run(base_path, run, bottleneck_dim):
    from tasks.asr.training import model_directory, run_description
    from tests.benchmarks import jobs

    values = jobs.experiment(
        EXPERIMENT, [f"adapter.bottleneck_dim={bottleneck_dim}"]
    )
    base_path = str(pathlib.Path(base_path).absolute())
    fingerprint = jobs.load_base(base_path, values).fingerprint()
    directory = model_directory.ModelDirectory(run)
    directory.prepare()
    directory.write_experiment(
        run_description.describe(EXPERIMENT, values, base_path, fingerprint, {})
    )


if __name__ == "__main__":
    _write_run(*sys.argv[1:])
