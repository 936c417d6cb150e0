"""Types into the page of `leapstream web` in a headless Chromium, and reads what a user would.

Arguments: the folder of the programs, a model directory, the file for the screenshot, a PNG. Skipped (77) where there
is no chromium.
"""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

PROGRAMS, MODEL, SCREENSHOT = sys.argv[1:4]
CHROMIUM = shutil.which("chromium")
SENTENCES = ["The weather is nice today.", "We are going home."]
TIMEOUT = 60  # Seconds, of each thing that is waited for.


class Browser:
    """One page in a Chromium that is spoken to over two pipes: the DevTools protocol, a NUL after each message."""

    def __init__(self, folder):
        command_read, command_write = os.pipe()
        answer_read, answer_write = os.pipe()

        def place_pipes():  # Chromium reads from 3 and writes to 4.
            read, write = os.dup(command_read), os.dup(answer_write)
            os.dup2(read, 3)
            os.dup2(write, 4)

        log = open(f"{folder}/chromium.log", "w")
        self.process = subprocess.Popen(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--disable-background-networking", "--no-proxy-server", "--remote-debugging-pipe",
             f"--user-data-dir={folder}/profile", "--window-size=1000,900", "about:blank"],
            preexec_fn=place_pipes, close_fds=False, stdin=subprocess.DEVNULL,
            stdout=log, stderr=subprocess.STDOUT)
        log.close()
        os.close(command_read)
        os.close(answer_write)
        self.commands, self.answers = command_write, os.fdopen(answer_read, "rb")
        self.last_id, self.session, self.errors = 0, None, []
        pages = self.call("Target.getTargets")["targetInfos"]
        page = next(page["targetId"] for page in pages if page["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def message(self):
        text = bytearray()
        while True:
            byte = self.answers.read(1)
            if not byte:
                raise EOFError("chromium has ended")
            if byte == b"\0":
                return json.loads(text)
            text += byte

    def call(self, method, **parameters):
        self.last_id += 1
        request = {"id": self.last_id, "method": method, "params": parameters}
        if self.session:
            request["sessionId"] = self.session
        os.write(self.commands, json.dumps(request).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.last_id:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            if answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(answer["params"]["exceptionDetails"])
            elif answer.get("method") == "Log.entryAdded" and answer["params"]["entry"]["level"] == "error":
                self.errors.append(answer["params"]["entry"])

    def value(self, expression):
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def wait_for(self, expression):
        end = time.monotonic() + TIMEOUT
        while not self.value(expression):
            if time.monotonic() > end:
                raise AssertionError(f"not so within {TIMEOUT} s: {expression}\n"
                                     f"{self.value('document.body.innerText')}\n{self.errors}")
            time.sleep(0.02)

    def type(self, text):
        for character in text:
            if character == "\n":
                for kind in ("keyDown", "keyUp"):
                    self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r",
                              windowsVirtualKeyCode=13)
            else:
                self.call("Input.insertText", text=character)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.answers.close()
        os.close(self.commands)


def wait_for_port(process, path):
    end = time.monotonic() + TIMEOUT
    while not os.path.exists(path):
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"{process.args[0]} does not serve")
        time.sleep(0.01)
    with open(path) as file:
        return file.read().strip()


class PageTest(unittest.TestCase):
    def start(self, name, arguments):
        port_file = f"{self.folder}/{name}.port"
        process = subprocess.Popen(
            [f"{PROGRAMS}/{name}", *arguments, "--listen", "127.0.0.1:0", "--port-file", port_file],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return f"127.0.0.1:{wait_for_port(process, port_file)}"

    def setUp(self):
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.server = self.start("leapstream-server", ["--model", MODEL])
        self.page = self.start("leapstream", ["web", "--server", self.server])
        self.browser = Browser(self.folder)
        self.addCleanup(self.browser.close)

    def test_what_is_typed_is_translated(self):
        browser = self.browser
        browser.call("Page.navigate", url=f"http://{self.page}/")
        browser.wait_for("document.readyState === 'complete' && document.querySelector('#model option') !== null")
        self.assertEqual(browser.value("document.activeElement.id"), "input")
        target = "[...document.querySelectorAll('#target p')].map((p) => p.textContent)"
        browser.type(SENTENCES[0])
        # The last word is not complete, the translation has begun.
        browser.wait_for("document.querySelector('#target p')?.textContent.length > 0")
        self.assertEqual(browser.value("document.getElementById('input').value"), "today.")
        browser.type("\n" + SENTENCES[1])
        browser.value("document.getElementById('finish').click()")
        browser.wait_for("document.getElementById('status').textContent === 'Finished.'")

        source = browser.value("[...document.querySelectorAll('#source p')].map((p) => p.textContent)")
        self.assertEqual(source, SENTENCES)
        shown = browser.value(target)
        translated = subprocess.run(
            [f"{PROGRAMS}/leapstream", "translate", "--server", self.server], input="\n".join(SENTENCES) + "\n",
            capture_output=True, text=True, check=True).stdout.splitlines()
        self.assertEqual([line.strip() for line in shown], [line.strip() for line in translated])
        self.assertGreater(browser.value("document.querySelectorAll('#staircase circle').length"), 3)
        self.assertRegex(browser.value("document.getElementById('al').textContent"), r"^-?\d+\.\d tokens$")
        image = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        with open(SCREENSHOT, "wb") as file:
            file.write(base64.b64decode(image))

        # Who opens the link sees the same.
        link = browser.value("document.getElementById('link').href")
        browser.call("Page.navigate", url="about:blank")
        browser.call("Page.navigate", url=link)
        browser.wait_for("document.getElementById('status')?.textContent === 'Finished.'")
        self.assertEqual(browser.value(target), shown)
        self.assertEqual(browser.errors, [])


if __name__ == "__main__":
    if CHROMIUM is None:
        print("skipped: chromium is not installed")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1], verbosity=2)
