"""The page in a real browser, on a real bridge: what people see, and that nothing from peers is more than text."""

import json

import browser
import pytest
from processes import bridge, call, line_with, started, stop

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not browser.is_there(), reason="Chromium and its driver are not installed"),
]
TEXT = """
schema: {id: 50, version: 1, min_compatible: 1}
messages:
  Tick:
    tlv_type: 1010
    domain: MarketData
    log_payload: true
    description: A price
    fields: {instrument: {type: u32}, text: {type: String}}
  Order: {tlv_type: 1011, domain: Execution, fields: {id: {type: u64}, note: {type: String}}}
"""
EVIL = "<img src=x onerror=\"document.title='owned'\">"
FILTER = """
const box = document.querySelector('#tail-text');
box.value = arguments[0];
box.dispatchEvent(new Event('input'))"""
OPEN_ALL = """
document.querySelector('#tail-go').click();
document.querySelectorAll('.opener').forEach(one => one.click())"""
TAB, ENTER = "\ue004", "\ue007"
ROWS = "return [...document.querySelectorAll('#messages .opener')].map(one => one.textContent)"
OVERFLOWING = """
return [...document.querySelectorAll('body *')].filter(one => {
  const box = one.getBoundingClientRect();
  if (!box.width || one.closest('.unseen, .skip, svg')) return false;
  const style = getComputedStyle(one);
  const cut = one.scrollWidth > one.clientWidth + 1 && style.overflowX === 'visible' && style.display !== 'inline';
  return box.right > innerWidth + 1 || box.left < -1 || cut;
}).map(one => one.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser.browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def contracts(tmp_path):
    file = tmp_path / "contracts.yaml"
    file.write_text(TEXT)
    return file


def page_of(serving):
    return line_with(serving, "a page, health").split()[-1]


def fresh(chromium, page):
    chromium.look()
    chromium.open(page)
    chromium.until("return document.querySelector('#live').dataset.state === 'live'")
    chromium.complaints()
    return chromium


def test_it_shows_what_flows_who_is_slow_and_what_a_message_is_made_of(chromium, contracts, tmp_path):
    with bridge(contracts, "--http", "127.0.0.1:0", listen=f"unix://{tmp_path}/s") as (serving, url):
        page = page_of(serving)
        with (
            started("sub", "Tick", "--url", url, cwd=tmp_path) as subscriber,
            started("pub", "Tick", "-", "--url", url, cwd=tmp_path) as publisher,
        ):
            line_with(subscriber, "subscribed to")
            for number in range(3):
                publisher.stdin.write(json.dumps({"instrument": number, "text": EVIL}) + "\n")
            publisher.stdin.flush()
            subscriber.stdout.readline()
            it = fresh(chromium, page)
            assert it.until(f"const rows = (() => {{ {ROWS} }})(); return rows.length === 2 && rows") == [
                "Tick",
                "Order",
            ]
            it.until("return document.querySelector('#connections').innerText.includes('mycelium sub')")
            it.run("document.querySelector('.opener').focus()")
            it.press(ENTER)
            it.until("return document.querySelector('.detail:not([hidden]) .bytes li:nth-child(4)')")
            detail = it.run("return document.querySelector('.detail').innerText")
            assert "A price" in detail
            assert "@16 · 6+n B" in detail  # text, behind length, type id and instrument
            assert it.run("return document.querySelector('.opener').getAttribute('aria-expanded')") == "true"
            it.press(ENTER)
            it.until("return document.querySelector('.detail').hidden")
            it.press(TAB)
            assert it.run("return document.activeElement.textContent") == "Order"
            watched(it, publisher)
        requests = it.run("return performance.getEntriesByType('resource').map(one => new URL(one.name).origin)")
        assert {one + "/" for one in requests} == {page if page.endswith("/") else f"{page}/"}
        assert it.run("return document.title") == "mycelium · mycelium"
        assert it.complaints() == []


def watched(it, publisher):
    """The tail: only when asked for, as text, filtered and paused."""
    assert it.run("return document.querySelectorAll('#tail-lines li').length") == 0
    it.run("document.querySelector('#tail-go').click()")
    it.until("return document.querySelector('#tail-hint').textContent === 'Watching.'")
    publisher.stdin.write(json.dumps({"instrument": 7, "text": EVIL}) + "\n")
    publisher.stdin.flush()
    it.until("return document.querySelector('#tail-lines li')")
    line = it.run("return document.querySelector('#tail-lines li').innerText")
    assert "mycelium pub" in line
    assert json.dumps({"instrument": 7, "text": EVIL}) in line
    assert it.run("return document.querySelectorAll('main img').length") == 0
    shown = "return [...document.querySelectorAll('#tail-lines li')].filter(one => !one.hidden).length"
    it.run(FILTER, "no such text")
    assert it.run(shown) == 0
    it.run(FILTER, "ONERROR")
    assert it.run(shown) == 1
    it.run("document.querySelector('#tail-go').click()")
    assert it.run("return document.querySelector('#tail-hint').textContent") == "Paused."


def test_a_refused_edit_and_a_bridge_that_goes_are_said(chromium, contracts, tmp_path):
    arguments = (contracts, "--http")
    with bridge(*arguments, "127.0.0.1:0", listen=f"unix://{tmp_path}/s") as (serving, url):
        page = page_of(serving)
        it = fresh(chromium, page)
        assert it.run("return document.querySelector('#schema-reasons').hidden")
        contracts.write_text(TEXT.replace("id: {type: u64}", "id: {type: u32}"))
        assert call("schema", "reload", "--url", url, cwd=tmp_path).returncode == 1
        it.until("return document.querySelector('#schema.bad')")
        assert "FIELD_TYPE_CHANGED Order.id" in it.run("return document.querySelector('#schema').innerText")
        contracts.write_text(TEXT.replace("version: 1", "version: 2"))
        assert call("schema", "reload", "--url", url, cwd=tmp_path).returncode == 0
        it.until("return document.querySelector('#schema:not(.bad)')?.innerText.includes('version 2')")
        assert stop(serving) == 0
        it.until("return document.querySelector('#live').innerText === 'bridge away'")
        place = page.removeprefix("http://").rstrip("/")
        with bridge(*arguments, place, listen=f"unix://{tmp_path}/s"):
            it.until("return document.querySelector('#live').innerText === 'live'")


def test_nothing_overflows_at_any_width_in_either_light(chromium, contracts, tmp_path):
    with bridge(contracts, "--http", "127.0.0.1:0", listen=f"unix://{tmp_path}/s") as (serving, url):
        page = page_of(serving)
        with (
            started("sub", "--url", url, cwd=tmp_path) as subscriber,
            started("pub", "Tick", "-", "--url", url, cwd=tmp_path) as publisher,
        ):
            line_with(subscriber, "subscribed to")
            it = fresh(chromium, page)
            it.run(OPEN_ALL)
            it.until("return document.querySelectorAll('.detail .bytes').length === 2")
            it.until("return document.querySelector('#tail-hint').textContent === 'Watching.'")
            publisher.stdin.write(json.dumps({"instrument": 1, "text": "w" * 600}) + "\n")
            publisher.stdin.flush()
            it.until("return document.querySelector('#tail-lines li')")
            it.until("return document.querySelectorAll('#connections tr').length > 2")
            for width, dark in ((1280, False), (1280, True), (820, False), (400, True), (400, False), (320, False)):
                it.look(width=width, height=860, dark=dark)
                assert it.run("return document.documentElement.scrollWidth") == width
                assert it.run(OVERFLOWING) == [], width
                ground = it.run("return getComputedStyle(document.body).backgroundColor")
                assert (sum(map(int, ground[4:-1].split(","))) < 150) is dark
        assert it.complaints() == []
