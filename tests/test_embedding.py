"""The programs of docs/examples that carry a bridge inside them, run as they stand, with clients of their own."""

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

from processes import ROOT, SECONDS, environment, line_with, run, started

import mycelium

EXAMPLES = ROOT / "docs" / "examples"
CONTRACTS = mycelium.load(EXAMPLES / "contracts.yaml")
Order, Accepted, Stock = CONTRACTS.Order, CONTRACTS.Accepted, CONTRACTS.Stock


def example(*arguments, **variables):
    command = [sys.executable, "-W", "error", *arguments]
    return started(cwd=EXAMPLES, command=command, env=variables)


def test_an_application_answers_clients_over_its_own_bridge_and_drains():
    with example("embed_asyncio.py", "tcp://127.0.0.1:0") as shop:
        url = re.fullmatch(r"listening on (\S+)\n", shop.stdout.readline())[1]
        asked = run("req", "Order", '{"number": 7, "item": "tea"}', "Accepted", "--url", url, cwd=EXAMPLES)
        assert asked.stdout == 'Accepted  number=7  by="the shop"\n'
        with mycelium.sync.connect(url, CONTRACTS) as client, client.messages(Stock) as stock:
            while stock.next(timeout=SECONDS) != Stock(item="tea", left=99):
                pass
        shop.send_signal(signal.SIGTERM)
        assert (shop.wait(SECONDS), shop.stderr.read()) == (0, "")


def test_a_plain_script_serves_and_asks_itself():
    ran = subprocess.run(
        [sys.executable, "-W", "error", "embed_script.py"],
        cwd=EXAMPLES,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines()[-1] == "order 1 is accepted by a script"


def ask(url, body=None):
    """Status and text of an HTTP request."""
    try:
        with urllib.request.urlopen(url, None if body is None else json.dumps(body).encode(), SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_a_web_application_passes_requests_on_to_a_client_of_its_bridge(tmp_path):
    bridge = f"unix://{tmp_path}/bus.sock"
    serve = ("-m", "uvicorn", "embed_fastapi:app", "--port", "0", "--no-access-log")
    with started(cwd=EXAMPLES, command=[sys.executable, *serve], env={"BRIDGE": bridge}) as server:
        url = re.search(r"http://[\d.:]+", line_with(server, "Uvicorn running on"))[0]
        order = {"number": 7, "item": "tea"}
        assert ask(f"{url}/orders", order) == (503, '{"detail":"nobody takes orders now"}')
        with mycelium.sync.connect(bridge, CONTRACTS) as client:

            @client.reply(Order)
            def accept(message):
                return Accepted(number=message.number, by="a client")

            assert ask(f"{url}/orders", order) == (200, '{"number": 7, "by": "a client"}')
            status, text = ask(f"{url}/orders", {**order, "item": ""})
            assert (status, "Order.item" in text) == (422, True)
            status, text = ask(f"{url}/orders", {"number": "seven"})
            assert (status, "number" in text) == (422, True)
            client.publish(Stock(item="tea", left=3), confirm=True)
            assert ask(f"{url}/stock") == (200, '{"tea":3}')
        server.send_signal(signal.SIGTERM)
        assert server.wait(SECONDS) in (0, -signal.SIGTERM)
