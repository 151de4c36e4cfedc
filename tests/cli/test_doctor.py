"""`make doctor`: each check finds its problem, and says how to fix it."""

import socket
import sys
from pathlib import Path

import pytest

from common.cli import doctor
from tests.conftest import assert_user_error, run


@pytest.mark.usefixtures("store")
def test_a_sound_installation_has_no_problem(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "SPACE", 1)
    monkeypatch.setenv("COLUMNS", "200")
    doctor.main()
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    for name in ("Python", "packages", "device", "data", "store", "disk", "port"):
        assert name in rows


@pytest.mark.usefixtures("store")
def test_a_problem_ends_with_status_1(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "SPACE", 2**80)
    with pytest.raises(SystemExit) as ended:
        doctor.main()
    assert ended.value.code == 1
    output = capsys.readouterr().out
    assert "problem: " in output
    assert "to fix\n  free at least" in output


def test_a_package_of_another_version_or_none_is_named_with_the_command(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(
        "keras==0.1 \\\n    --hash=sha256:0\nno-such-package==2.0 \\\n    --hash=sha256:0\n"
        'other-system==1.0 ; sys_platform == "win32" \\\n    --hash=sha256:0\n'
    )
    first, second = doctor.packages(file)
    assert first.text.startswith("keras ")
    assert first.text.endswith("requirements.txt has ==0.1")
    assert second.text == "no-such-package is not installed, requirements.txt has ==2.0"
    assert "-m pip install --require-hashes -r requirements.txt" in first.fix
    assert [finding.fix for finding in doctor.packages()] == [""]


def test_an_old_python_a_full_disk_and_a_used_port_are_found(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", type("Version", (tuple,), {"major": 3, "minor": 10})((3, 10)))
    assert [finding.fix.startswith("make clean") for finding in doctor.python()] == [True]
    monkeypatch.undo()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/mlflow.db")
    monkeypatch.setattr(doctor, "SPACE", 2**80)
    assert all("free at least" in finding.fix for finding in doctor.disk_space())
    with socket.create_server(("127.0.0.1", 0)) as used:
        number = used.getsockname()[1]
        (finding,) = doctor.port(number)
        assert finding.text == f"{number} is in use"
        assert not finding.must
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{store}/README/mlflow.db")
    (store / "README").write_text("a file")
    (finding,) = doctor.store()
    assert finding.fix


def test_a_data_cache_that_cannot_be_written_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "file"))
    (finding,) = doctor.data_cache()
    assert "set KERAS_HOME" in finding.fix
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (finding,) = doctor.data_cache()
    assert not finding.fix


def test_a_wrong_option_is_one_line() -> None:
    assert_user_error(run("-m", "common.cli.doctor", "--prot", "1"), "unknown option --prot")
