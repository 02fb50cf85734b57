"""tools/deploy: image, services, unit, held against what they name, and run as far as that goes without an engine."""

import contextlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from dockerfile import Image, build, exec_form, instructions
from processes import ROOT, SECONDS, line_with

DEPLOY = ROOT / "tools" / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
IGNORE = (DEPLOY / "Dockerfile.dockerignore").read_text()
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
UNIT = (DEPLOY / "mycelium.service").read_text()


def test_the_image_has_two_stages_a_user_that_is_not_root_and_no_shell_between_it_and_signals():
    steps = instructions(DOCKERFILE)
    words = [word for word, _ in steps]
    assert words.count("FROM") == 2
    last = dict(steps[len(words) - words[::-1].index("FROM") :])
    assert int(last["USER"].split(":")[0]) > 0
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert exec_form(last["ENTRYPOINT"]) + exec_form(last["CMD"]) == ["mycelium", "serve"]
    assert "CMD [" in last["HEALTHCHECK"]


def test_what_services_mount_and_build_from_is_there():
    assert (DEPLOY / COMPOSE["services"]["bridge"]["build"]["context"]).resolve() == ROOT
    assert (ROOT / COMPOSE["services"]["bridge"]["build"]["dockerfile"]).is_file()
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / source).is_dir(), f"{volume} is no folder"
    for provisioned in (DEPLOY / "grafana" / "provisioning").rglob("*.yaml"):
        assert yaml.safe_load(provisioned.read_text())["apiVersion"] == 1


def test_services_have_a_root_that_nobody_writes_and_time_to_drain():
    for name, service in COMPOSE["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
    ours = [service for service in COMPOSE["services"].values() if service["image"] == "mycelium"]
    assert len(ours) == 3
    assert {service["stop_grace_period"] for service in ours} == {"45s"}
    assert "TimeoutStopSec=45" in UNIT


def test_what_services_run_are_commands_that_fit_their_contracts():
    for service in ("publisher", "subscriber"):
        words = COMPOSE["services"][service]["command"]
        assert mycelium_parses(words), words
    _, name, fields, *_ = COMPOSE["services"]["publisher"]["command"]
    environment = {**os.environ, "MYCELIUM_CONTRACTS": str(DEPLOY / "contracts" / "contracts.yaml")}
    encode = [sys.executable, "-m", "mycelium", "encode", name, fields]
    assert subprocess.run(encode, env=environment, capture_output=True, check=False).returncode == 0


def mycelium_parses(words):
    """Whether the command understands its arguments; nothing is run."""
    import argparse

    from mycelium.cli.main import COMMANDS, add_commands

    commands = argparse.ArgumentParser().add_subparsers()
    add_commands(commands, COMMANDS, words)
    return commands.choices[words[0]].parse_args(words[1:])


@contextlib.contextmanager
def scratch():
    """A folder that other users may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="mycelium-image-")).resolve()
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        for path in folder.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(folder)


def writable(image):
    """What the image's user may write to below its root; without root's powers the modes are all that there is."""
    if os.getuid():
        for path in [image.root, *image.root.rglob("*")]:
            if not path.is_symlink() and path != image.path("/run/mycelium"):
                path.chmod(path.stat().st_mode & ~0o222)
    found = image.popen(["find", str(image.root), "-writable", "!", "-type", "l"])
    out, _ = found.communicate(timeout=SECONDS)
    return {Path(line) for line in out.splitlines()}


@pytest.mark.slow
def test_the_image_serves_reloads_and_drains_as_its_user_on_a_root_that_it_cannot_write():
    with scratch() as folder:
        image = build(DOCKERFILE, ROOT, IGNORE, folder)
        assert writable(image) == {image.path("/run/mycelium")}
        assert stat.S_IMODE(image.path("/run/mycelium").stat().st_mode) == 0o700
        with running(image, *image.entrypoint, *image.command) as bridge:
            line_with(bridge, "listening on unix://")
            healthy(image)
            with running(image, "mycelium", "sub", "Ping", "-o", "json") as subscriber:
                line_with(subscriber, "subscribed to Ping")
                mount_another_contract(image)
                line_with(bridge, "version 2 is in force")
                line_with(subscriber, "version 2 from here on")
                fields = json.dumps({"value": "hi", "venue": 3})
                with running(image, "mycelium", "pub", "Ping", fields, "--count", "3") as publisher:
                    assert publisher.wait(SECONDS) == 0, publisher.stderr.read()
                bridge.send_signal(signal.SIGTERM)
                assert [json.loads(subscriber.stdout.readline())["fields"]["venue"] for _ in range(3)] == [3, 3, 3]
                line_with(bridge, "stopped")
                assert bridge.wait(SECONDS) == 0
        assert not image.path("/run/mycelium/bus.sock").exists()


@contextlib.contextmanager
def running(image: Image, *words):
    process = image.popen(list(words))
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)


def healthy(image):
    with running(image, *image.health) as check:
        assert check.wait(SECONDS) == 0, check.stderr.read()


def mount_another_contract(image):
    """What an editor does to a folder that is mounted: another file takes the place of the old one."""
    file = image.path("/contracts/contracts.yaml")
    text = file.read_text().replace("version: 1", "version: 2")
    text = re.sub(
        r"(Ping:.*?value: .*?\n)", r"\1      venue: {type: u16, default: 7}\n", text, count=1, flags=re.DOTALL
    )
    file.parent.chmod(0o755)
    draft = file.with_name("draft")
    draft.write_text(text)
    draft.rename(file)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_the_unit_is_one_and_gives_little_away(tmp_path):
    program = Path(sys.executable).with_name("mycelium")
    unit = tmp_path / "mycelium.service"
    unit.write_text(UNIT.replace("/opt/mycelium/bin/mycelium", str(program if program.exists() else sys.executable)))
    verify = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (verify.returncode, verify.stderr) == (0, "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=15", unit],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout + judged.stderr
