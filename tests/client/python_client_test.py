"""The Python client against real servers that are killed while it talks to them.

Arguments: the folder of the programs, the repository. With --installed the package that is tested is the one that this
Python has (./dev python), and else the one in the repository.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

INSTALLED = "--installed" in sys.argv
PROGRAMS, REPOSITORY = [Path(argument).resolve() for argument in sys.argv[1:] if argument != "--installed"]
MODEL = REPOSITORY / "model/pretrained/en-de"
SPEECH = REPOSITORY / "tests/golden/speech"
WORK = tempfile.TemporaryDirectory(prefix="leapstream-python-", ignore_cleanup_errors=True)
FOLDER = Path(WORK.name)
if not INSTALLED:
    sys.path.insert(0, str(REPOSITORY / "tests/client"))
    import python_package
    python_package.make(FOLDER / "site")
    sys.path.insert(0, str(FOLDER / "site"))
import leapstream  # noqa: E402

LINES = (REPOSITORY / "tests/golden/simuleval/test20.en").read_text().splitlines()
TIMEOUT = 60  # Seconds for each wait.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(FOLDER / "site")}


class Server:
    """A leapstream-server that keeps its port when it is started again."""

    def __init__(self, name, *flags):
        self.port_file, self.flags, self.port, self.process = FOLDER / f"{name}.port", flags, "0", None
        self.start()

    def start(self):
        self.port_file.unlink(missing_ok=True)
        with open(self.port_file.with_suffix(".log"), "a") as log:
            self.process = subprocess.Popen(
                [PROGRAMS / "leapstream-server", "--listen", f"127.0.0.1:{self.port}", "--port-file", self.port_file,
                 *self.flags], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        end = time.monotonic() + TIMEOUT
        while not self.port_file.exists():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(self.port_file.with_suffix(".log").read_text())
            time.sleep(0.01)
        self.port = self.port_file.read_text().strip()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def crash(self):
        """Dies, and is there again."""
        self.kill()
        self.start()


def program_translates(server, text, *flags):
    """The words of the program `leapstream`, undisturbed."""
    return subprocess.run([PROGRAMS / "leapstream", "translate", "--server", server.address, *flags], input=text,
                          text=True, capture_output=True, check=True, timeout=TIMEOUT).stdout.splitlines()


class PythonClientTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        key = FOLDER / "key"
        key.write_text("0123456789abcdef0123456789abcdef\n")
        cls.servers = [Server(name, "--model", str(MODEL), "--resume-key-file", str(key)) for name in "ab"]
        cls.addresses = ",".join(server.address for server in cls.servers)

    @classmethod
    def tearDownClass(cls):
        for server in cls.servers:
            server.kill()

    def start(self, name, *flags):
        server = Server(name, *flags)
        self.addCleanup(server.kill)
        return server

    def crash_all(self):
        for server in self.servers:
            server.crash()

    def test_lines_survive_their_servers_with_asyncio(self):
        async def run():
            texts, kinds, length, crash_at = [], set(), 0, [10, 200, 400]  # Characters of the translation.
            async with leapstream.aio.Client(self.addresses) as client:
                async with client.stream(policy={"early_end": "EARLY_END_READ_ON"}) as stream:
                    def speak(lines):
                        for line in lines:
                            for word in line.split():
                                stream.send(word + " ")
                            stream.end_segment()

                    speak(LINES[:15])
                    await stream.drain()
                    shown = ""
                    async for event in stream:
                        kinds.add(type(event))
                        if isinstance(event, leapstream.Delta):
                            shown += event.text
                            length += len(event.text)
                            if crash_at and length >= crash_at[0]:
                                crash_at.pop(0)
                                await asyncio.get_running_loop().run_in_executor(None, self.crash_all)
                                if not crash_at:
                                    speak(LINES[15:])
                                    stream.close()
                        elif isinstance(event, leapstream.SegmentCompleted):
                            self.assertEqual(event.text, shown)
                            texts.append(shown)
                            shown = ""
            return texts, kinds

        texts, kinds = asyncio.run(run())
        self.assertEqual(texts, program_translates(self.servers[0], "\n".join(LINES) + "\n", "--early-end", "read-on"))
        self.assertLessEqual({leapstream.Started, leapstream.Interrupted, leapstream.Resumed, leapstream.Summary}, kinds)

    def test_sentences_survive_their_servers(self):
        text = " ".join(LINES)
        pieces = [text[at:at + 7] for at in range(0, len(text), 7)]  # They are cut within words, too.
        with leapstream.Client(self.addresses) as client, client.stream(sentences=True) as stream:
            for piece in pieces[:-40]:
                stream.send(piece)
            sentences, kinds, length, crash_at = [], set(), 0, [30, 250]
            for event in stream:
                kinds.add(type(event))
                if isinstance(event, leapstream.Delta):
                    length += len(event.text)
                    if crash_at and length >= crash_at[0]:
                        crash_at.pop(0)
                        self.crash_all()
                        if not crash_at:
                            for piece in pieces[-40:]:
                                stream.send(piece)
                            stream.close()
                elif isinstance(event, leapstream.SegmentCompleted) and event.text:
                    sentences.append(event.text)
                elif isinstance(event, leapstream.Summary):
                    self.assertGreater(event.source_tokens, 100)
        self.assertEqual(sentences, program_translates(self.servers[0], text, "--segment", "sentence"))
        self.assertIn(leapstream.Resumed, kinds)

    def test_speech_survives_its_server(self):
        model = FOLDER / "speech"
        subprocess.run([PROGRAMS / "leapstream-export", "--checkpoint", SPEECH / "checkpoints/speech_leap.pt",
                        "--config-yaml", SPEECH / "data/config_st.yaml", "--target-dict",
                        SPEECH / "data/spm_unigram400_st.txt", "--target-spm", SPEECH / "data/spm_unigram400_st.model",
                        "--source-lang", "en", "--target-lang", "de", "--output", model], check=True,
                       capture_output=True)
        server = self.start("speech", "--model", str(model), "--resume-key-file", str(FOLDER / "key"))
        samples = b"".join((SPEECH / f"wav/{name}.wav").read_bytes()[44:] + bytes(32000) for name in ("test-1", "train-1"))
        options = leapstream.StreamOptions(input_format="INPUT_FORMAT_PCM_S16LE", pause=0.5)

        def translate(client, crash_at):
            with client.stream(options=options) as stream:
                for at in range(0, len(samples), 8000):
                    stream.send(samples[at:at + 8000])
                stream.close()
                length, texts = 0, []
                for event in stream:
                    if isinstance(event, leapstream.Delta):
                        if length < crash_at <= length + len(event.text):
                            server.crash()
                        length += len(event.text)
                    elif isinstance(event, leapstream.SegmentCompleted):
                        texts.append(event.text)
                return texts

        with contextlib.closing(leapstream.Client(server.address)) as client:
            expected = translate(client, 0)
            self.assertGreater(len(expected), 1)
            self.assertEqual(translate(client, len("".join(expected)) // 2), expected)
            self.assertTrue(client.models()[0].speech)

    def test_texts_and_models(self):
        with leapstream.Client(self.addresses) as client:
            answer = client.translate("\n".join(LINES[:3]), beam_search={"beam": 2, "n_best": 2})
            self.assertEqual(len(answer.text.splitlines()), 3)
            self.assertEqual([len(segment) for segment in answer.segments], [2] * len(answer.segments))
            self.assertGreaterEqual(answer.segments[0][0].score, answer.segments[0][1].score)
            (model,) = client.models()
            self.assertEqual((model.name, model.speech, model.source_language_codes, model.state_type),
                             ("en-de", False, ("en",), "float32"))

    def test_terms(self):
        text = "Click the button to open the file <b>42</b>."
        file = FOLDER / "terms.tsv"
        file.write_text("# of our house\nbutton\tKnopf\r\n\nfile\tAkte\nLibreOffice\n")
        glossary = {"button": "Knopf", "file": "Akte", "LibreOffice": ""}
        self.assertEqual(leapstream.read_glossary(file), glossary)
        self.assertEqual(leapstream.parse_glossary("button = Knopf\nfile = Akte\nLibreOffice\t"), glossary)
        for wrong in ("a\n\tb", "a\n b\tc\td", "a\n = b"):
            with self.assertRaisesRegex(ValueError, "^terms:2: want a source term"):
                leapstream.parse_glossary(wrong, "terms")
        (expected,) = program_translates(self.servers[0], text, "--glossary", file, "--keep-markup")
        for part in ("Knopf", "Akte", "<b>", "</b>", "42"):
            self.assertIn(part, expected)
        with leapstream.Client(self.addresses) as client:
            with client.stream(glossary=glossary, keep_markup=True) as stream:
                stream.send(text)
                shown = ""
                for event in stream:
                    if isinstance(event, leapstream.Started):
                        self.crash_all()
                    elif isinstance(event, leapstream.Delta):
                        if len(shown) <= 10 < len(shown) + len(event.text):  # The next server is told of the terms, too.
                            self.crash_all()
                            stream.close()
                        shown += event.text
            self.assertEqual(shown, expected)
            self.assertEqual(client.translate(text, policy={"wait_k": {"k": 3}}, glossary=glossary, keep_markup=True).text,
                             expected)
            with self.assertRaises(leapstream.LeapstreamError) as caught:
                client.translate(text, glossary={"": "Knopf"})
            self.assertEqual(caught.exception.reason, "GLOSSARY_INVALID")
        result = self.command("translate", "--server", self.addresses, "--k", "3", "--glossary", str(file), "--keep-markup",
                              text=text + "\n")
        self.assertEqual((result.returncode, result.stderr, result.stdout), (0, "", expected + "\n"))
        result = self.command("translate", "--server", self.addresses, "--glossary", "/no/such/file", text=text)
        self.assertEqual((result.returncode, result.stdout), (1, ""))

    def test_errors_have_a_code_a_reason_and_a_message(self):
        with leapstream.Client(self.addresses) as client:
            for call in (lambda: client.translate("a", model="none"), lambda: list(client.stream(model="none"))):
                with self.assertRaises(leapstream.LeapstreamError) as caught:
                    call()
                self.assertEqual((caught.exception.code, caught.exception.reason), ("NOT_FOUND", "MODEL_NOT_FOUND"))
                self.assertIn("en-de", caught.exception.message)
            with client.stream() as stream:
                stream.send(" " * 100000 + "a")  # A message has 64 KiB.
                stream.close()
                with self.assertRaises(ValueError):
                    stream.send("late")
                self.assertIsInstance(list(stream)[-1], leapstream.Summary)
        with self.assertRaisesRegex(ValueError, "unencrypted"):
            leapstream.Client("10.0.0.1:50051", token="secret")
        with leapstream.Client("127.0.0.1:1") as nobody, self.assertRaises(leapstream.LeapstreamError) as caught:
            nobody.translate("a", retry_timeout=0)
        self.assertEqual(caught.exception.code, "UNAVAILABLE")

    def test_a_stream_keeps_itself_alive(self):
        server = self.start("idle", "--model", str(MODEL), "--idle-timeout", "600ms")
        with leapstream.Client(server.address) as client, client.stream() as stream:
            self.assertIsInstance(next(stream), leapstream.Started)
            time.sleep(2)
            stream.send(LINES[0])
            stream.close()
            events = list(stream)
        self.assertNotIn(leapstream.Interrupted, set(map(type, events)))
        self.assertIsInstance(events[-1], leapstream.Summary)

    def test_tls_and_tokens(self):
        certificate, key, tokens = FOLDER / "server.crt", FOLDER / "server.key", FOLDER / "tokens"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", key, "-out", certificate, "-days", "2", "-subj", "/CN=localhost", "-addext",
                        "subjectAltName=DNS:localhost,IP:127.0.0.1"], check=True, capture_output=True)
        made = subprocess.run([PROGRAMS / "leapstream-server", "--new-token", "alice"], capture_output=True, text=True,
                              check=True).stdout.splitlines()
        tokens.write_text(made[1] + "\n")
        tokens.chmod(0o600)
        server = self.start("tls", "--model", str(MODEL), "--tls-certificate-file", str(certificate), "--tls-key-file",
                        str(key), "--auth-tokens-file", str(tokens))
        ca = certificate.read_bytes()
        with leapstream.Client(server.address, tls=True, ca=ca, token=made[0]) as client:
            self.assertTrue(client.translate(LINES[0]).text)
        with leapstream.Client(server.address, tls=True, ca=ca) as client:
            with self.assertRaises(leapstream.LeapstreamError) as caught:
                client.translate(LINES[0])
        self.assertEqual(caught.exception.reason, "TOKEN_MISSING")

    def test_a_quota_is_waited_for_if_that_is_not_too_long(self):
        from leapstream.session import Session

        def used_up(seconds):
            return leapstream.LeapstreamError("RESOURCE_EXHAUSTED", "used up", "QUOTA_EXCEEDED", seconds)

        session = Session(leapstream.StreamOptions(resume_timeout=60.0))
        pause, _ = session.broken(used_up(40.0), 1, 100.0)
        self.assertTrue(40 <= pause <= 43, pause)
        with self.assertRaises(leapstream.LeapstreamError):
            session.broken(used_up(40.0), 1, 141.0)
        with self.assertRaises(leapstream.LeapstreamError):
            Session(leapstream.StreamOptions()).broken(used_up(3600.0), 1, 0.0)
        pause, _ = Session(leapstream.StreamOptions()).broken(used_up(3600.0), 2, 0.0)
        self.assertEqual(pause, 0, "the other server has a quota of its own")
        with self.assertRaises(leapstream.LeapstreamError):  # Of sessions: another one must end first.
            Session(leapstream.StreamOptions()).broken(used_up(0.0), 1, 0.0)

    def test_usage_is_told(self):
        with leapstream.Client(self.addresses) as client, client.stream() as stream:
            stream.send("für the rain")
            stream.close()
            usage = list(stream)[-1].usage
        self.assertEqual((usage.source_characters, usage.source_audio_ms), (12, 0))
        self.assertGreater(usage.target_tokens, 0)

    def command(self, *arguments, text=""):
        return subprocess.run([sys.executable, "-m", "leapstream", *arguments], env=ENVIRONMENT, input=text, text=True,
                              capture_output=True, timeout=TIMEOUT)

    def test_the_command(self):
        text = "\n".join(LINES[:4]) + "\n"
        result = self.command("translate", "--server", self.addresses, "--k", "3", text=text)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(result.stdout.splitlines(),
                         program_translates(self.servers[0], text, "--k", "3", "--early-end", "read-on"))
        self.assertIn("en-de\ten\tde\ttext", self.command("models", "--server", self.addresses).stdout)
        wrong = self.command("translate", "--server", self.addresses, "--model", "none", text=text)
        self.assertEqual(wrong.returncode, 1)
        self.assertIn("MODEL_NOT_FOUND", wrong.stderr)
        hypotheses = [{"text": "sound can"}, {"text": "sound can be included"}, {"text": "sound can be included in"},
                      {"text": "Sound can be included in presentations.", "final": True}]
        result = self.command("translate", "--server", self.addresses, "--hypotheses",
                              text="".join(json.dumps(each) + "\n" for each in hypotheses))
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(len(result.stdout.splitlines()), 1)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
