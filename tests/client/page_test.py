"""Uses the page of `leapstream web` in a headless Chromium, and reads it as a user would.

Arguments: the folder of the programs, a model directory, the folder for the screenshots, and the folder of the golden
files. Skipped (77) where there is no chromium. With AXE_CORE, the file axe.min.js of axe-core, every view is also
checked by it; `./dev page` does so.
"""

import array
import base64
import contextlib
import json
import math
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import wave
import zlib

PROGRAMS, MODEL, SCREENSHOTS, GOLDEN = sys.argv[1:5]
CHROMIUM = shutil.which("chromium")
AXE = os.environ.get("AXE_CORE")
SPEECH = f"{GOLDEN}/speech"
RECORDING = f"{SPEECH}/wav/train-1.wav"
SENTENCES = ["The weather is nice today.", "We are going home."]
ENGLISH = ["You can only modify Presentation Styles.", "The file could not be opened."]
SAMPLES = {
    "Click the button to open the file.": "Klicken Sie auf den Knopf, um die Datei zu öffnen.",
    "Select the cells that you want to copy.": "Wählen Sie die Zellen aus, die Sie kopieren möchten.",
    "This package contains a small program that shows the time.":
        "Dieses Paket enthält ein kleines Programm, das die Zeit anzeigt.",
    "I do not know who he is.": "Ich weiß nicht, wer er ist.",
}
TIMEOUT = 60  # Seconds for each wait.
READY = "document.readyState === 'complete' && document.querySelector('#model option') !== null"
STATUS = "document.getElementById('status').textContent"
SOURCES = "[...document.querySelectorAll('#rows td.source')].map((cell) => cell.textContent)"
TARGETS = "[...document.querySelectorAll('#rows td.target')].map((cell) => cell.textContent)"
ROWS_DONE = "transcript.rows.length > 0 && transcript.rows.every((row) => row.done) && dirty.size === 0"


class Chromium:
    """A browser that is spoken to over two pipes: the DevTools protocol, a NUL after each message."""

    def __init__(self, folder):
        command_read, command_write = os.pipe()
        answer_read, answer_write = os.pipe()

        def place_pipes():  # Chromium reads from 3 and writes to 4.
            read, write = os.dup(command_read), os.dup(answer_write)
            os.dup2(read, 3)
            os.dup2(write, 4)

        with open(f"{folder}/chromium.log", "w") as log:
            self.process = subprocess.Popen(
                [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 "--disable-background-networking", "--no-proxy-server", "--remote-debugging-pipe",
                 # The microphone hears this recording once, and nobody has to allow it.
                 "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
                 f"--use-file-for-fake-audio-capture={RECORDING}%noloop",
                 f"--user-data-dir={folder}/profile", "--window-size=1280,800", "about:blank"],
                preexec_fn=place_pipes, close_fds=False, stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT)
        os.close(command_read)
        os.close(answer_write)
        self.commands, self.answers = command_write, os.fdopen(answer_read, "rb")
        self.last_id, self.replies, self.errors, self.loads = 0, {}, {}, {}
        self.questions = []  # The kinds of dialogs, of which all are answered with yes.

    def message(self):
        text = bytearray()
        while True:
            byte = self.answers.read(1)
            if not byte:
                raise EOFError("chromium has ended")
            if byte == b"\0":
                return json.loads(text)
            text += byte

    def call(self, method, session=None, **parameters):
        self.last_id += 1
        number = self.last_id
        request = {"id": number, "method": method, "params": parameters}
        if session:
            request["sessionId"] = session
        os.write(self.commands, json.dumps(request).encode() + b"\0")
        while number not in self.replies:
            message = self.message()
            if "id" in message:
                self.replies[message["id"]] = message
            else:
                self.note(message)
        answer = self.replies.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def note(self, event):
        session, method = event.get("sessionId"), event.get("method")
        if method == "Page.loadEventFired":
            self.loads[session] = self.loads.get(session, 0) + 1
        elif method == "Page.javascriptDialogOpening":
            self.questions.append(event["params"]["type"])
            self.call("Page.handleJavaScriptDialog", session, accept=True)
        elif method == "Runtime.exceptionThrown":
            self.errors.setdefault(session, []).append(event["params"]["exceptionDetails"])
        elif method == "Log.entryAdded" and event["params"]["entry"]["level"] == "error":
            self.errors.setdefault(session, []).append(event["params"]["entry"])

    def load(self, session, method, **parameters):
        """A call that loads a document. Nothing may be asked of a window that is about to have another one."""
        before = self.loads.get(session, 0)
        self.call(method, session, **parameters)
        while self.loads.get(session, 0) == before:
            self.note(self.message())

    def close(self):
        self.process.kill()
        self.process.wait()
        self.answers.close()
        os.close(self.commands)


class Page:
    """A window of a browser. Windows of one `context` share what pages keep, and others share nothing."""

    def __init__(self, chromium, context):
        self.chromium, self.context = chromium, context
        self.target = chromium.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self.session = chromium.call("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.resize(1280, 800)

    @property
    def errors(self):
        return self.chromium.errors.get(self.session, [])

    def call(self, method, **parameters):
        return self.chromium.call(method, self.session, **parameters)

    def value(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
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
        # Rows are drawn with the next frame, and a page that nobody sees has none.
        self.value("Promise.race([new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))),"
                   "new Promise((done) => setTimeout(done, 100))])")

    def open(self, url, until=READY):
        self.chromium.load(self.session, "Page.navigate", url="about:blank")  # Or another #fragment loads nothing.
        self.chromium.load(self.session, "Page.navigate", url=url)
        self.wait_for(until)

    def reload(self):
        self.chromium.load(self.session, "Page.reload")
        self.wait_for(READY)

    def resize(self, width, height, mobile=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def colours(self, scheme):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def click(self, name):
        self.value(f"document.getElementById('{name}').click()")

    def set(self, name, value):
        """Chooses a value as a user does, whom the page then hears."""
        self.value(f"(() => {{ const field = document.getElementById('{name}'); field.value = {json.dumps(value)}; "
                   "field.dispatchEvent(new Event('change')); })()")

    def press(self, key, code):
        """Presses a key that has no character."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                      **({"text": "\r"} if key == "Enter" and kind == "keyDown" else {}))

    def type(self, text):
        self.value("document.getElementById('input').focus()")
        for character in text:
            if character == "\n":
                self.press("Enter", 13)
            else:
                self.call("Input.insertText", text=character)

    def compose(self, *steps):
        """Writes with an input method: its guesses, and then the last of the steps."""
        for text in steps[:-1]:
            self.call("Input.imeSetComposition", text=text, selectionStart=len(text), selectionEnd=len(text))
        self.call("Input.insertText", text=steps[-1])

    def tree(self):
        """{(role, name): properties} for each element that a screen reader gets."""
        nodes = self.call("Accessibility.getFullAXTree")["nodes"]
        return {(node["role"]["value"], node.get("name", {}).get("value", "")):
                {each["name"]: each["value"].get("value") for each in node.get("properties", [])}
                for node in nodes if not node["ignored"]}

    def picture(self):
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def save_picture(self, name):
        with open(f"{SCREENSHOTS}/{name}.png", "wb") as file:
            file.write(self.picture())

    def close(self):
        self.chromium.call("Target.closeTarget", targetId=self.target)


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
        sum(x * x for x in a) * sum(x * x for x in b) + 1e-9)


def first_pixel(png):
    """The red, green, blue and alpha of the pixel at the top left."""
    at, data, kind = 8, b"", 0
    while at < len(png):
        length, name = struct.unpack(">I4s", png[at:at + 8])
        if name == b"IHDR":
            kind = png[at + 17]
        if name == b"IDAT":
            data += png[at + 8:at + 8 + length]
        at += 12 + length
    row = zlib.decompress(data)  # Whatever its filter, the first pixel of the first row is as it is.
    return tuple(row[1:5]) if kind == 6 else (*row[1:4], 255)


# The faults that a page has by rules of WCAG 2.2 which can be computed: contrast of text (1.4.3) and of the edges of
# controls (1.4.11), the size of targets (2.5.8), ids, headings and landmarks, and text that is cut off at the side (1.4.10).
FAULTS = r"""
(() => {
  const faults = [];
  const rgba = (text) => {
    const parts = text.match(/[\d.]+/g).map(Number);
    return parts.length === 3 ? [...parts, 1] : parts;
  };
  const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const background = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) {
      const colour = rgba(getComputedStyle(each).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    const dark = matchMedia('(prefers-color-scheme: dark)').matches;
    return layers.reverse().reduce((below, top) => over(top, below), dark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
  };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((c) => c / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const contrast = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05);
  };
  const name = (element) => `${element.tagName}#${element.id}.${element.className} "${element.textContent.trim().slice(0, 30)}"`;
  const dialog = document.querySelector('dialog[open]');
  const seen = [...(dialog || document.body).querySelectorAll('*')].filter((element) =>
    element.checkVisibility({opacityProperty: true, visibilityProperty: true}) && !element.closest('.unseen, svg, noscript'));
  let texts = 0;
  for (const element of seen) {
    const style = getComputedStyle(element);
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
      || (element.matches('input, select, textarea') && element.value);
    if (hasText && !element.disabled && !element.closest(':disabled')) {
      ++texts;
      const size = parseFloat(style.fontSize), least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
      const found = contrast(over(rgba(style.color), background(element)), background(element));
      if (found < least) faults.push(`contrast ${found.toFixed(2)} of ${name(element)}`);
    }
    if (element.matches('button, input, select, textarea') && !element.disabled) {
      const outside = background(element.parentElement);
      const found = Math.max(contrast(rgba(style.borderTopColor), outside), contrast(background(element), outside));
      if (found < 3) faults.push(`contrast ${found.toFixed(2)} of the edge of ${name(element)}`);
    }
    if (element.matches('button, input, select, textarea, summary')) {
      const {width, height} = element.getBoundingClientRect();
      if (width < 24 || height < 24) faults.push(`${width}x${height} pixels of ${name(element)}`);
    }
  }
  if (texts < 3) faults.push(`${texts} texts were looked at`);
  const ids = [...document.querySelectorAll('[id]')].map(({id}) => id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`the id ${id} is there twice`);
  for (const kind of ['aria-labelledby', 'aria-describedby', 'for']) {
    for (const element of document.querySelectorAll(`[${kind}]`)) {
      if (!document.getElementById(element.getAttribute(kind))) faults.push(`${kind} of ${name(element)} leads nowhere`);
    }
  }
  if (!document.documentElement.lang || !document.title) faults.push('the page has no language or title');
  if (document.documentElement.scrollWidth > innerWidth) faults.push(`${document.documentElement.scrollWidth} pixels wide`);
  return faults;
})()
"""


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.makedirs(SCREENSHOTS, exist_ok=True)
        folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        cls.addClassCleanup(folder.cleanup)
        cls.folder, cls.started = folder.name, 0
        cls.speech = f"{cls.folder}/speech"
        subprocess.run(
            [f"{PROGRAMS}/leapstream-export", "--checkpoint", f"{SPEECH}/checkpoints/speech_leap.pt",
             "--config-yaml", f"{SPEECH}/data/config_st.yaml",
             "--target-dict", f"{SPEECH}/data/spm_unigram400_st.txt",
             "--target-spm", f"{SPEECH}/data/spm_unigram400_st.model",
             "--source-lang", "en", "--target-lang", "de", "--name", "speech", "--output", cls.speech],
            check=True, capture_output=True)
        _, cls.server = cls.start("leapstream-server", ["--model", MODEL, "--model", cls.speech,
                                                        "--max-source-tokens-per-segment", "600"])
        _, cls.web = cls.start("leapstream", ["web", "--server", cls.server])
        cls.german = cls.translated("\n".join(ENGLISH)).splitlines()  # As the command-line client has it.
        cls.chromium = Chromium(cls.folder)
        cls.addClassCleanup(cls.chromium.close)

    @classmethod
    def start(cls, name, arguments, listen="127.0.0.1:0"):
        cls.started += 1
        port_file = f"{cls.folder}/{cls.started}.port"
        process = subprocess.Popen(
            [f"{PROGRAMS}/{name}", *arguments, "--listen", listen, "--port-file", port_file],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        cls.addClassCleanup(process.wait)
        cls.addClassCleanup(process.kill)
        return process, f"127.0.0.1:{wait_for_port(process, port_file)}"

    def setUp(self):
        context = self.chromium.call("Target.createBrowserContext")["browserContextId"]
        self.addCleanup(self.chromium.call, "Target.disposeBrowserContext", browserContextId=context)
        self.page = Page(self.chromium, context)
        self.page.open(f"http://{self.web}/")

    def another_page(self):
        page = Page(self.chromium, self.page.context)
        self.addCleanup(page.close)
        return page

    @classmethod
    def translated(cls, text, *arguments):
        return subprocess.run(
            [f"{PROGRAMS}/leapstream", "translate", "--server", cls.server, "--model", "en-de", *arguments],
            input=text, capture_output=True, text=True, check=True).stdout

    def finish(self):
        self.page.click("finish")
        self.page.wait_for(f"{STATUS} === 'Finished.'")

    def test_what_is_typed_is_translated(self):
        page = self.page
        self.assertEqual(page.value("document.activeElement.id"), "input")
        self.assertFalse(page.value("document.getElementById('lagging').open"))
        page.value("document.getElementById('lagging').open = true")
        page.type(SENTENCES[0])
        # A step is drawn once: the first dot is still the same one when more have come.
        page.wait_for("document.querySelector('#staircase .written') !== null")
        page.value("window.dot = document.querySelector('#staircase .written'), 0")
        # The last word is not complete, but the translation has begun.
        page.wait_for(f"{TARGETS}[0]?.length > 0")
        self.assertEqual(page.value("document.getElementById('input').value"), "today.")
        page.type("\n")
        page.wait_for("document.querySelectorAll('#announced p').length === 1")
        self.assertTrue(page.value("document.querySelector('#staircase .written') === dot"))
        page.type(SENTENCES[1])
        self.finish()
        self.assertEqual(page.value(SOURCES), SENTENCES)
        shown = page.value(TARGETS)
        self.assertEqual(shown, self.translated("\n".join(SENTENCES) + "\n").splitlines())
        self.assertGreater(page.value("document.querySelectorAll('#staircase .written').length"), 3)
        self.assertRegex(page.value("document.getElementById('al').textContent"), r"^-?\d+\.\d tokens$")
        # More may be written: it begins another session of the same transcript.
        page.type("The file could not be opened.\n")
        page.wait_for(f"{ROWS_DONE} && transcript.rows.length === 3")
        self.assertEqual(page.value(TARGETS)[:2], shown)
        self.finish()

        # A viewer who opens the link sees the same, row by row.
        rows = page.value(f"[{SOURCES}, {TARGETS}]")
        page.open(page.value("document.getElementById('link').href"), f"window.transcript !== null && {STATUS} === 'Finished.'")
        page.wait_for(f"JSON.stringify([{SOURCES}, {TARGETS}]) === {json.dumps(json.dumps(rows, ensure_ascii=False, separators=(',', ':')), ensure_ascii=False)}")
        self.assertEqual(page.errors, [])

    def test_each_sentence_has_a_row_of_its_own(self):
        page = self.page
        writes = [*ENGLISH, "It is Dr. Smith."]
        page.value(f"document.execCommand('insertText', false, {json.dumps(' '.join(writes))})")  # As a paste.
        page.type("\n")
        page.wait_for(f"{ROWS_DONE} && transcript.rows.length === 3")
        self.assertEqual(page.value(SOURCES), writes)
        self.assertEqual(page.value(TARGETS)[:2], self.german)
        # Each cell has its own language, and its own direction.
        self.assertEqual(page.value("[...document.querySelectorAll('#rows td')].slice(0, 2).map((cell) => cell.lang)"),
                         ["en", "de"])
        page.type("שלום עולם\n")
        page.wait_for(f"{SOURCES}.length === 4")
        directions = page.value("[...document.querySelectorAll('#rows td.source')].map((cell) => "
                                "getComputedStyle(cell).direction)")
        self.assertEqual(directions, ["ltr", "ltr", "ltr", "rtl"])
        self.assertEqual(page.value("['de', 'deu_Latn', 'en_XX', 'zh_Hant', 'srp_Cyrl', 'not a code'].map(languageName)"),
                         ["German", "German", "English", "Traditional Chinese", "Serbian", "not a code"])
        self.assertEqual(page.value("document.getElementById('pair').textContent"), "English → German")

    def test_samples_are_right(self):
        page = self.page
        self.assertTrue(page.value("document.getElementById('domain').checkVisibility()"))
        page.value("document.getElementById('pace').value = 20")
        for sentence, translation in SAMPLES.items():
            page.value(f"[...document.querySelectorAll('#samples button')].find((button) => "
                       f"button.textContent === {json.dumps(sentence)}).click()")
            page.wait_for(f"{ROWS_DONE} && {SOURCES}.at(-1) === {json.dumps(sentence)}")
            self.assertEqual(page.value(f"{TARGETS}.at(-1)"), translation)
        self.assertEqual(page.value("document.querySelectorAll('#samples button').length"), len(SAMPLES))
        page.save_picture("desktop")
        page.colours("dark")
        page.save_picture("desktop-dark")
        page.resize(390, 844, mobile=True)
        page.save_picture("phone-dark")
        page.colours("light")
        page.save_picture("phone")
        page.resize(390, 420, mobile=True)  # The keyboard has come up: the newest line is still in view.
        page.wait_for("(() => { const cell = [...document.querySelectorAll('#rows td.target')].at(-1)"
                      ".getBoundingClientRect(); const input = document.getElementById('input').getBoundingClientRect();"
                      "return cell.bottom <= input.top && cell.top > 0 && input.bottom <= innerHeight; })()")
        page.save_picture("phone-keyboard")

    def test_a_break_loses_nothing(self):
        page = self.page
        page.type(SENTENCES[0] + " ")
        page.wait_for(f"{TARGETS}[0]?.length > 0")
        page.value("window.broken = session.stream.socket, broken.close()")
        page.wait_for(f"session.stream.socket !== broken && {STATUS}.startsWith('Going on')")
        page.type(SENTENCES[1] + "\n")
        page.value("window.broken = session.stream.socket, broken.close()")
        page.wait_for(f"session.stream.socket !== broken && {STATUS}.startsWith('Going on')")
        self.finish()
        expected = self.translated(" ".join(SENTENCES) + "\n")
        self.assertEqual(" ".join(page.value(TARGETS)).split(), expected.split())
        # The viewers' transcript is the same, with each source and target once.
        page.open(page.value("document.getElementById('link').href"),
                  f"document.getElementById('status') && {STATUS} === 'Finished.' && dirty.size === 0")
        self.assertEqual(page.value(SOURCES), SENTENCES)
        self.assertEqual(" ".join(page.value(TARGETS)).split(), expected.split())
        self.assertEqual(page.errors, [])

    def test_a_reload_loses_nothing(self):
        page = self.page
        page.set("k", "2")
        page.type(SENTENCES[0] + "\n")
        page.wait_for(ROWS_DONE)
        page.type("You can only modify ")
        page.wait_for(f"{TARGETS}.length === 2 && {TARGETS}[1].length > 0")
        link = page.value("document.getElementById('link').href")
        viewer = self.another_page()
        viewer.open(link, f"{TARGETS}.length === 2")
        first = page.value("session.stream.id")
        page.type("Presen")
        page.reload()
        page.wait_for(f"{STATUS}.startsWith('Going on; nothing was lost')")
        self.assertEqual(page.value("[session.stream.id, document.getElementById('input').value, "
                                    "document.getElementById('k').value]"), [first, "Presen", "2"])
        # A crash of the tab, in which nothing is said before it happens.
        page.type("tation ")
        page.wait_for("JSON.parse(kept.get('state').session).stream.source.segments.at(-1).chunks.at(-1).data"
                      ".includes('Presentation ')")
        with contextlib.suppress(RuntimeError):
            page.value("window.addEventListener('pagehide', (event) => event.stopImmediatePropagation(), true)")
        page.reload()
        page.wait_for(f"{STATUS}.startsWith('Going on; nothing was lost')")
        page.type("Styles.\n")
        page.wait_for(ROWS_DONE)
        self.assertEqual(page.value(SOURCES), [SENTENCES[0], "You can only modify Presentation Styles."])
        self.finish()
        self.assertEqual(page.value(TARGETS), self.translated(
            f"{SENTENCES[0]}\nYou can only modify Presentation Styles.\n", "--k", "2").splitlines())
        viewer.wait_for(f"{STATUS} === 'Finished.'")
        self.assertEqual(viewer.value(f"[{SOURCES}, {TARGETS}]"), page.value(f"[{SOURCES}, {TARGETS}]"))
        # So does what is finished, until somebody clears it.
        rows = page.value(TARGETS)
        page.reload()
        page.wait_for(f"{TARGETS}.length === 2")
        self.assertEqual(page.value(TARGETS), rows)
        page.click("clear")
        self.assertEqual(self.chromium.questions.pop(), "confirm")
        page.wait_for(f"{TARGETS}.length === 0")
        page.reload()
        self.assertEqual(page.value("transcript.rows.length"), 0)
        self.assertEqual(page.errors, [])

    def test_servers_that_die_lose_nothing(self):
        page = self.page
        server, address = self.start("leapstream-server", ["--model", MODEL])
        web, listen = self.start("leapstream", ["web", "--server", address])
        page.open(f"http://{listen}/")
        page.type("You can only modify ")
        page.wait_for(f"{TARGETS}[0]?.length > 0")
        viewer = self.another_page()
        viewer.open(page.value("document.getElementById('link').href"), f"{TARGETS}.length === 1")
        web.kill()
        web.wait()
        page.wait_for(f"{STATUS}.startsWith('The connection to the server is lost')")
        page.type("Presentation ")  # It is shown, and sent when there is somebody to send it to.
        page.wait_for(f"{SOURCES}[0] === 'You can only modify Presentation'")
        self.start("leapstream", ["web", "--server", address], listen)
        page.wait_for(f"{STATUS}.startsWith('Going on')")
        page.type("Styles.\n")
        page.wait_for(ROWS_DONE)
        self.assertEqual(page.value(TARGETS), self.german[:1])
        viewer.wait_for(f"{TARGETS}[0] === {json.dumps(self.german[0])}")
        # This server has no resume_key_file, so that the next one does not know its sessions.
        page.type("The file could ")
        page.wait_for("session.stream.ids.length > 0")
        server.kill()
        server.wait()
        self.start("leapstream-server", ["--model", MODEL], address)
        page.type("not be opened.\n")
        page.wait_for(f"{ROWS_DONE} && transcript.rows.length === 2")
        self.assertEqual(page.value(f"[{SOURCES}, {TARGETS}]"), [ENGLISH, self.german])
        viewer.wait_for(f"{TARGETS}.length === 2 && {TARGETS}[1] === {json.dumps(self.german[1])}")
        self.assertEqual(viewer.value(SOURCES)[1], "The file could not be opened.")

    def test_a_page_waits_for_its_server(self):
        page = self.page
        server, address = self.start("leapstream-server", ["--model", MODEL])
        _, listen = self.start("leapstream", ["web", "--server", address])
        server.kill()
        server.wait()
        page.open(f"http://{listen}/", f"document.getElementById('status') && {STATUS}.startsWith('No server yet')")
        self.start("leapstream-server", ["--model", MODEL], address)
        page.wait_for(f"{READY} && {STATUS} === 'Ready.'")

    def test_a_session_is_kept_alive(self):
        page = self.page
        _, address = self.start("leapstream-server", ["--model", MODEL, "--idle-timeout", "1s"])
        _, listen = self.start("leapstream", ["web", "--server", address])
        page.open(f"http://{listen}/")
        page.value("window.kept_alive = 0; const real = WebSocket.prototype.send; WebSocket.prototype.send = "
                   "function(data) { if (data === '{\"keepAlive\":{}}') ++window.kept_alive; return real.call(this, data); }")
        page.type("You can only modify ")
        page.wait_for("window.kept_alive >= 6")  # Two seconds without a word.
        socket = page.value("window.socket = session.stream.socket, session.stream.id")
        page.type("Presentation Styles.\n")
        page.wait_for(ROWS_DONE)
        self.assertEqual(page.value("[session.stream.id, session.stream.socket === window.socket, session.over]"),
                         [socket, True, False])
        # Nobody keeps a session for ever. The next word then goes on with it, or with another one.
        page.value("clearInterval(session.stream.alive)")
        page.wait_for("session.stream.idle")
        page.type("The file could not be opened.\n")
        page.wait_for(f"{ROWS_DONE} && transcript.rows.length === 2")
        self.assertEqual(page.value(f"{TARGETS}[1]"), self.german[1])

    def test_what_cannot_be_sent_comes_back(self):
        page = self.page
        page.value("window.real = WebSocket.prototype.send; WebSocket.prototype.send = function(data) { "
                   "real.call(this, typeof data === 'string' ? data.replace('config', 'konfig') : data); }")
        page.type("The weather ")
        page.wait_for(f"{STATUS}.startsWith('Not sent: want a StreamTranslateRequest as JSON')")
        page.wait_for("transcript.rows.length === 0 && document.querySelectorAll('#rows td').length === 0 && "
                      "document.getElementById('input').value.length > 10")
        self.assertEqual(page.value("document.getElementById('input').value"), "The weather ")
        page.value("WebSocket.prototype.send = real")
        page.type("is nice.\n")
        page.wait_for(ROWS_DONE)
        self.assertEqual(page.value(SOURCES), ["The weather is nice."])

    def test_input_methods(self):
        page = self.page
        page.value("document.getElementById('input').focus()")
        for guess in ("n", "ni", "ni h", "ni hao"):
            page.call("Input.imeSetComposition", text=guess, selectionStart=len(guess), selectionEnd=len(guess))
        self.assertEqual(page.value(f"[transcript.rows.length, document.getElementById('input').value]"), [0, "ni hao"])
        page.call("Input.insertText", text="你好")  # The user has chosen.
        page.wait_for(f"{SOURCES}.length > 0")
        self.assertEqual(page.value(f"[{SOURCES}, document.getElementById('input').value]"), [["你好"], ""])
        page.compose("k", "こ", "こn", "こん", "こんにちは", "今日は。")
        page.wait_for(f"{SOURCES}[0] === '你好今日は。'")
        # Korean has spaces: a syllable is no word.
        page.compose("ㅎ", "하", "한")
        self.assertEqual(page.value("document.getElementById('input').value"), "한")
        page.compose("ㄱ", "그", "글")
        page.type(" ")
        page.wait_for(f"{SOURCES}.join('').trim().endsWith('한글')")  # The sentence before may have a row of its own.
        # Thai is typed without an input method. Its last word may still change.
        page.type("สวัสดีชาวโลก")
        self.assertEqual(page.value("[transcript.rows.map((row) => row.source).join(''), "
                                    "document.getElementById('input').value]"), ["你好今日は。한글 สวัสดีชาว", "โลก"])
        self.assertEqual(page.errors, [])

    def test_options_change_between_sentences(self):
        page = self.page
        self.assertEqual(page.value("document.getElementById('policy').value"), "wait_k")
        self.assertEqual(page.value("document.getElementById('number').textContent.trim()"), "k =")
        page.type(SENTENCES[0] + "\n")
        page.wait_for(f"{STATUS}.includes('wait-3')")
        page.wait_for(ROWS_DONE)
        page.set("k", "2")
        page.wait_for(f"{STATUS}.includes('wait-2')")
        # In the middle of a sentence, it ends as it began.
        page.type("You can only modify ")
        page.wait_for(f"{TARGETS}.length === 2 && {TARGETS}[1].length > 0")
        page.set("policy", "hold_n")
        self.assertEqual(page.value("document.getElementById('k').value"), "3")
        page.set("k", "4")
        page.type("Presentation Styles. The file could ")
        page.wait_for(f"{STATUS}.includes('hold-n 4')")
        page.type("not be opened.\n")
        page.wait_for(f"{ROWS_DONE} && transcript.rows.length === 3")
        self.assertEqual(page.value(SOURCES), [SENTENCES[0], "You can only modify Presentation Styles.",
                                               "The file could not be opened."])
        self.assertEqual(page.value(TARGETS), [
            self.translated(text, *flags).strip() for text, flags in (
                (SENTENCES[0], ()), ("You can only modify Presentation Styles.", ("--k", "2")),
                ("The file could not be opened.", ("--policy", "hold:4")))])
        # For viewers it is one transcript.
        viewer = self.another_page()
        viewer.open(page.value("document.getElementById('link').href"), f"{TARGETS}.length === 3")
        viewer.wait_for(f"JSON.stringify({TARGETS}) === {json.dumps(page.value(f'JSON.stringify({TARGETS})'))}")
        self.assertEqual(viewer.value(SOURCES), page.value(SOURCES))
        self.assertEqual(page.errors, [])

    def test_terms(self):
        page = self.page
        text = "Click the button to open the file <b>42</b>.\n"
        page.click("set")
        self.assertFalse(page.value("document.getElementById('glossary').checkVisibility()"))
        page.value("document.getElementById('glossary').closest('details').open = true")
        self.assertTrue(page.value("document.getElementById('glossary').checkVisibility()"))
        page.save_picture("terms")
        page.set("glossary", "button\tKnopf\tKnauf")
        self.assertIn("line 1 of the terms", page.value("document.getElementById('terms-fault').textContent"))
        page.set("glossary", "# of our house\nbutton = Knopf\n\nfile\tAkte\n")
        self.assertEqual(page.value("['terms-fault', 'terms-count'].map((id) => document.getElementById(id).textContent)"),
                         ["", "(2)"])
        page.click("keep-markup")
        page.value("document.querySelector('dialog[open]').close()")
        page.type(text)
        page.wait_for(ROWS_DONE)
        glossary = f"{self.folder}/terms.tsv"
        with open(glossary, "w", encoding="utf-8") as file:
            file.write("button\tKnopf\nfile\tAkte\n")
        with_terms = self.translated(text, "--glossary", glossary, "--keep-markup").strip()
        for part in ("<b>", "</b>", "42", "Knopf", "Akte"):
            self.assertIn(part, with_terms)
        self.assertEqual(page.value(f"{TARGETS}[0]"), with_terms)
        # They are there in another window, and after a break. Policies that draft take none, and without them all is as before.
        another = self.another_page()
        another.open(f"http://{self.web}/")
        self.assertEqual(another.value("[document.getElementById('glossary').value.includes('Knopf'), "
                                       "document.getElementById('keep-markup').checked]"), [True, True])
        another.type("Click the button to ")
        another.wait_for(f"{TARGETS}[0]?.length > 0")
        another.reload()
        another.wait_for(f"{STATUS}.startsWith('Going on; nothing was lost')")
        another.type("open the file.\n")
        another.wait_for(ROWS_DONE)
        self.assertEqual(another.value(f"{TARGETS}[0]"), self.translated(
            "Click the button to open the file.\n", "--glossary", glossary, "--keep-markup").strip())
        another.set("policy", "hold_n")
        another.type("Click the button.\n")
        another.wait_for(f"{ROWS_DONE} && transcript.rows.length === 2")
        self.assertEqual(another.value(f"{TARGETS}[1]"), self.translated("Click the button.\n", "--policy", "hold:3").strip())
        page.set("glossary", "")
        page.click("keep-markup")
        page.type("Click the button to open the file.\n")
        page.wait_for(f"{ROWS_DONE} && transcript.rows.length === 2")
        self.assertEqual(page.value(f"{TARGETS}[1]"), SAMPLES["Click the button to open the file."])
        self.assertEqual(page.errors + another.errors, [])

    def test_the_transcript_can_be_taken_home(self):
        page = self.page
        self.assertTrue(page.value("document.getElementById('save').disabled"))
        page.type("You can only modify Presentation Styles.\nThe file could not be opened.\n")
        page.wait_for(f"{ROWS_DONE} && transcript.rows.length === 2")
        self.chromium.call("Browser.setDownloadBehavior", behavior="allow", browserContextId=page.context,
                           downloadPath=self.folder)
        texts = {}
        for kind, suffix in (("text", "txt"), ("both", "txt"), ("srt", "srt"), ("vtt", "vtt")):
            before = set(os.listdir(self.folder))
            page.value(f"document.querySelector('[data-format={kind}]').click()")
            end = time.monotonic() + TIMEOUT
            while True:
                new = [name for name in set(os.listdir(self.folder)) - before if name.endswith("." + suffix)]
                if new and os.path.getsize(f"{self.folder}/{new[0]}") > 0:
                    break
                self.assertLess(time.monotonic(), end, kind)
                time.sleep(0.02)
            self.assertRegex(new[0], rf"^transcript-\d{{4}}-\d\d-\d\dT\d{{4}}.*\.{suffix}$")
            with open(f"{self.folder}/{new[0]}", encoding="utf-8") as file:
                texts[kind] = file.read()
            os.remove(f"{self.folder}/{new[0]}")
        self.assertEqual(texts["text"], "\n".join(self.german) + "\n")
        self.assertEqual(texts["both"], "\n".join(
            f"{source}\n{target}\n" for source, target in zip(ENGLISH, self.german)))
        times = r"\d\d:\d\d:\d\d{0}\d\d\d --> \d\d:\d\d:\d\d{0}\d\d\d\n"
        cues = [re.fullmatch(times.format(",") + "(.*)", cue.split("\n", 1)[1], re.DOTALL)
                for cue in texts["srt"].strip().split("\n\n")]
        self.assertEqual(" ".join(cue.group(1) for cue in cues).split(), " ".join(self.german).split())
        self.assertTrue(texts["srt"].startswith("1\n00:"))
        self.assertRegex(texts["vtt"], "^WEBVTT\n\n" + times.format(r"\."))
        # The program that translates subtitles reads both.
        for kind in ("srt", "vtt"):
            with open(f"{self.folder}/saved", "w", encoding="utf-8") as file:
                file.write(texts[kind])
            self.assertIn("-->", self.translated("", "--srt", f"{self.folder}/saved"))
        # The rules for cues are those of the program. These events are of a fast and a slow speaker.
        rows = [{"target": "Eins zwei drei.", "marks": [[0, 4], [100, 9], [200, 15]]},
                {"target": "A & B", "marks": [[250, 5]]},
                {"target": " wort" * 30, "marks": [[5000 + 500 * i, 5 * i + 5] for i in range(30)]},
                {"target": "日本語の字幕です。次。", "marks": [[40000, 9], [40200, 11]]}]
        self.assertEqual(page.value(f"cues({json.dumps(rows)}).map(({{begin, end, text}}) => [begin, end, text.length])"), [
            [0, 1000, 15], [1000, 2000, 5], [5000, 11500, 69], [12000, 18500, 69], [19000, 20000, 9],
            [40000, 41000, 11]])
        self.assertIn("A &amp; B", page.value(f"webVtt({json.dumps(rows)})"))
        # Where a browser has no clipboard for pages, over HTTP from another machine, the old way does.
        page.value("Object.defineProperty(navigator, 'clipboard', {value: undefined}); window.copied = ''; "
                   "document.addEventListener('copy', () => { window.copied = String(document.activeElement.value); })")
        page.click("copy")
        page.wait_for(f"{STATUS} === 'The translation is copied.'")
        self.assertEqual(page.value("window.copied"), texts["text"])
        page.click("show")
        page.value("document.querySelector('[data-copies=captions-link]').click()")
        page.wait_for(f"{STATUS} === 'The address is copied.'")
        self.assertEqual(page.value("window.copied"), page.value("document.getElementById('captions-link').href"))

    def test_captions_alone(self):
        page = self.page
        captions = self.another_page()
        page.click("show")
        self.assertTrue(page.value("document.getElementById('links').hidden"))
        page.click("keep")
        page.value("document.querySelector('dialog[open]').close()")
        page.type("You can only modify ")
        page.wait_for("document.getElementById('captions-link').href !== ''")
        link = page.value("document.getElementById('captions-link').href")
        text = "document.getElementById('caption-text').innerText.trim()"
        captions.open(link + "&lines=2&size=40", f"document.readyState === 'complete' && {text}.length > 0")
        page.type("Presentation Styles.\nThe file could not be opened.\n")
        captions.wait_for(f"{text}.endsWith({json.dumps(self.german[1])})")
        # Two lines are in view, the newest at the bottom, in the size that was asked for.
        self.assertEqual(captions.value("[...document.querySelectorAll('#caption-text p:not([hidden])')].map((line) => "
                                        "[getComputedStyle(line).fontSize, line.lang, line.dir])").pop(), ["40px", "de", "auto"])
        seen = ("(() => { const window = document.getElementById('caption-window').getBoundingClientRect(); "
                "return [...document.querySelectorAll('#caption-text .target')].map((line) => line.getBoundingClientRect())"
                ".filter(({top, bottom}) => top >= window.top - 1 && bottom <= window.bottom + 1).length; })()")
        self.assertEqual(captions.value(seen), 2)
        page.type("Click the button.\n")
        captions.wait_for(f"{text}.endsWith({json.dumps(self.translated('Click the button.').strip())})")
        self.assertEqual(captions.value(seen), 2)
        # For OBS the background is transparent, whatever colours the system has.
        captions.call("Emulation.setDefaultBackgroundColorOverride", color={"r": 0, "g": 0, "b": 0, "a": 0})
        for scheme in ("dark", "light"):
            captions.colours(scheme)
            self.assertEqual(first_pixel(captions.picture()), (0, 0, 0, 255))
        captions.set("background", "transparent")
        captions.set("lines", "3")
        for scheme in ("dark", "light"):
            captions.colours(scheme)
            self.assertEqual(first_pixel(captions.picture())[3], 0)
        self.assertEqual(captions.value(seen), 3)
        captions.save_picture("captions-transparent")
        # All of that is in the address.
        address = captions.value("location.href")
        self.assertEqual(address, link + "&background=transparent&size=40&lines=3")
        # The controls are there for whoever moves the pointer, or the focus.
        opacity = "getComputedStyle(document.getElementById('caption-controls')).opacity"
        self.assertEqual(captions.value(opacity), "0")
        captions.press("Tab", 9)
        self.assertEqual(captions.value(f"[document.activeElement.id, {opacity}]"), ["background", "1"])
        captions.value("document.activeElement.blur()")
        captions.call("Input.dispatchMouseEvent", type="mouseMoved", x=100, y=300)
        captions.wait_for(f"{opacity} === '1'")
        captions.click("with-source")
        self.assertIn("Click the button.", captions.value(text))
        self.assertTrue(captions.value("location.href").endswith("&source"))
        captions.click("with-source")
        captions.set("background", "black")
        captions.save_picture("captions")
        # The address was to be kept: a talk tomorrow, in another tab, appears here.
        self.finish()
        page.close()
        self.page = page = Page(self.chromium, page.context)
        page.open(f"http://{self.web}/")
        page.wait_for("document.getElementById('captions-link').href !== ''")
        self.assertEqual(page.value("document.getElementById('captions-link').href"), link)
        page.type("The server cannot be reached.\n")
        captions.wait_for(f"{text}.endsWith('Der Server kann nicht erreicht werden.')")
        # A third tab at the same time does not write into it.
        third = self.another_page()
        third.open(f"http://{self.web}/")
        third.type("Please ")
        third.wait_for("document.getElementById('captions-link').href !== ''")
        self.assertNotEqual(third.value("document.getElementById('captions-link').href"), link)
        # An address that is none says what to do.
        captions.open(f"http://{self.web}/?captions", "document.readyState === 'complete'")
        self.assertIn("choose Captions there", captions.value("document.getElementById('caption-status').textContent"))
        self.assertEqual(captions.errors + page.errors, [])

    def test_more_sessions_at_once_than_a_browser_has_connections(self):
        page = self.page
        page.value(
            "window.many = [...Array(9)].map(() => { const heard = []; const each = new Conversation("
            "{config: wantedConfig(0), on: (event) => heard.push(event)}); "
            f"each.text({json.dumps(SENTENCES[0])}); return {{each, heard}}; }}), 0")
        page.wait_for("many.every(({heard}) => heard.some((event) => event.target))")
        page.value("window.answered = 0, fetch('v1/models').then((answer) => { window.answered = answer.status; }), 0")
        page.wait_for("window.answered === 200")
        page.value("many.forEach(({each}) => { each.endSegment(); each.close(); })")
        page.wait_for("many.every(({heard}) => heard.some(({ended}) => ended && ended.status === 'OK'))")

    def test_the_newest_row_is_in_view_on_a_screen_of_any_size(self):
        page = self.page
        lane = "document.getElementById('transcript')"
        at_end = f"{lane}.scrollHeight > {lane}.clientHeight && {lane}.scrollHeight - {lane}.scrollTop - {lane}.clientHeight < 2"
        page.type("\n".join(SENTENCES * 8) + "\n\n")
        page.wait_for("document.querySelectorAll('#announced p').length === 16")
        self.finish()
        # Neither an empty line nor the end is a sentence.
        self.assertEqual(page.value("[transcript.rows.length, document.querySelectorAll('#announced p').length]"), [16, 16])
        for link in (None, page.value("document.getElementById('link').href")):
            if link:
                page.open(link, f"document.getElementById('status')?.textContent === 'Finished.'")
            for width, height in ((500, 300), (350, 250), (900, 320), (320, 256)):
                page.resize(width, height)
                page.wait_for(at_end)
                self.assertLessEqual(page.value("document.documentElement.scrollWidth"), width)
            # Somebody reads what was before.
            page.value(f"{lane}.scrollTop = 0")
            page.wait_for("!document.getElementById('newest').hidden")
            page.resize(340, 260)
            page.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            self.assertEqual(page.value(f"{lane}.scrollTop"), 0)
            page.click("newest")
            page.wait_for(at_end)
            self.assertTrue(page.value("document.getElementById('newest').hidden"))
            page.resize(1280, 800)
        self.assertEqual(page.errors, [])

    def test_text_without_punctuation_is_translated_to_its_end(self):
        page = self.page
        with open(f"{GOLDEN}/simuleval/test20.en") as file:
            plain = re.sub(r"[^a-z\s]", "", file.read().lower()).split()[:200]
        words = " ".join(plain)
        page.type(plain[0] + " ")
        page.wait_for("document.getElementById('finish').disabled === false")
        rest = json.dumps(" ".join(plain[1:]))
        page.value(f"document.getElementById('input').value = {rest}; document.getElementById('finish').click()")
        page.wait_for(f"{STATUS} === 'Finished.'")
        # Each row has its own part of the source, and none is missing.
        self.assertEqual(" ".join(page.value(SOURCES)), words)
        self.assertGreater(len(page.value(SOURCES)), 3)
        shown = " ".join(page.value(TARGETS)).split()
        self.assertEqual(shown, self.translated(words + "\n").split())
        self.assertGreater(len(shown), len(plain) // 4)

    def listen(self):
        """Presses the button, and returns when the sentence is over."""
        page = self.page
        page.value("window.levels = []; window.realSend = WebSocket.prototype.send; "
                   "WebSocket.prototype.send = function(data) {"
                   "if (typeof data === 'string' && JSON.parse(data).config) window.began = JSON.parse(data).config;"
                   "return window.realSend.call(this, data); }; window.realLevel = showLevel; "
                   "showLevel = (level) => { window.levels.push(level); window.realLevel(level); }; 0")
        page.value("document.getElementById('speak').focus()")
        page.press("Enter", 13)  # The user presses a key: without one, browsers leave audio alone.
        # The recording lasts 2.7 s; the silence after it ends the sentence.
        page.wait_for("document.querySelector('#announced p') !== null")
        # The rate is the device's, which no browser has to change.
        self.assertEqual(page.value("window.began.sampleRateHertz"), page.value("new AudioContext().sampleRate"))

    def test_what_is_said_is_translated(self):
        page = self.page
        self.assertFalse(page.value("document.getElementById('speak').hidden"))
        self.listen()
        self.assertEqual(page.value("document.getElementById('speak').textContent"), "Stop speaking")
        # The meter showed speech, and then silence.
        page.wait_for("Math.max(...levels) > -30 && levels.at(-1) < -60")
        self.assertEqual(page.value("[document.getElementById('level').checkVisibility(), "
                                    "document.getElementById('level').value]"), [True, -60])
        page.save_picture("speech")
        self.assertGreater(page.value("document.getElementById('device').options.length"), 1)
        # A reload in the middle loses the microphone alone, and asks before.
        before = page.value("[session.stream.id, transcript.rows[0].target]")
        page.reload()
        self.assertEqual(self.chromium.questions.pop(), "beforeunload")
        page.wait_for(f"{STATUS}.startsWith('Going on; nothing was lost')")
        self.assertEqual(page.value("[session.stream.id, transcript.rows[0].target]"), before)
        self.finish()
        self.assertRegex(page.value(f"{SOURCES}[0]"), r"^0:00–0:0[2-5]$")
        self.assertNotEqual(page.value(f"{TARGETS}[0]"), "")
        self.assertRegex(page.value("subRip(transcript.rows)"), r"^1\n00:00:0[0-3],\d\d\d --> 00:00:0[1-9],")
        self.assertEqual(page.errors, [])

    def test_another_microphone_and_a_policy_while_somebody_speaks(self):
        page = self.page
        self.listen()
        page.set("policy", "offline")
        page.set("device", page.value("document.getElementById('device').options[1].value"))  # It has its own rate.
        page.wait_for("transcript.rows.filter((row) => row.target).length === 2 && transcript.rows[1].done")
        self.assertEqual(page.value("session.stream.config.policy.offline"), {})
        self.assertEqual(page.value("document.getElementById('speak').textContent"), "Stop speaking")
        page.value("document.getElementById('speak').click()")
        page.wait_for(f"{STATUS} === 'Finished.'")
        self.assertEqual(page.errors, [])

    def test_what_is_sent_is_what_was_said_at_any_rate(self):
        # Without the clock of a microphone, which stumbles on a busy machine.
        page = self.page
        with open(RECORDING, "rb") as file:
            recording = base64.b64encode(file.read()).decode()
        with wave.open(RECORDING) as file:
            seconds = file.getnframes() / file.getframerate()
            said = loudness(array.array("h", file.readframes(file.getnframes())))
        for rate in (8000, 16000, 44100, 48000, 96000):
            with self.subTest(rate=rate):
                page.value(f"""(async () => {{
                    const context = new OfflineAudioContext(2, 3 * {rate}, {rate});
                    const bytes = Uint8Array.from(atob('{recording}'), (character) => character.charCodeAt(0));
                    const source = context.createBufferSource();
                    source.buffer = await context.decodeAudioData(bytes.buffer);
                    await context.audioWorklet.addModule('microphone.js');
                    const node = new AudioWorkletNode(context, 'microphone');
                    window.sent = [];
                    window.whole = false;
                    node.port.onmessage = ({{data}}) => {{
                      if (data === null) window.whole = true;
                      else if (typeof data !== 'number') window.sent.push(...data);
                    }};
                    source.connect(node).connect(context.destination);
                    source.start();
                    await context.startRendering();
                    node.port.postMessage('stop');
                }})()""")
                page.wait_for("window.whole")
                sent = page.value("window.sent")
                self.assertAlmostEqual(len(sent) / rate, seconds, delta=0.02)
                heard = loudness(sent, rate)
                length = min(len(said), len(heard))
                self.assertGreater(correlation(said[:length], heard[:length]), 0.95)
                # The server takes this rate, and translates it.
                page.value(f"window.heard = []; byId('model').value = 'speech'; chooseModel(); "
                           f"window.spoken = new Conversation({{config: wantedConfig({rate}), "
                           f"on: (event) => window.heard.push(event)}}); "
                           f"for (let i = 0; i < window.sent.length; i += 8000) "
                           f"spoken.audio(Int16Array.from(window.sent.slice(i, i + 8000))); spoken.close(); 0")
                page.wait_for("heard.some(({ended}) => ended && ended.status === 'OK')")
                self.assertTrue(page.value("heard.some(({target}) => target && target.text)"))

    def test_a_failure_leaves_nothing_open(self):
        page = self.page
        page.value("""
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
        page.value("document.getElementById('speak').focus()")
        # A key of the user's: without one browsers leave audio alone.
        press = lambda: page.press("Enter", 13)
        # As Firefox says where the rates of context and microphone differ; and whatever else is missing.
        for breaks, mends in [
            ("AudioContext.prototype.createMediaStreamSource = () => { throw new Error('other rates'); }",
             "delete AudioContext.prototype.createMediaStreamSource"),
            ("window.node = AudioWorkletNode; window.AudioWorkletNode = class { constructor() "
             "{ throw new Error('no node'); } }", "window.AudioWorkletNode = window.node"),
            ("AudioWorklet.prototype.addModule = () => Promise.reject(new Error('no module'))",
             "delete AudioWorklet.prototype.addModule"),
        ]:
            page.value(f"({breaks}, 0)" if "=" in breaks and ";" not in breaks else f"{breaks}; 0")
            before = page.value("window.tracks.length")
            press()
            page.wait_for(f"window.tracks.length > {before} && {STATUS}.startsWith('The microphone cannot be used')")
            page.wait_for(released)
            page.value(f"{mends}; 0")
        # A session that cannot begin.
        page.value(
            "WebSocket.prototype.send = function(data) { "
            "window.realSend.call(this, typeof data === 'string' ? data.replace('config', 'konfig') : data); }; 0")
        press()
        page.wait_for(f"{STATUS}.startsWith('Not sent: want a StreamTranslateRequest as JSON')")
        page.wait_for(released)
        self.assertEqual(page.value("document.getElementById('speak').textContent"), "Speak")
        page.value("WebSocket.prototype.send = window.realSend; 0")
        # Now it works.
        press()
        page.wait_for("transcript.rows.length > 0")
        self.assertFalse(page.value(released))
        # Unplugging the device ends the recording.
        page.value("window.tracks[window.tracks.length - 1].dispatchEvent(new Event('ended'))")
        page.wait_for(f"{STATUS} === 'Finished.'")
        page.wait_for(released)

    def assert_no_fault(self, page, view):
        self.assertEqual(page.value(FAULTS), [], view)
        if not AXE:
            return
        with open(AXE, encoding="utf-8") as file:
            page.value(f"window.axe === undefined && (() => {{ {file.read()} }}).call(window); 0")
        found = page.value("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', "
                           "'best-practice']}).then(({violations}) => violations.map(({id, help, nodes}) => "
                           "[id, help, nodes.map(({html, failureSummary}) => [html, failureSummary])]))")
        self.assertEqual(found, [], view)

    def test_every_view_is_accessible(self):
        page = self.page
        page.type("You can only modify Presentation Styles.\nThe file could ")
        page.wait_for(f"{TARGETS}.length === 2 && {TARGETS}[1].length > 0")
        link, watch = page.value("['captions-link', 'link'].map((id) => document.getElementById(id).href)")
        captions, viewer, fresh = self.another_page(), self.another_page(), self.another_page()
        captions.open(link, "document.getElementById('caption-text')?.innerText.trim().length > 0")
        viewer.open(watch, f"{TARGETS}.length === 2")
        fresh.open(f"http://{self.web}/")
        page.value("document.getElementById('lagging').open = true")
        for scheme in ("light", "dark"):
            for width, height in ((1280, 800), (390, 844), (320, 256)):
                for view, each in (("writing", page), ("watching", viewer), ("captions", captions), ("welcome", fresh)):
                    each.colours(scheme)
                    each.resize(width, height)
                    if each is captions:  # Its controls appear.
                        each.call("Input.dispatchMouseEvent", type="mouseMoved", x=100 + width % 7, y=200)
                        each.wait_for("getComputedStyle(document.getElementById('caption-controls')).opacity === '1'")
                    with self.subTest(view=view, scheme=scheme, width=width):
                        self.assert_no_fault(each, view)
                for button in ("set", "save", "show"):
                    page.value(f"document.getElementById('{button}').focus()")
                    page.press("Enter", 13)
                    page.wait_for("document.querySelector('dialog[open]') !== null")
                    page.value("for (const part of document.querySelectorAll('dialog details')) part.open = true")
                    with self.subTest(dialog=button, scheme=scheme, width=width):
                        self.assert_no_fault(page, button)
                    if width == 390:
                        page.save_picture(f"phone-{button}-{scheme}")
                    page.press("Escape", 27)
                    page.wait_for("document.querySelector('dialog[open]') === null")
                    # The focus is where it was.
                    self.assertEqual(page.value("document.activeElement.id"), button)
        fresh.resize(1280, 800)
        fresh.save_picture("welcome-dark")

    def test_it_is_usable_without_mouse_and_screen(self):
        page = self.page
        page.call("Accessibility.enable")
        page.type("You can only modify Presentation Styles.\n")
        page.wait_for(ROWS_DONE)
        tree = page.tree()
        for role, name in [
            ("heading", "leapstream"), ("main", ""), ("region", "Transcript"), ("log", "Completed sentences"),
            ("table", ""), ("columnheader", "English"), ("columnheader", "German"),
            ("cell", self.german[0]),
            ("textbox", "Write here. Each word is sent when it is complete."),
            ("button", "Copy"), ("button", "Save"), ("button", "Captions"), ("button", "Options"), ("button", "Speak"),
            ("button", "Sample talk"), ("button", "Finish"), ("button", "Clear"),
        ]:
            self.assertIn((role, name), tree.keys())
        for (role, name), properties in tree.items():
            if properties.get("focusable") and role != "RootWebArea":
                self.assertNotEqual(name, "", f"a {role} without a name")
        # Only what is said at the end of a sentence, and the state, speaks up by itself.
        live = {name or role for (role, name), properties in tree.items() if properties.get("live") == "polite"}
        self.assertEqual(live, {"Completed sentences", "status"})
        # Everything can be reached in the order of the page, with the focus in view and on nothing that lies over it.
        order = ["copy", "save", "show", "set", "transcript", "input", "speak", "talk", "finish", "clear", "SUMMARY"]
        page.value("document.getElementById('copy').focus({focusVisible: true})")
        reached = []
        while len(reached) < len(order):
            name, outline, is_seen = page.value(
                "(() => { const focus = document.activeElement, {left, top, width, height} = focus.getBoundingClientRect();"
                "const style = getComputedStyle(focus);"
                "return [focus.id || focus.tagName, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,"
                "focus.contains(document.elementFromPoint(left + width / 2, top + height / 2))]; })()")
            self.assertTrue(outline and is_seen, (name, outline, is_seen))
            reached.append(name)
            page.press("Tab", 9)
        self.assertEqual(reached, order)
        page.click("set")
        options = page.tree()
        for role, name in [("dialog", "Options"), ("combobox", "Model"), ("combobox", "When it writes"), ("spinbutton", "k ="),
                           ("combobox", "Microphone"), ("spinbutton", "Words per second of the sample talk")]:
            self.assertIn((role, name), options.keys())
        page.press("Escape", 27)

        # A sentence is announced once, when it is complete.
        page.value("window.said = 0; new MutationObserver((all) => { window.said += all.length; }).observe("
                   "document.getElementById('announced'), {childList: true, subtree: true, characterData: true})")
        page.type("\n".join(SENTENCES) + "\n")
        page.wait_for("document.querySelectorAll('#announced p').length === 3")
        self.assertEqual(page.value("window.said"), 2)
        self.assertEqual(page.value("[...document.querySelectorAll('#announced p')].map((p) => p.textContent.trim())"),
                         page.value(TARGETS))
        page.value("document.getElementById('lagging').open = true")
        page.wait_for("document.querySelectorAll('#staircase .written').length > 3")
        count = page.value("document.querySelectorAll('#staircase .written').length")
        self.assertTrue(any(role == "image" and name.startswith(f"{count} tokens written, ") for role, name in page.tree()))


if __name__ == "__main__":
    if CHROMIUM is None:
        print("skipped: chromium is not installed")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[5:], verbosity=2)
