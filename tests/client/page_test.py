"""Types into the page of `leapstream web` in a headless Chromium, and reads the page as a user would.

Arguments: the folder of the programs, a model directory, the file for the screenshot, a PNG, and
the folder of the golden speech models and recordings. Skipped (77) where there is no chromium.
"""

import array
import base64
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import unittest
import wave

PROGRAMS, MODEL, SCREENSHOT, SPEECH = sys.argv[1:5]
CHROMIUM = shutil.which("chromium")
RECORDING = f"{SPEECH}/wav/train-1.wav"
SENTENCES = ["The weather is nice today.", "We are going home."]
TIMEOUT = 60  # Seconds for each wait.


class Browser:
    """One page in a Chromium that is spoken to over two pipes: the DevTools protocol, a NUL after
    each message."""

    def __init__(self, folder, microphone):
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
             # The microphone hears this recording once, and nobody has to allow it.
             "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
             f"--use-file-for-fake-audio-capture={microphone}%noloop",
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
            elif (
                answer.get("method") == "Log.entryAdded"
                and answer["params"]["entry"]["level"] == "error"
            ):
                self.errors.append(answer["params"]["entry"])

    def value(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, expression):
        end = time.monotonic() + TIMEOUT
        while not self.value(expression):
            if time.monotonic() > end:
                raise AssertionError(f"not so within {TIMEOUT} s: {expression}\n"
                                     f"{self.value('document.body.innerText')}\n{self.errors}")
            time.sleep(0.02)

    def press(self, key, code):
        """Presses a key that has no character."""
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **({"text": "\r"} if key == "Enter" and kind == "keyDown" else {}),
            )

    def tree(self):
        """{(role, name): properties} for each element that a screen reader gets."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return {(node["role"]["value"], node.get("name", {}).get("value", "")):
                {each["name"]: each["value"].get("value") for each in node.get("properties", [])}
                for node in nodes if not node["ignored"]}

    def type(self, text):
        for character in text:
            if character == "\n":
                self.press("Enter", 13)
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


def loudness(samples, rate=16000):
    """The loudness of each 10 ms, in dB of full scale."""
    step = rate // 100
    return [10 * math.log10(sum(s * s for s in samples[at:at + step]) / step / 2**30 + 1e-6)
            for at in range(0, len(samples) - step, step)]


def correlation(a, b):
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    a, b = [x - mean_a for x in a], [x - mean_b for x in b]
    return sum(x * y for x, y in zip(a, b)) / math.sqrt(
        sum(x * x for x in a) * sum(x * x for x in b) + 1e-9
    )


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
        speech = f"{self.folder}/speech"
        subprocess.run(
            [
                f"{PROGRAMS}/leapstream-export",
                "--checkpoint",
                f"{SPEECH}/checkpoints/speech_leap.pt",
                "--config-yaml",
                f"{SPEECH}/data/config_st.yaml",
                "--target-dict",
                f"{SPEECH}/data/spm_unigram400_st.txt",
                "--target-spm",
                f"{SPEECH}/data/spm_unigram400_st.model",
                "--source-lang",
                "en",
                "--target-lang",
                "de",
                "--name",
                "speech",
                "--output",
                speech,
            ],
            check=True,
            capture_output=True,
        )
        self.server = self.start("leapstream-server", ["--model", MODEL, "--model", speech,
                                                        "--max-source-tokens-per-segment", "600"])
        self.page = self.start("leapstream", ["web", "--server", self.server])
        self.browser = Browser(self.folder, RECORDING)
        self.addCleanup(self.browser.close)
        self.browser.call("Page.navigate", url=f"http://{self.page}/")
        self.browser.wait_for(
            "document.readyState === 'complete' && document.querySelector('#model option') !== null"
        )

    def test_what_is_typed_is_translated(self):
        browser = self.browser
        self.assertEqual(browser.value("document.activeElement.id"), "input")
        target = "[...document.querySelectorAll('#target p')].map((p) => p.textContent)"
        browser.type(SENTENCES[0])
        # A step is drawn once: the first dot is still the same one when more have come.
        browser.wait_for("document.querySelector('#staircase .written') !== null")
        browser.value("window.dot = document.querySelector('#staircase .written'), 0")
        # The last word is not complete, but the translation has begun.
        browser.wait_for("document.querySelector('#target p')?.textContent.length > 0")
        self.assertEqual(browser.value("document.getElementById('input').value"), "today.")
        browser.type("\n")
        browser.wait_for("document.querySelectorAll('#announced p').length === 1")
        self.assertTrue(browser.value("document.querySelector('#staircase .written') === dot"))
        browser.type(SENTENCES[1])
        browser.value("document.getElementById('finish').click()")
        browser.wait_for("document.getElementById('status').textContent === 'Finished.'")

        source = browser.value(
            "[...document.querySelectorAll('#source p')].map((p) => p.textContent)"
        )
        self.assertEqual(source, SENTENCES)
        shown = browser.value(target)
        translated = subprocess.run(
            [f"{PROGRAMS}/leapstream", "translate", "--server", self.server, "--model", "en-de"],
            input="\n".join(SENTENCES) + "\n",
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        self.assertEqual([line.strip() for line in shown], [line.strip() for line in translated])
        self.assertGreater(
            browser.value("document.querySelectorAll('#staircase .written').length"), 3
        )
        self.assertRegex(
            browser.value("document.getElementById('al').textContent"), r"^-?\d+\.\d tokens$"
        )
        image = browser.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)[
            "data"
        ]
        with open(SCREENSHOT, "wb") as file:
            file.write(base64.b64decode(image))

        # A viewer who opens the link sees the same.
        link = browser.value("document.getElementById('link').href")
        browser.call("Page.navigate", url="about:blank")
        browser.call("Page.navigate", url=link)
        browser.wait_for("document.getElementById('status')?.textContent === 'Finished.'")
        self.assertEqual(browser.value(target), shown)
        self.assertEqual(browser.errors, [])

    def test_a_break_loses_nothing(self):
        browser = self.browser
        status = "document.getElementById('status').textContent"
        browser.type(SENTENCES[0] + " ")
        browser.wait_for("document.querySelector('#target p')?.textContent.length > 0")
        browser.value("window.broken = session.socket, broken.close()")
        browser.wait_for(f"session.socket !== broken && {status}.startsWith('Going on')")
        browser.type(SENTENCES[1] + "\n")
        browser.value("window.broken = session.socket, broken.close()")
        browser.wait_for(f"session.socket !== broken && {status}.startsWith('Going on')")
        browser.value("document.getElementById('finish').click()")
        browser.wait_for(f"{status} === 'Finished.'")
        translated = subprocess.run(
            [f"{PROGRAMS}/leapstream", "translate", "--server", self.server, "--model", "en-de"],
            input=" ".join(SENTENCES) + "\n", capture_output=True, text=True, check=True).stdout
        self.assertEqual(
            browser.value("document.getElementById('target').textContent").split(), translated.split())
        # The viewers' transcript is the same, with each source and target once.
        link = browser.value("document.getElementById('link').href")
        browser.call("Page.navigate", url="about:blank")
        browser.call("Page.navigate", url=link)
        browser.wait_for(f"document.getElementById('status') && {status} === 'Finished.'")
        self.assertEqual(
            browser.value("document.getElementById('source').textContent").split(), " ".join(SENTENCES).split())
        self.assertEqual(
            browser.value("document.getElementById('target').textContent").split(), translated.split())
        self.assertEqual(browser.errors, [])

    def test_more_sessions_at_once_than_a_browser_has_connections(self):
        browser = self.browser
        browser.value(
            "window.many = [...Array(9)].map(() => { const heard = []; "
            "const each = new Stream(socketAddress('v1/stream'), wantedConfig(0), (event) => heard.push(event)); "
            f"each.text({json.dumps(SENTENCES[0])}); return {{each, heard}}; }}), 0")
        browser.wait_for("many.every(({heard}) => heard.some((event) => event.target))")
        browser.value("window.answered = 0, fetch('v1/models').then((answer) => { window.answered = answer.status; }), 0")
        browser.wait_for("window.answered === 200")
        browser.value("many.forEach(({each}) => { each.endSegment(); each.close(); })")
        browser.wait_for("many.every(({heard}) => heard.some(({ended}) => ended && ended.status === 'OK'))")

    def test_captions_follow_on_a_screen_of_any_size(self):
        browser = self.browser
        resize = lambda width, height: browser.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        at_end = ("['source', 'target'].every((id) => { const lane = document.getElementById(id); "
                  "return lane.scrollHeight > lane.clientHeight && "
                  "lane.scrollHeight - lane.scrollTop - lane.clientHeight < 2; })")
        browser.type("\n".join(SENTENCES) + "\n\n")
        browser.wait_for("document.querySelectorAll('#announced p').length === 2")
        browser.value("document.getElementById('finish').click()")
        browser.wait_for("document.getElementById('status').textContent === 'Finished.'")
        self.assertTrue(browser.value("document.getElementById('input').disabled"))
        # Neither an empty line nor the end is a sentence.
        self.assertEqual(browser.value("document.querySelectorAll('#announced p').length"), 2)
        self.assertNotEqual(browser.value("document.getElementById('read').textContent"), "0")

        link = browser.value("document.getElementById('link').href")
        resize(500, 300)
        browser.call("Page.navigate", url="about:blank")
        browser.call("Page.navigate", url=link)
        browser.wait_for("document.getElementById('status')?.textContent === 'Finished.'")
        browser.wait_for(at_end)
        for width in (350, 900, 320):
            resize(width, 200)
            browser.wait_for(at_end)
            browser.wait_for("document.getElementById('staircase').viewBox.baseVal.width === "
                             "document.getElementById('staircase').clientWidth")
            self.assertLessEqual(browser.value("document.documentElement.scrollWidth"), width)
        # Somebody reads what was before.
        browser.value("document.getElementById('target').scrollTop = 0")
        browser.value(
            "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        time.sleep(0.2)
        resize(340, 200)
        time.sleep(0.2)
        self.assertEqual(browser.value("document.getElementById('target').scrollTop"), 0)
        self.assertEqual(browser.errors, [])

    def test_text_without_punctuation_is_translated_to_its_end(self):
        browser = self.browser
        with open(f"{SPEECH}/../simuleval/test20.en") as file:
            plain = re.sub(r"[^a-z\s]", "", file.read().lower()).split()[:200]
        words = " ".join(plain)
        browser.type(plain[0] + " ")
        browser.wait_for("document.getElementById('finish').disabled === false")
        rest = json.dumps(" ".join(plain[1:]))
        browser.value(f"document.getElementById('input').value = {rest}; "
                      "document.getElementById('finish').click()")
        browser.wait_for("document.getElementById('status').textContent === 'Finished.'")
        shown = browser.value(
            "[...document.querySelectorAll('#target p')].map((p) => p.textContent)")
        translated = subprocess.run(
            [f"{PROGRAMS}/leapstream", "translate", "--server", self.server, "--model", "en-de"],
            input=words + "\n", capture_output=True, text=True, check=True).stdout
        self.assertEqual(len(shown), 1)  # Of one sentence.
        self.assertEqual(shown[0].split(), translated.split())
        self.assertGreater(len(shown[0].split()), len(plain) // 4)

    def test_what_is_said_is_translated(self):
        browser = self.browser
        self.assertFalse(browser.value("document.getElementById('speak').hidden"))
        browser.value(
            "window.sent = []; const real = WebSocket.prototype.send; "
            "WebSocket.prototype.send = function(data) {"
            "if (data instanceof Int16Array) window.sent.push(...data);"
            "else if (JSON.parse(data).config) window.began = JSON.parse(data).config;"
            "return real.call(this, data); }"
        )
        browser.value("document.getElementById('speak').focus()")
        browser.press("Enter", 13)  # The user presses a key: without one, browsers leave audio alone.
        # The recording lasts 2.7 s; the silence after it ends the sentence.
        browser.wait_for("document.querySelector('#announced p') !== null")
        self.assertEqual(
            browser.value("document.getElementById('speak').textContent"), "Stop speaking"
        )
        self.assertTrue(browser.value("document.getElementById('input').disabled"))
        browser.press("Enter", 13)
        browser.wait_for("document.getElementById('status').textContent === 'Finished.'")
        self.assertRegex(
            browser.value("document.querySelector('#source p').textContent"),
            r"^[3-9]\.\d s of speech$",
        )
        self.assertRegex(browser.value("document.getElementById('al').textContent"), r"^\d+ ms$")
        self.assertNotEqual(browser.value("document.querySelector('#target p').textContent"), "")
        # The sent samples are the recording, but for the browser's resampling.
        with wave.open(RECORDING) as file:
            said = loudness(array.array("h", file.readframes(file.getnframes())))
        # This microphone plays as soon as it is opened, and stumbles on a busy machine: so each
        # part is looked for.
        sent, rate = browser.value("window.sent"), browser.value("window.began.sampleRateHertz")
        # The rate is the device's, which no browser has to change.
        self.assertEqual(rate, browser.value("new AudioContext().sampleRate"))
        heard = [
            loudness(([0] * (rate // 5) + sent)[shift * rate // 16000 :], rate)
            for shift in (0, 40, 80, 120)
        ]
        size = 30  # Of a part: 0.3 s.
        found = [max(correlation(said[part:part + size], each[at:at + size])
                     for each in heard for at in range(part, min(part + 40, len(each) - size)))
                 for part in range(0, len(said) - size, size)]
        self.assertGreater(statistics.median(found), 0.95, found)
        self.assertEqual(browser.errors, [])

    def test_a_failure_leaves_nothing_open(self):
        browser = self.browser
        browser.value("""
            window.tracks = []; window.contexts = [];
            const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
            navigator.mediaDevices.getUserMedia = async (wanted) => {
                const stream = await ask(wanted);
                window.tracks.push(...stream.getTracks());
                return stream;
            };
            const Real = AudioContext;
            window.AudioContext = class extends Real {
              constructor(...a) { super(...a); window.contexts.push(this); }
            };
            window.realSend = WebSocket.prototype.send;
        """)
        released = ("window.tracks.every((track) => track.readyState === 'ended') && "
                    "window.contexts.every((context) => context.state === 'closed')")
        status = "document.getElementById('status').textContent"
        browser.value("document.getElementById('speak').focus()")
        # A key of the user's: without one browsers leave audio alone.
        press = lambda: browser.press("Enter", 13)
        # As Firefox says where the rates of context and microphone differ; and whatever else is
        # missing.
        for breaks, mends in [
            (
                "AudioContext.prototype.createMediaStreamSource = () => { throw new Error('other "
                "rates'); }",
                "delete AudioContext.prototype.createMediaStreamSource",
            ),
            (
                "window.node = AudioWorkletNode; window.AudioWorkletNode = class { constructor() "
                "{ throw new Error('no node'); } }",
                "window.AudioWorkletNode = window.node",
            ),
            (
                "AudioWorklet.prototype.addModule = () => Promise.reject(new Error('no module'))",
                "delete AudioWorklet.prototype.addModule",
            ),
        ]:
            browser.value(breaks)
            before = browser.value("window.tracks.length")
            press()
            browser.wait_for(
                f"window.tracks.length > {before} && {status}.startsWith('The microphone cannot be "
                "used')"
            )
            browser.wait_for(released)
            browser.value(mends)
        # A session that cannot begin.
        browser.value(
            "WebSocket.prototype.send = function(data) { "
            "window.realSend.call(this, typeof data === 'string' ? data.replace('config', 'konfig') : data); }"
        )
        press()
        browser.wait_for(f"{status}.startsWith('Not sent: want a StreamTranslateRequest as JSON')")
        browser.wait_for(released)
        self.assertEqual(browser.value("document.getElementById('speak').textContent"), "Speak")
        browser.value("WebSocket.prototype.send = window.realSend")
        # Now it works.
        press()
        browser.wait_for("document.querySelector('#source p') !== null")
        self.assertFalse(browser.value(released))
        # Unplugging the device ends the recording.
        browser.value("window.tracks[window.tracks.length - 1].dispatchEvent(new Event('ended'))")
        browser.wait_for(f"{status} === 'Finished.'")
        browser.wait_for(released)

    def test_a_policy_is_chosen(self):
        browser = self.browser
        browser.wait_for("document.querySelectorAll('#policy option').length > 3")
        self.assertEqual(browser.value("document.getElementById('policy').value"), "wait_k")
        browser.value(
            "(() => { const policy = document.getElementById('policy'); policy.value = 'hold_n'; "
            "policy.dispatchEvent(new Event('change')); })()"
        )
        self.assertEqual(browser.value("document.getElementById('k').value"), "3")
        browser.value("document.getElementById('k').value = 4")
        browser.value("document.getElementById('input').focus()")
        browser.type(SENTENCES[0] + "\n")
        browser.wait_for("document.getElementById('status').textContent.includes('hold-n 4')")
        browser.wait_for("document.querySelectorAll('#announced p').length === 1")
        self.assertTrue(browser.value("document.getElementById('policy').disabled"))

    def test_it_is_usable_without_mouse_and_screen(self):
        browser = self.browser
        browser.call("Accessibility.enable")
        tree = browser.tree()
        for role, name in [
            ("region", "Source"),
            ("region", "Translation"),
            ("log", "Completed sentences"),
            ("combobox", "Model"),
            ("combobox", "Policy"),
            ("spinbutton", "k ="),
            ("spinbutton", "Words per second"),
            ("button", "Play a sample talk"),
            ("button", "Speak"),
            ("button", "Finish"),
            ("heading", "Lagging"),
            ("image", "No token is written yet."),
        ]:
            self.assertTrue(
                any(role == r and name in n for r, n in tree), (role, name, tree.keys())
            )
        for (role, name), properties in tree.items():
            if properties.get("focusable") and role != "RootWebArea":
                self.assertNotEqual(name, "", f"a {role} without a name")
        # Only what is said at the end of a sentence, and the state, speaks up by itself.
        live = {
            name or role
            for (role, name), properties in tree.items()
            if properties.get("live") == "polite"
        }
        self.assertEqual(live, {"Completed sentences", "status"})
        # Everything can be reached in the order of the page.
        order = ["source", "target", "input", "model", "policy", "k", "pace", "talk", "speak"]
        browser.value("document.getElementById('source').focus()")
        reached = ["source"]
        while len(reached) < len(order):
            browser.press("Tab", 9)
            reached.append(browser.value("document.activeElement.id"))
        self.assertEqual(reached, order)

        # A sentence is announced once, when it is complete, with its READs, WRITEs and lagging.
        browser.value(
            "window.said = 0; new MutationObserver((all) => { window.said += all.length; "
            "}).observe("
            "document.getElementById('announced'), {childList: true, subtree: true, characterData: "
            "true})"
        )
        browser.value("document.getElementById('input').focus()")
        browser.type("\n".join(SENTENCES) + "\n")
        browser.wait_for("document.querySelectorAll('#announced p').length === 2")
        tokens = browser.value("document.querySelectorAll('#staircase .written').length")
        self.assertGreater(tokens, 3)
        self.assertEqual(browser.value("window.said"), 2)
        said = browser.value(
            "[...document.querySelectorAll('#announced p')].map((p) => p.textContent)"
        )
        for sentence in said:
            self.assertRegex(sentence, r"\w.* Read \d+, written \d+, lagging -?\d+\.\d tokens\.$")
        self.assertIn(("image", f"{tokens} target tokens written, "), {(r, n[:n.find(", ") + 2])
                                                                       for r, n in browser.tree()})


if __name__ == "__main__":
    if CHROMIUM is None:
        print("skipped: chromium is not installed")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[5:], verbosity=2)
