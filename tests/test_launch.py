"""The files of docs/launch/ have the form that their programs read, and commands that exist."""

import functools
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.conftest import ROOT
from tests.processes import run_forked

FOLDER = ROOT / "docs" / "launch"
FILES = sorted(FOLDER.iterdir())


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def test_the_commands_of_the_files_exist() -> None:
    asked = []
    for file in FILES:
        found = re.findall(r"\.venv/bin/python -m (\S+) ([^\n']*)", file.read_text())
        assert found
        for module, flags in found:
            dry = ["--dry-run"] if module.startswith("tuning.") else []
            asked.append({"module": module, "arguments": [*flags.split(), *dry], "parsed": True})
    done = run_forked("tests.commands", first=functools.partial(give, "\n".join(map(json.dumps, asked))))
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["status"] for answer in answers] == [0] * len(asked), answers


def give(text: str) -> None:
    """Let this process read the text as its standard input."""
    sys.stdin = io.StringIO(text)


@pytest.mark.parametrize("file", [file for file in FILES if file.suffix == ".sh"], ids=lambda file: file.name)
def test_a_script_is_one(file: Path) -> None:
    for command in (["bash", "-n"], [str(Path(sys.executable).with_name("shellcheck"))]):
        subprocess.run([*command, str(file)], check=True)


def test_the_hosts_of_a_job_find_the_first_one() -> None:
    service, job = documents("kubernetes-train.yaml")
    pod, name = job["spec"]["template"]["spec"], job["metadata"]["name"]
    (container,) = pod["containers"]
    address = {one["name"]: one["value"] for one in container["env"]}["JAX_COORDINATOR_ADDRESS"]
    assert job["spec"]["completionMode"] == "Indexed"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert address.split(":")[0] == f"{name}-0.{service['metadata']['name']}"
    assert service["spec"]["selector"].items() <= job["spec"]["template"]["metadata"]["labels"].items()
    assert job["spec"]["completions"] == job["spec"]["parallelism"]
    assert f"--hosts {job['spec']['completions']}" in container["args"][0]


def test_a_job_of_kuberay_has_the_version_that_is_installed() -> None:
    (job,) = documents("kuberay-search.yaml")
    assert f"ray[default]=={job['spec']['rayClusterSpec']['rayVersion']}" in (ROOT / "pyproject.toml").read_text()


def test_ray_accepts_its_cluster_file() -> None:
    (config,) = documents("ray-cluster.yaml")
    validate_config(prepare_config(config))
