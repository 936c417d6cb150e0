#!/usr/bin/env python3
"""Mixed load on three real servers behind HAProxy while they are killed, stopped, drained and given wrong dates.

    mixed_load.py --minutes 120 --seed 7        # ./dev soak does the build and this

Clients of all kinds (streams of text and of speech, files, HTTP, WebSockets that resume, generated texts, readers that
take little, and senders of rubbish) go on as long as asked. What each job answers is compared with the answer that it
had from quiet servers. Prints a line a minute and a summary. The exit status is 1 if a text differed, a job failed for
another reason than a fault, or a server ended by itself.
"""
import argparse
import asyncio
import collections
import http.client
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import websockets

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
SERVERS = 3
PATIENCE = 120  # Seconds in which a job that has no session of its own finds a living server.


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Server:
    """A leapstream-server that is started again on the same ports when a fault has ended it."""

    def __init__(self, load, number):
        self.load, self.number = load, number
        self.port, self.http, self.metrics = free_port(), free_port(), free_port()
        self.clock = load.folder / f"clock{number}"
        self.clock.write_bytes(bytes(8))
        self.log = open(load.folder / f"server{number}.log", "ab")
        self.process = None
        self.down = threading.Lock()  # Held while a fault has ended it.
        self.largest = 0

    def start(self):
        load = self.load
        environment = dict(os.environ, LD_PRELOAD=str(load.build / "tests" / "libshifted_clock.so"),
                           SHIFTED_CLOCK=str(self.clock))
        command = [load.bin / "leapstream-server", "--listen", f"127.0.0.1:{self.port}", "--http-listen",
                   f"127.0.0.1:{self.http}", "--metrics-listen", f"127.0.0.1:{self.metrics}", "--resume-key-file",
                   load.folder / "resume_key", "--drain-delay", "4s", "--drain-timeout", "5s", "--log-level", "warn"]
        for model in load.models:
            command += ["--model", model]
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log)

    def set_date(self, seconds):
        with open(self.clock, "r+b") as clock:  # It is mapped, and so must not get shorter.
            clock.write(struct.pack("q", seconds))

    def ready(self):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.metrics, timeout=2)
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def wait_ready(self):
        deadline = time.monotonic() + 120
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.load.problem(f"server {self.number} did not start: status {self.process.poll()}")
                return
            time.sleep(0.1)

    def watch(self):
        """Notes the resident size, and whether the process ended by itself."""
        if not self.down.acquire(blocking=False):
            return 0, 0
        try:
            status = self.process.poll()
            if status is not None:
                self.load.problem(f"server {self.number} ended by itself with status {status}")
                self.start()
                return 0, 0
            text = Path(f"/proc/{self.process.pid}/status").read_text()
            size = int(text.split("VmRSS:")[1].split()[0]) // 1024
            self.largest = max(self.largest, size)
            return size, len(os.listdir(f"/proc/{self.process.pid}/fd"))
        finally:
            self.down.release()


class Load:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.build = Path(options.build).resolve()
        self.bin = self.build / "bin"
        self.random = random.Random(options.seed)
        self.counts = collections.Counter()
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.problems = []
        self.proxy_port = free_port()
        self.proxy = None
        rows = (GOLDEN / "en-de" / "traces.k3.stop.jsonl").read_text().splitlines()
        self.sentences = [json.loads(row)["source"] for row in rows]

    def count(self, what):
        with self.lock:
            self.counts[what] += 1

    def problem(self, text):
        with self.lock:
            self.problems.append(text)
        print("mixed_load: " + text, flush=True)

    # ---- What is served. ----

    def export(self, name, arguments):
        output = self.folder / name
        subprocess.run([self.bin / "leapstream-export", *arguments, "--output", output], check=True,
                       stdout=subprocess.DEVNULL)
        return output

    def prepare(self):
        texts, speech = GOLDEN / "language_models", GOLDEN / "speech"
        self.models = [ROOT / "model" / "pretrained" / "en-de"]
        self.models.append(self.export("language-model", [
            "--checkpoint", texts / "checkpoints" / "lm_leap_adaptive.pt", "--dict", texts / "en" / "dict.txt", "--spm",
            texts / "en" / "spm.model"]))
        self.models.append(self.export("speech", [
            "--checkpoint", speech / "checkpoints" / "speech_leap.pt", "--config-yaml", speech / "data" /
            "config_st.yaml", "--target-dict", speech / "data" / "spm_unigram400_st.txt", "--target-spm",
            speech / "data" / "spm_unigram400_st.model", "--source-lang", "nl", "--target-lang", "de", "--name",
            "speech"]))
        (self.folder / "resume_key").write_text(os.urandom(16).hex() + "\n")
        os.chmod(self.folder / "resume_key", 0o600)
        self.servers = [Server(self, number) for number in range(SERVERS)]
        for server in self.servers:
            server.start()
        for server in self.servers:
            server.wait_ready()
        config = (ROOT / "docker" / "haproxy" / "haproxy.cfg").read_text()
        lines = "\n    ".join(f"server s{s.number} 127.0.0.1:{s.port} port {s.metrics}" for s in self.servers)
        for old, new in (("bind :50051", f"bind 127.0.0.1:{self.proxy_port}"), (" port 9464", ""),
                         (" resolvers docker init-addr none", ""),
                         ("server-template leapstream 3 leapstream:50051", lines)):
            if old not in config:
                raise SystemExit(f"mixed_load: expected '{old}' in haproxy.cfg; follow its change here")
            config = config.replace(old, new)
        (self.folder / "haproxy.cfg").write_text(config)
        self.start_proxy()

    def start_proxy(self):
        program = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
        self.proxy = subprocess.Popen([program, "-db", "-f", self.folder / "haproxy.cfg"], stdout=subprocess.DEVNULL,
                                      stderr=subprocess.DEVNULL)

    # ---- Jobs. Each returns its text, or None if a fault ended it and it has no session to go on with. ----

    def client(self, arguments, text="", slow=False):
        command = [self.bin / "leapstream", *arguments, "--server", f"127.0.0.1:{self.proxy_port}"]
        with open(self.folder / f"errors{threading.get_ident()}", "w+b") as errors:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
            feeder = threading.Thread(target=self.feed, args=(process.stdin, text))
            feeder.start()
            output = b""
            while True:
                piece = process.stdout.read1(40 if slow else 1 << 16)
                if not piece:
                    break
                output += piece
                if slow:
                    time.sleep(0.05)
            feeder.join()
            status = process.wait()
            errors.seek(0)
            return status, output.decode(), errors.read().decode(errors="replace")

    @staticmethod
    def feed(pipe, text):
        try:
            pipe.write(text.encode())
            pipe.close()
        except BrokenPipeError:
            pass

    def session(self, arguments, text="", slow=False):
        """A session, which must outlive every fault once a server has begun it."""
        return self.again(lambda output, errors: not output and "no server answers" in errors, arguments, text, slow)

    def call(self, arguments, text=""):
        """A single call: if a fault ends it, it is made again."""
        return self.again(lambda output, errors: True, arguments, text)

    def again(self, may_fail, arguments, text="", slow=False):
        deadline = time.monotonic() + PATIENCE
        while True:
            status, output, errors = self.client(arguments, text, slow)
            if status == 0:
                return output
            if status != 3 or not may_fail(output, errors) or time.monotonic() > deadline:  # 3: no server.
                self.problem(f"{' '.join(map(str, arguments))} ended with status {status}: {errors[-400:]}")
                return None
            self.count("begun again")
            time.sleep(0.5)

    def some_sentences(self, chosen, least, most):
        first, count = chosen.randrange(len(self.sentences)), chosen.randint(least, most)
        return [self.sentences[(first + i) % len(self.sentences)] for i in range(count)]

    def text_stream(self, chosen, slow=False):
        policy = chosen.choice([["--k", "3"], ["--k", "7"], ["--policy", "la:2"], ["--policy", "hold:3"],
                                ["--offline"], ["--k", "2", "--count-words"]])
        end = chosen.choice(["stop", "read-on", "suppress"])
        pace = ["--pace", chosen.choice(["5/s", "12/s", "40/s"])]
        pace = [] if self.quiet else pace
        lines = self.some_sentences(chosen, 2, 8)
        return self.session(["translate", "--model", "en-de", *policy, "--early-end", end, *pace],
                            "\n".join(lines) + "\n", slow and not self.quiet)

    def slow_reader(self, chosen):
        return self.text_stream(chosen, slow=True)

    def speech_stream(self, chosen):
        wav = chosen.choice(sorted((GOLDEN / "speech" / "wav").glob("*.wav")))
        pace = ["--pace", "max"] if self.quiet or chosen.random() < 0.5 else []  # Without: real time.
        return self.session(["translate", "--model", "speech", "--k", "2", *pace, "--audio", wav])

    def file(self, chosen):
        path = self.folder / f"in{threading.get_ident()}.txt"
        path.write_text("\n".join(self.some_sentences(chosen, 3, 10)) + "\n")
        output = path.with_suffix(".de")
        output.unlink(missing_ok=True)
        if self.call(["translate", "--model", "en-de", "--beam", str(chosen.choice([1, 4])), "--file", path, "--output",
                      output]) is None:
            return None
        return output.read_text()

    def generated(self, chosen):
        prompt = " ".join(self.some_sentences(chosen, 1, 1)[0].split()[:6])
        arguments = ["generate", "--prompt", prompt, "--max-len", str(chosen.choice([5, 60]))]
        if chosen.random() < 0.5:
            arguments += ["--sampling", "--seed", str(chosen.randrange(1000))]
        return self.call(arguments)

    def http(self, chosen):
        body = json.dumps({"text": " ".join(self.some_sentences(chosen, 1, 3)), "sourceLanguageCode": "en",
                           "targetLanguageCode": "de"})
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            server = random.choice(self.servers)
            try:
                connection = http.client.HTTPConnection("127.0.0.1", server.http, timeout=30)
                connection.request("POST", "/v1/translate", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read().decode()
                if answer.status == 200:
                    return json.loads(text)["text"]  # The rest of it are times.
                if answer.status not in (429, 503):
                    self.problem(f"HTTP status {answer.status}: {text[:300]}")
                    return None
            except (OSError, http.client.HTTPException):
                pass
            self.count("request made again")
            time.sleep(0.3)
        self.problem("no server answered HTTP")
        return None

    def web_socket(self, chosen):
        return asyncio.run(self.web_socket_session(self.some_sentences(chosen, 2, 4)))

    async def web_socket_session(self, lines):
        """One segment for each line; after a break it resumes, as docs/protocol.md says."""
        texts, done, segment_text = [], 0, ""
        session, token, ids, reads, following = "", "", [], [], ""
        deadline = time.monotonic() + PATIENCE
        interval = 0 if self.quiet else 0.05
        while time.monotonic() < deadline:
            server = random.choice(self.servers)
            try:
                async with websockets.connect(f"ws://127.0.0.1:{server.http}/v1/stream", open_timeout=10,
                                              subprotocols=["leapstream.v1"], ping_interval=None) as connection:
                    config = {"sourceLanguageCode": "en", "targetLanguageCode": "de", "policy": {"waitK": {"k": 3}},
                              "output": {"tokenDetails": True}}
                    if token:
                        config["resume"] = {"sessionId": session, "resumeToken": token,
                                            "committedTarget": {"ids": ids}, "committedSourceTokensRead": reads,
                                            "nextSourceSequence": str(1 + sum(len(line.split()) for line in
                                                                              lines[:done]))}
                    await connection.send(json.dumps({"config": config}))
                    rest = ""

                    async def speak(first):
                        for line in lines[first:]:
                            for word in line.split():
                                await connection.send(json.dumps({"source": {"text": word + " "}}))
                                await asyncio.sleep(interval)
                            await connection.send('{"endSegment": {}}')
                        await connection.send('{"endSession": {}}')

                    speaker = asyncio.create_task(speak(done))
                    try:
                        while True:
                            event = json.loads(await asyncio.wait_for(connection.recv(), 60))
                            if "started" in event:
                                session = event["started"]["sessionId"]
                                deadline = time.monotonic() + PATIENCE
                            elif "target" in event:
                                tokens = event["target"].get("tokens", [])
                                if tokens or not token:
                                    segment_text += event["target"].get("text", "")
                                    ids += [one.get("id", 0) for one in tokens]
                                    reads += [one.get("sourceTokensRead", 0) for one in tokens]
                                else:  # Only the end of its segment makes it certain.
                                    rest = event["target"].get("text", "")
                            elif "resumePoint" in event:
                                point = event["resumePoint"]
                                if int(point["segment"]) == done + 1:
                                    token = point["resumeToken"]
                                else:
                                    following = point["resumeToken"]
                            elif "segmentCompleted" in event:
                                texts.append(segment_text + rest)
                                done, segment_text, rest, ids, reads = done + 1, "", "", [], []
                                token, following = following, ""
                            elif "summary" in event:
                                return "\n".join(texts)
                            elif "error" in event:
                                if event["error"]["status"] not in ("UNAVAILABLE", "RESOURCE_EXHAUSTED"):
                                    self.problem(f"WebSocket: {event['error']}")
                                    return None
                    finally:
                        speaker.cancel()
            except (OSError, asyncio.TimeoutError, websockets.exceptions.WebSocketException):
                pass
            self.count("WebSocket opened again")
            if not token:  # Nothing of the session is certain: it begins anew.
                texts, done, segment_text, ids, reads = [], 0, "", [], []
            await asyncio.sleep(0.3)
        self.problem("no server answered WebSockets")
        return None

    def rubbish(self, chosen):
        """Bytes that no client sends. The answer does not matter, if the servers live."""
        server = random.choice(self.servers)
        port = chosen.choice([server.port, server.http, server.metrics])
        head = chosen.choice([
            b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /v1/stream HTTP/1.1\r\nHost: x\r\n",
            b"POST /v1/translate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{",
            b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"])
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as one:
                one.sendall(head + chosen.randbytes(chosen.randrange(2000)))
                if chosen.random() < 0.3:
                    self.over.wait(chosen.random() * 20)
                one.settimeout(2)
                one.recv(100)
        except OSError:
            pass
        return ""

    # ---- The run. ----

    def jobs(self):
        """Names and seeds of the jobs; the same seed gives the same source and flags."""
        kinds = [self.text_stream] * 5 + [self.slow_reader, self.speech_stream, self.file, self.generated, self.http,
                                          self.web_socket, self.web_socket]
        return [(kind, seed) for seed in range(self.options.variety) for kind in dict.fromkeys(kinds)], kinds

    def run_quiet(self):
        self.quiet = True
        self.call(["probe"])  # Until the proxy knows its servers.
        every, _ = self.jobs()
        self.expected = {}
        for kind, seed in every:
            self.expected[kind.__name__, seed] = kind(random.Random(f"{kind.__name__} {seed}"))
        self.quiet = False

    def work(self, number):
        chosen = random.Random(f"{self.options.seed} {number}")
        _, kinds = self.jobs()
        while not self.over.is_set():
            if chosen.random() < 0.15:
                self.rubbish(chosen)
                self.count("rubbish")
                continue
            kind, seed = chosen.choice(kinds), chosen.randrange(self.options.variety)
            try:
                text = kind(random.Random(f"{kind.__name__} {seed}"))
            except Exception as error:  # A worker that dies in silence would make the load smaller.
                self.problem(f"{kind.__name__} {seed}: {error!r}")
                continue
            expected = self.expected[kind.__name__, seed]
            self.count(kind.__name__)
            if text is not None and text != expected:
                self.problem(f"{kind.__name__} {seed} differs:\n  got      {text!r}\n  expected {expected!r}")

    def fault(self):
        chosen = self.random
        what = chosen.choice(["kill", "kill", "stop", "stop", "drain", "clock", "reload", "proxy"])
        self.count("fault: " + what)
        server = chosen.choice(self.servers)
        if what == "proxy":
            self.proxy.kill()
            self.proxy.wait()
            time.sleep(chosen.uniform(0, 5))
            self.start_proxy()
        elif what == "clock":
            # Tokens hold for resume_lifetime, an hour: the dates of servers may differ by less than that. The kernel's
            # clock stays right, so that timed waits of gRPC's threads return at once meanwhile: the jump is soon undone.
            server.set_date(chosen.choice([-1500, 1500]))
            time.sleep(chosen.uniform(1, 5))
            server.set_date(0)
        elif what == "reload":
            server.process.send_signal(signal.SIGHUP)
        elif what == "stop":
            with server.down:
                server.process.send_signal(signal.SIGSTOP)
                time.sleep(chosen.uniform(0.5, 15))
                server.process.send_signal(signal.SIGCONT)
        else:
            with server.down:
                server.process.send_signal(signal.SIGKILL if what == "kill" else signal.SIGTERM)
                status = server.process.wait()
                if what == "drain" and status != 0:
                    self.problem(f"a drained server ended with status {status}")
                time.sleep(chosen.uniform(0, 3))
                server.start()
                server.wait_ready()

    def run(self):
        self.prepare()
        self.run_quiet()
        print(f"mixed_load: {len(self.expected)} answers of quiet servers, seed {self.options.seed}", flush=True)
        workers = [threading.Thread(target=self.work, args=(i,)) for i in range(self.options.workers)]
        for worker in workers:
            worker.start()
        started = told = time.monotonic()
        while time.monotonic() - started < 60 * self.options.minutes:
            time.sleep(self.random.uniform(2, 15))
            self.fault()
            if time.monotonic() - told >= 60:
                told = time.monotonic()
                seen = ", ".join("%d MB %d files" % server.watch() for server in self.servers)
                jobs = sum(n for name, n in self.counts.items() if not name.startswith("fault"))
                print(f"mixed_load: {(told - started) / 60:.0f} min, {jobs} jobs, {seen}, "
                      f"{len(self.problems)} problems", flush=True)
        self.over.set()
        for worker in workers:
            worker.join()
        for server in self.servers:
            server.process.terminate()
            if server.process.wait() != 0:
                self.problem(f"server {server.number} ended with status {server.process.returncode} at the end")
        self.proxy.kill()
        for name, number in sorted(self.counts.items()):
            print(f"mixed_load: {number:7} {name}")
        print("mixed_load: largest servers: " + ", ".join(f"{server.largest} MB" for server in self.servers))
        print(f"mixed_load: {len(self.problems)} problems")
        return 1 if self.problems else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", default=ROOT / "build", help="the build folder (%(default)s)")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=8, help="clients at once")
    parser.add_argument("--variety", type=int, default=12, help="different jobs of each kind")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="leapstream-load-") as folder:
        load = Load(options, Path(folder))
        try:
            return load.run()
        finally:
            for server in getattr(load, "servers", []):
                if server.process and server.process.poll() is None:
                    server.process.kill()
            if load.proxy and load.proxy.poll() is None:
                load.proxy.kill()


if __name__ == "__main__":
    sys.exit(main())
