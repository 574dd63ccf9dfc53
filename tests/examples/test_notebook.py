"""The example notebook runs from its first cell to its last."""

import pathlib

import nbclient
import nbformat
import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    path = ROOT / "examples" / "submodels.ipynb"
    notebook = nbformat.read(path, as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        timeout=1200,
        kernel_name="python3",
        resources={"metadata": {"path": str(ROOT)}},
    )
    client.execute()
    (texts,) = (
        output["data"]["text/plain"]
        for output in notebook.cells[-1]["outputs"]
        if output["output_type"] == "execute_result"
    )
    assert "'base'" in texts
    (run,) = tmp_path.glob("*/run/submodels")
    assert len(list(run.glob("*.safetensors"))) == 3
