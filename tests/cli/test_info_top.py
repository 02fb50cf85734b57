"""`mycelium info` and `mycelium top`: what they show, and how they get on with bridges, pipes and terminals."""

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest
from processes import ROOT, SECONDS, bridge, call, environment, line_with, started, stop
from processes import mycelium as command_line
from rich.console import Console
from rich.text import Text

import mycelium
from mycelium.bus.ranking import SORTS
from mycelium.cli import figures, top
from mycelium.cli.bridge import asker
from mycelium.cli.sampling import Sampler
from mycelium.cli.topview import TopView
from mycelium.cli.watching import View
from peers import until


@pytest.fixture(scope="module")
def url():
    with bridge() as (_, url):
        yield url


# --- info ---


def test_info_says_what_a_bridge_is_and_what_it_takes(url):
    shown = call("info", "--url", url)
    assert (shown.returncode, shown.stderr) == (0, "")
    lines = {line[:15].strip(): line[15:].strip() for line in shown.stdout.splitlines()}
    assert lines["bridge"] == lines["listens on"] == url
    assert lines["schema"] == "0x4d594345 version 1, 5 messages"
    assert lines["payload"] == "4 MiB"
    assert lines["queue"] == "8,192 messages or 8 MiB of a subscription"


def test_info_for_programs_is_one_object_with_the_exact_figures(url):
    shown = json.loads(call("info", "-o", "json", "--url", url).stdout)
    assert shown["url"] == url
    assert shown["limits"]["max_payload"] == 4_194_304
    assert shown["uptime_s"] >= 0
    assert shown["started_at"] <= time.time()


@pytest.mark.parametrize("command", ["info", "top"])
def test_no_bridge_is_one_clear_error_and_no_screen_is_taken(command, tmp_path):
    failed = call(command, "--url", f"unix://{tmp_path}/none")
    assert (failed.returncode, failed.stdout) == (4, "")
    assert failed.stderr.startswith("mycelium: no bridge at unix://")
    assert "try: start one with `mycelium serve`" in failed.stderr


# --- top ---


def test_the_sorts_of_the_command_are_those_of_the_bridge():
    assert list(SORTS) == list(top._SORTS)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [(["--interval", "1ms"], "too short"), (["--limit", "1001"], "too many"), (["--sort", "x"], "x")],
)
def test_an_option_that_makes_no_sense_is_refused(arguments, what):
    failed = call("top", *arguments)
    assert failed.returncode == 2
    assert what in failed.stderr


def test_once_is_one_object_with_rates_of_the_interval(url):
    with started("sub", "Ping", "--url", url) as subscriber:
        line_with(subscriber, "subscribed to")
        with started("pub", "Ping", '{"value": "x"}', "--count", "100000", "--rate", "200", "--url", url) as publisher:
            subscriber.stdout.readline()
            shown = json.loads(call("top", "--once", "-o", "json", "--interval", "300ms", "--url", url).stdout)
            publisher.send_signal(signal.SIGINT)
    assert shown["interval_s"] >= 0.3
    rows = {row["client"]: row for row in shown["connections"]}
    assert rows.keys() == {"mycelium sub", "mycelium pub"}  # and not this command's own
    assert rows["mycelium pub"]["rates"]["in"] > 0
    assert rows["mycelium sub"]["rates"]["out"] > 0
    assert shown["totals"]["rates"]["dropped"] == 0
    assert shown["missing"] is None


@pytest.mark.slow
def test_without_a_terminal_pictures_follow_each_other_and_a_restart_is_said(tmp_path):
    url = f"unix://{tmp_path}/s"
    with bridge(listen=url) as (serving, _), started("top", "--interval", "100ms", "--url", url) as watching:
        assert watching.stdout.readline().startswith(f"mycelium  {url}  up ")
        assert stop(serving) == 0
        line_with(watching, "the bridge is away for")
        with bridge(listen=url):
            line_with(watching, "the bridge is there again, and has been restarted")
            watching.send_signal(signal.SIGINT)
            assert watching.wait(SECONDS) == 130
            out = watching.stdout.read()
            assert "\x1b" not in out
            assert "nobody else is connected" in out
            assert watching.stderr.read() == ""


def test_a_reader_that_goes_away_ends_it(url):
    with started("top", "--interval", "100ms", "--url", url) as watching:
        watching.stdout.readline()
        watching.stdout.close()
        assert watching.wait(SECONDS) == 0
        assert watching.stderr.read() == ""
        watching.stdout = open(os.devnull)  # noqa: SIM115, PTH123  `started` closes it


class Screen:
    """A terminal of its own for a command."""

    def __init__(self, fd, process):
        self.fd = fd
        self.process = process
        self.seen = b""

    def until(self, *texts):
        """Read until all of it was shown; it counts once."""
        end = time.monotonic() + SECONDS
        while not all(text.encode() in self.seen for text in texts):
            assert time.monotonic() < end, self.seen
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self.fd, 65536)
                except OSError:  # the other side is closed
                    assert all(text.encode() in self.seen for text in texts), self.seen
        self.seen = b""

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)


@contextlib.contextmanager
def on_a_terminal(*arguments):
    ours, theirs = pty.openpty()
    modes = termios.tcgetattr(theirs)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 20, 100, 0, 0))
    process = subprocess.Popen(
        command_line(*arguments), stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env=environment(TERM="xterm")
    )
    try:
        yield Screen(ours, process)
        assert termios.tcgetattr(theirs) == modes, "the terminal is as it was"
    finally:
        process.kill()
        process.wait(SECONDS)
        os.close(ours)
        os.close(theirs)


def test_on_a_terminal_it_fills_the_screen_follows_its_size_and_q_quits(url):
    with on_a_terminal("top", "--interval", "200ms", "--url", url) as screen:
        screen.until("\x1b[?1049h", "mycelium", "of 10,000 connections", "q quits")
        screen.resize(12, 30)
        screen.until("11 of 10,000 connections"[3:], "…", "q quits")
        os.write(screen.fd, b"xq")
        screen.until("\x1b[?1049l", "\x1b[?25h")
        assert screen.process.wait(SECONDS) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signals_leave_the_terminal_as_it_was(url, number, code):
    with on_a_terminal("top", "--url", url) as screen:
        screen.until("q quits")
        screen.process.send_signal(number)
        screen.until("\x1b[?1049l")
        assert screen.process.wait(SECONDS) == code


def test_ctrl_z_gives_the_terminal_back_and_fg_takes_it_again(url):
    with on_a_terminal("top", "--interval", "200ms", "--url", url) as screen:
        screen.until("q quits")
        screen.process.send_signal(signal.SIGTSTP)
        screen.until("\x1b[?1049l")
        assert os.waitid(os.P_PID, screen.process.pid, os.WSTOPPED | os.WNOWAIT).si_status == signal.SIGSTOP
        screen.process.send_signal(signal.SIGCONT)
        screen.until("\x1b[?1049h", "q quits")
        os.write(screen.fd, b"q")
        assert screen.process.wait(SECONDS) == 0


# --- what is shown ---


async def test_whoever_may_not_see_clients_is_shown_the_rest_and_told_what_is_missing(contracts, tmp_path, monkeypatch):
    bus = mycelium.MessageBus(contracts)
    async with bus.serve(f"unix://{tmp_path}/s") as bridge_:
        async with await asker(bridge_.urls[0]) as client:
            monkeypatch.setattr(os, "getuid", lambda: 4711)  # the bridge runs as somebody else
            picture = await Sampler(client, bridge_.urls[0], "lag", 10).look()
    assert picture.connections is None
    shown = rendered(View(picture), 100, 20)
    assert "of 10,000 connections" in shown
    assert "connections: shown to the bridge's own user" in shown
    assert json.loads(json.dumps(picture.as_object()))["missing"].startswith("shown to")


async def test_slow_clients_come_first_and_their_names_are_text_and_nothing_else(contracts, tmp_path):
    bus = mycelium.MessageBus(contracts)
    async with bus.serve(f"unix://{tmp_path}/s") as bridge_:
        url = bridge_.urls[0]
        evil = "[red]\x1b[2J\u202eevil"
        async with (
            mycelium.connect(url, contracts, name="fast") as fast,
            mycelium.connect(url, contracts, name=evil) as slow,
            await asker(url) as client,
            slow.messages(contracts.Ping, queue=4, window=1),
        ):
            await fast.subscribe(lambda _: None, contracts.Ping)
            sampler = Sampler(client, url, "lag", 10)
            await sampler.look()
            for number in range(20):
                bus.publish_nowait(contracts.Ping(str(number)))
            await until(lambda: fast.stats().delivered == 20)
            picture = await sampler.look()
    first = picture.connections[0]
    assert (first["slow"], first["lag_messages"], first["queued_messages"]) == (True, 4, 3)
    assert first["dropped"] == {"dropped_oldest": 16}
    assert first["rates"]["dropped"] > 0
    assert first["peer"] == f"pid {os.getpid()}, uid {os.getuid()}"
    shown = rendered(View(picture), 160, 40)
    assert "[red]\\x1b[2J\\u202eevil" in shown
    assert shown.index("evil") < shown.index("fast")


def rendered(view, width, height, footer=""):
    console = Console(width=width, height=height, force_terminal=False, highlight=False)
    with console.capture() as capture:
        console.print(TopView(view, footer), end="")
    return capture.get()


async def test_the_view_fits_terminals_of_any_size(contracts, tmp_path):
    bus = mycelium.MessageBus(contracts)
    async with bus.serve(f"unix://{tmp_path}/s") as bridge_, await asker(bridge_.urls[0]) as client:
        picture = await Sampler(client, bridge_.urls[0], "lag", 10).look()
    names = ("queued", "capacity", "in_flight", "lag", "received", "sent")
    row = {"received": 1, "delivered": 1, "subscriptions": 10**6, "session": 10**6, "connected_seconds": 10**6}
    row |= {f"{name}_messages": 10**6 for name in names}
    row |= dict.fromkeys(("name", "client"), "x" * 128) | {"topic": "t" * 80, "peer": "p" * 60, "slow": True}
    row |= {"dropped": {"dropped_oldest": 10**9}, "rates": {"in": 1e6, "out": None, "dropped": 2.5, "lost": 0.0}}
    for rows in (0, 1, 40):
        picture = type(picture)("unix:///" + "u" * 100, 1.0, picture.bridge, picture.totals, [row] * rows, [row] * rows)
        for width in (20, 40, 80, 120, 200):
            for height in (8, 12, 24, 60):
                lines = rendered(View(picture, "away for 3 s"), width, height, "q quits").splitlines()
                assert len(lines) <= max(height, 14), (rows, width, height)
                assert all(Text(line).cell_len <= width for line in lines)
                assert lines[-1].rstrip() == "q quits"


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (figures.rate(None), "-"),
        (figures.rate(0), "0"),
        (figures.rate(0.25), "0.2"),
        (figures.rate(9.96), "10"),
        (figures.rate(999.7), "1.0k"),
        (figures.rate(1234), "1.2k"),
        (figures.rate(123_456), "123k"),
        (figures.rate(5e15), "5000T"),
        (figures.size(1023), "1023 bytes"),
        (figures.size(1536), "1.5 KiB"),
        (figures.size(4_194_304), "4 MiB"),
        (figures.size(12 << 40), "12 TiB"),
        (figures.age(-1), "0 s"),
        (figures.age(61), "1 min 1 s"),
        (figures.age(7261), "2 h 1 min"),
        (figures.age(90_000), "1 d 1 h"),
        (figures.share(1, 3), "33%"),
        (figures.share(0, 0), "0%"),
    ],
)
def test_figures_are_short(shown, text):
    assert shown == text
