"""A headless Chromium, driven over loopback by the WebDriver protocol (W3C): what the tests of the page need of it."""

import base64
import contextlib
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request

SECONDS = 30.0
"""How long anything may take; it is there for hangs, not for timing."""
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
_NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def is_there():
    """Whether there is a browser."""
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


class Browser:
    """One window."""

    def __init__(self, url):
        self._url = url

    def call(self, method, path, **body):
        """One WebDriver command; its value."""
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(self._url + path, data, {"content-type": "application/json"}, method=method)
        try:
            with _NO_PROXY.open(request, timeout=SECONDS) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None

    def cdp(self, command, **parameters):
        """A command of the DevTools protocol."""
        return self.call("POST", "/goog/cdp/execute", cmd=command, params=parameters)

    def open(self, url):
        self.call("POST", "/url", url=url)

    def run(self, script, *args):
        """The value of a function body."""
        return self.call("POST", "/execute/sync", script=script, args=args)

    def until(self, script, *args):
        """Look again and again until a function body gives something that is true; that."""
        end = time.monotonic() + SECONDS
        while not (value := self.run(script, *args)):
            assert time.monotonic() < end, f"never: {script}\n{self.run('return document.body.innerText')}"
            time.sleep(0.05)
        return value

    def look(self, *, width=1280, height=900, dark=False):
        """Change the size of the window, and what its user prefers."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        value = "dark" if dark else "light"
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": value}])

    def screenshot(self, path, *, whole=False):
        """A picture of the window, or of the whole page."""
        shot = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def press(self, *keys):
        """Keys, one after the other, to whatever has the focus."""
        actions = [
            step for key in keys for step in ({"type": "keyDown", "value": key}, {"type": "keyUp", "value": key})
        ]
        self.call("POST", "/actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def complaints(self):
        """What the console says since the last call."""
        return [entry["message"] for entry in self.call("POST", "/se/log", type="browser")]


@contextlib.contextmanager
def browser(folder):
    """A browser with a new profile in a folder; gone with everything that it started when the block ends."""
    command = [shutil.which("chromedriver"), "--port=0", f"--log-path={folder}/driver.log"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        try:
            line = next(line for line in driver.stdout if "started successfully on port" in line)
            port = line.rstrip(". \n").rpartition(" ")[2]
            url = f"http://127.0.0.1:{port}"
            options = {"args": [*ARGUMENTS, f"--user-data-dir={folder}/profile"], "binary": shutil.which("chromium")}
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            session = Browser(url).call("POST", "/session", capabilities={"alwaysMatch": wanted})["sessionId"]
            opened = Browser(f"{url}/session/{session}")
            try:
                yield opened
            finally:
                opened.call("DELETE", "")
        finally:
            driver.terminate()
            driver.wait(SECONDS)
