"""What is shipped for Prometheus and Grafana is valid, and speaks of metrics that there are."""

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from itertools import combinations

import pytest
import yaml
from processes import ROOT, SECONDS, bridge, line_with, started
from web import get, web

import mycelium
from mycelium.bus.observe.collector import FAMILIES

PROMETHEUS = ROOT / "tools" / "deploy" / "prometheus"
RULES = PROMETHEUS / "mycelium.rules.yml"
CONFIG = PROMETHEUS / "prometheus.yml"
DASHBOARD = json.loads((ROOT / "tools" / "deploy" / "grafana" / "mycelium.json").read_text())
ALERTS = {"Down", "ReloadRefused", "SlowConsumers", "Drops", "HandshakeFailures", "LatencySLO", "LoopLag"}
SUFFIXES = ("_bucket", "_sum", "_count")
promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="Prometheus is not installed")
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def alerts():
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return group["rules"]


def expressions():
    yield from (rule["expr"] for rule in alerts())
    yield from (target["expr"] for panel in panels() for target in panel["targets"])
    yield from (each["expr"] for each in DASHBOARD["annotations"]["list"] if "expr" in each)
    yield from (each["definition"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query")


def tool(*arguments):
    return subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=SECONDS, check=False
    )


@promtool
def test_rules_and_config_are_valid_and_each_alert_comes_and_goes():
    for arguments in (("check", "rules", RULES), ("check", "config", CONFIG)):
        done = tool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
    done = tool("test", "rules", PROMETHEUS / "mycelium.tests.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_seven_alerts_are_there_tested_and_say_what_to_do():
    assert {rule["alert"] for rule in alerts()} == {f"Mycelium{name}" for name in ALERTS}
    tested = (PROMETHEUS / "mycelium.tests.yml").read_text()
    for rule in alerts():
        assert rule["for"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description"}
        assert f"alertname: {rule['alert']}" in tested


@promtool
def test_every_expression_of_the_dashboard_is_one(tmp_path):
    plain = [re.sub(r"\$__rate_interval", "5m", target["expr"]) for panel in panels() for target in panel["targets"]]
    plain += [each["expr"] for each in DASHBOARD["annotations"]["list"] if "expr" in each]
    records = [{"record": f"panel:{place}", "expr": expression} for place, expression in enumerate(plain)]
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": records}]}))
    done = tool("check", "rules", rules)
    assert done.returncode == 0, done.stdout + done.stderr


def test_panels_stand_side_by_side_each_with_a_word_on_what_it_shows():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["fieldConfig"]["defaults"].get("unit") or panel["type"] == "table"
    for one, other in combinations([panel["gridPos"] for panel in DASHBOARD["panels"]], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above
    assert max(panel["gridPos"]["x"] + panel["gridPos"]["w"] for panel in panels()) <= 24


async def test_every_metric_of_alerts_and_dashboard_is_exported(contracts):
    async with mycelium.MessageBus(contracts).serve("tcp://127.0.0.1:0") as served, web(served) as port:
        text = (await get(port, "/metrics")).body.decode()
    exported = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    used = {name for each in expressions() for name in re.findall(r"\b(?:mycelium|process)_[a-z_]+\b", each)}
    whole = {name.removesuffix(next((end for end in SUFFIXES if name.endswith(end)), "")) for name in used}
    assert len(whole) > 30
    assert whole - exported == set()
    labels = {name for each in expressions() for name in re.findall(r"(?:by|on|group_left) ?\(([^)]+)\)", each)}
    known = {label for family in FAMILIES for label in family.labels}
    made = {"job", "instance", "le", "software"}  # by Prometheus, and by an expression of its own
    assert {one.strip() for each in labels for one in each.split(",")} - known - made == set()


@pytest.mark.slow
@prometheus
def test_a_real_prometheus_loads_it_all_and_scrapes_a_real_bridge(tmp_path):
    with bridge("--http", "127.0.0.1:0", listen=f"unix://{tmp_path}/s") as (serving, _):
        place = line_with(serving, "a page, health").rpartition("http://")[2].rstrip("/")
        config = CONFIG.read_text()
        assert "127.0.0.1:7778" in config
        (tmp_path / "prometheus.yml").write_text(config.replace("127.0.0.1:7778", place).replace("15s", "200ms"))
        shutil.copy(RULES, tmp_path)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [
            "prometheus",
            f"--config.file={tmp_path}/prometheus.yml",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with started(command=command) as process:
            line_with(process, "Server is ready to receive web requests")
            (target,) = until(port, "targets?state=active", lambda data: up(data["activeTargets"]))
            assert target["scrapeUrl"] == f"http://{place}/metrics"
            (group,) = until(port, "rules", lambda data: data["groups"])
            assert {rule["name"] for rule in group["rules"]} == {f"Mycelium{name}" for name in ALERTS}
            until(port, "rules", lambda data: all(rule["health"] == "ok" for rule in data["groups"][0]["rules"]))
            for panel in panels():
                for each in panel["targets"]:
                    expression = each["expr"].replace("$__rate_interval", "5m")
                    expression = expression.replace("$job", "mycelium").replace("$instance", ".*")
                    query(port, f"query?query={urllib.request.quote(expression)}")
            found = query(port, "query?query=mycelium_build_info")["result"]
            assert found[0]["metric"]["version"] == mycelium.__version__


def up(targets):
    return targets if [one["health"] for one in targets] == ["up"] else None


def query(port, path):
    with DIRECT.open(f"http://127.0.0.1:{port}/api/v1/{path}", timeout=SECONDS) as answer:
        return json.load(answer)["data"]


def until(port, path, look):
    """Ask again and again until what comes is what is looked for; that."""
    end = time.monotonic() + SECONDS
    while not (found := look(query(port, path))):
        assert time.monotonic() < end, query(port, path)
        time.sleep(0.05)
    return found
