"""The exports, speech, servers and folders of every part of the benchmark."""

import dataclasses
import functools
import pathlib
import shutil

from tasks.serving.exports import description as export_description
from tests.benchmarks.serving import (
    direct,
    exporting,
    server_here,
    server_process,
    speech,
)

BOTTLENECK_DIM = 32


@dataclasses.dataclass(frozen=True)
class Export:
    """An export: `folder` holds the versions, of which there is version 1."""

    folder: pathlib.Path
    description: export_description.Description


class Bench:
    """The benchmark's surroundings.

    Args:
        arguments: `argparse.Namespace`, of `__main__`.
    """

    def __init__(self, arguments):
        self.arguments = arguments
        self.work_dir = pathlib.Path(arguments.work_dir).absolute()
        self.work_dir.mkdir(parents=True, exist_ok=True)

    @functools.cached_property
    def speakers(self):
        """Recordings, for `speech.cut`."""
        return speech.recordings(self.arguments.recordings, self.work_dir)

    @functools.cache  # noqa: B019 one object a process
    def export(self, bottleneck_dim=BOTTLENECK_DIM):
        """The `Export` of the base for Submodels of this bottleneck."""
        folder = exporting.export(
            self.arguments.base, self.work_dir, bottleneck_dim
        )
        return Export(folder, export_description.read(str(folder / "1")))

    @property
    def description(self):
        """The usual export's."""
        return self.export().description

    def folder(self, name):
        """A path for what may be kept from run to run, for this export."""
        return str(
            self.work_dir / f"{name}_{self.description.base_fingerprint[:12]}"
        )

    def fresh_folder(self, name):
        """The path of an empty folder."""
        path = self.work_dir / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return str(path)

    def direct(self):
        """A `direct.Direct` of the usual export."""
        return direct.Direct(
            str(self.export().folder / "1"), self.work_dir / "direct"
        )

    def serve(
        self, store, bottleneck_dim=BOTTLENECK_DIM, exports=None, **arguments
    ):
        """A `ServerProcess`; arguments as there."""
        exports = exports or self.export(bottleneck_dim).folder
        return server_process.ServerProcess(
            exports, store, self.work_dir / "server", **arguments
        )

    def serve_here(self, store, **limits):
        """A `ServerHere` of the usual export."""
        return server_here.ServerHere(self.export().folder, store, **limits)
