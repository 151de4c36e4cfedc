"""A model from a stranger's folder runs no code."""

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.conftest import Trained, assert_user_error


class Evil:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.fixture
def folder(trained_mlp: Trained, tmp_path: Path) -> Path:
    """A copy of a saved model."""
    return shutil.copytree(trained_mlp.model, tmp_path / "model")


def test_pickles_and_modules_in_the_folder_are_not_read(trained_mlp: Trained, folder: Path, tmp_path: Path) -> None:
    """MLflow's own loader unpickles the one and imports the other."""
    touched = tmp_path / "touched"
    (folder / "data" / "custom_objects.cloudpickle").write_bytes(pickle.dumps(Evil(touched)))
    (folder / "data" / "keras_module.txt").write_text("evil_module")
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "evil_module.py").write_text(f"open({str(touched)!r}, 'w').close()")
    result = trained_mlp("evaluate", "--model", str(folder))
    assert result.returncode == 0, result.stderr
    assert not touched.exists()
    pickle.loads(pickle.dumps(Evil(touched)))
    assert touched.exists()


def test_a_lambda_layer_is_refused(trained_mlp: Trained, folder: Path) -> None:
    file = folder / "data" / "model.keras"
    with zipfile.ZipFile(file) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(content["config.json"])
    config["config"]["layers"][-1] = {
        "module": "keras.layers",
        "class_name": "Lambda",
        "config": {"name": "evil", "function": {"class_name": "__lambda__", "config": {"code": "", "defaults": None}}},
        "registered_name": None,
    }
    with zipfile.ZipFile(file, "w") as archive:
        for name, part in (content | {"config.json": json.dumps(config).encode()}).items():
            archive.writestr(name, part)
    assert_user_error(trained_mlp("evaluate", "--model", str(folder)), "--model", "cannot be read")


def test_a_model_of_another_origin_is_refused(trained_mlp: Trained, folder: Path) -> None:
    described = (folder / "MLmodel").read_text()
    assert "  app: mnist_mlp\n" in described
    (folder / "MLmodel").write_text(described.replace("  app: mnist_mlp\n", ""))
    assert_user_error(trained_mlp("evaluate", "--model", str(folder)), "a model of another origin, not of mnist_mlp")


@pytest.mark.parametrize("content", [b"", b"\x93junk", b"flavors: ["])
@pytest.mark.parametrize("name", ["MLmodel", "data/model.keras"])
def test_a_damaged_file_is_named(name: str, content: bytes, trained_mlp: Trained, folder: Path) -> None:
    (folder / name).write_bytes(content)
    assert_user_error(trained_mlp("evaluate", "--model", str(folder)), "--model", "choose another, or train again")


@pytest.mark.parametrize("line", ["  digest:", "  task:", "mlflow_version:", "signature:"])
def test_a_description_that_is_cut_off_is_named(line: str, trained_mlp: Trained, folder: Path) -> None:
    described = (folder / "MLmodel").read_text()
    (folder / "MLmodel").write_text(described[: described.index(line)])
    assert_user_error(trained_mlp("evaluate", "--model", str(folder)), "MLmodel is damaged", "choose another")
