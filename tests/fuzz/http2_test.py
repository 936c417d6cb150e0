"""Speaks broken HTTP/2 to a real server: malformed frames and headers, resets, floods, wrong gRPC framing.

Arguments: the folder of the programs, a model directory, a folder in which h2 may be installed. Skipped (77) where h2
is neither there nor available from PyPI. CHAOS_CALLS is the number of connections, CHAOS_SEED repeats them,
CHAOS_SECONDS is their time limit.

Whatever comes, the server lives, others' calls go on with the same results, and nothing stays: no permit, no
descriptor, no memory to speak of.
"""

import importlib
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

PROGRAMS, MODEL, PACKAGES = sys.argv[1:4]
SKIPPED = 77
SEED = int(os.environ.get("CHAOS_SEED", random.SystemRandom().getrandbits(32)))
CALLS = int(os.environ.get("CHAOS_CALLS", 400))
SECONDS = int(os.environ.get("CHAOS_SECONDS", 60))
SERVICE = "/leapstream.v1.SimultaneousTranslationService/"
PATHS = [SERVICE + "StreamTranslate", SERVICE + "Translate", SERVICE + "ListModels", "/grpc.health.v1.Health/Check",
         "/grpc.health.v1.Health/Watch", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "/a/b", "", "*"]
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, PRIORITIZED = 1, 4, 8, 32
# Growth of memory; the allocator keeps some, and so do states of sessions. A server built with ASan keeps freed memory.
MEMORY_MB = 1024 if "ASAN_OPTIONS" in os.environ else 128


def find_h2():
    """Makes `import h2` work, or says why not."""
    sys.path.insert(0, PACKAGES)
    try:
        import h2.connection
        return None
    except ImportError:
        pass
    installed = subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
                                "--target", PACKAGES, "h2>=4,<5"], capture_output=True, text=True)
    if installed.returncode != 0:
        return "h2 is not installed, and pip cannot install it: " + installed.stderr.strip()[-300:]
    importlib.invalidate_caches()  # The folder was missing when it came to the path.
    import h2.connection
    return None


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def message(payload, flag=0, length=None):
    return bytes([flag]) + struct.pack(">I", len(payload) if length is None else length) + payload


def read_status(name, pid):
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name + ":"))


class Server:
    def __init__(self, folder):
        port_file = f"{folder}/port"
        self.log_path = f"{folder}/log"
        with open(self.log_path, "w") as log:
            self.process = subprocess.Popen(
                [f"{PROGRAMS}/leapstream-server", "--model", MODEL, "--listen", "127.0.0.1:0", "--port-file", port_file,
                 "--metrics-listen", "127.0.0.1:0", "--max-sessions", "20", "--config-timeout", "2s", "--keepalive-time",
                 "2s", "--keepalive-timeout", "2s", "--stuck-reader-timeout", "2s"], stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not os.path.exists(port_file):
            assert self.process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        self.port = int(open(port_file).read())
        self.metrics_port = int(self.log().split("metrics on port ")[1].split()[0])

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()[-3000:]

    def memory_mb(self):
        return read_status("VmRSS", self.process.pid) // 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def metric(self, name):
        page = urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=20).read().decode()
        return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(name + " "))


class GoodCall:
    """A Translate of one line, as a well-meaning client makes it."""

    def __init__(self, port):
        import h2.config
        import h2.connection
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.connection.initiate_connection()

    def translate(self, text):
        import h2.events
        stream = self.connection.get_next_available_stream_id()
        self.connection.send_headers(stream, [
            (":method", "POST"), (":scheme", "http"), (":path", SERVICE + "Translate"), (":authority", "localhost"),
            ("te", "trailers"), ("content-type", "application/grpc")])
        encoded = text.encode()
        self.connection.send_data(stream, message(b"\x22" + bytes([len(encoded)]) + encoded), end_stream=True)
        self.socket.sendall(self.connection.data_to_send())
        body, status = b"", None
        while True:
            received = self.socket.recv(65536)
            assert received, "the connection of a good call was closed"
            for event in self.connection.receive_data(received):
                if isinstance(event, h2.events.DataReceived):
                    body += event.data
                    self.connection.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, (h2.events.TrailersReceived, h2.events.ResponseReceived)):
                    status = dict(event.headers).get("grpc-status", status)
                elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    assert status == "0", f"a good call ended with {status}"
                    size = body[6]  # Field 1, a string.
                    return body[7:7 + size].decode()
                assert not isinstance(event, h2.events.ConnectionTerminated), "a good connection was told to go away"
            self.socket.sendall(self.connection.data_to_send())


class Attack:
    """One connection, of any kind."""

    def __init__(self, port, rng):
        import hpack
        self.rng, self.encoder = rng, hpack.Encoder()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)

    def run(self):
        kind = self.rng.choice([self.garbage, self.random_frames, self.odd_headers, self.header_flood, self.odd_data,
                                self.resets, self.floods, self.grpc_framing, self.mutated, self.hpack, self.half_open])
        try:
            kind()
            if self.rng.random() < 0.5:
                self.socket.settimeout(0.05)
                self.socket.recv(65536)
        except OSError:  # The server closed the connection, which is an answer.
            pass
        if self.rng.random() < 0.5:  # The end is a reset.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
        return kind.__name__

    def send(self, *parts):
        data = b"".join(parts)
        while data:  # The pieces have any size.
            size = self.rng.choice([len(data), len(data), self.rng.randint(1, len(data))])
            self.socket.sendall(data[:size])
            data = data[size:]

    def start(self):
        self.send(PREFACE, frame(SETTINGS, 0, 0))

    def bytes(self, most):
        return self.rng.randbytes(self.rng.randint(0, most))

    def headers(self, extra=(), path=None, content_type="application/grpc"):
        path = self.rng.choice(PATHS) if path is None else path
        return self.encoder.encode([(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"),
                                    ("te", "trailers"), ("content-type", content_type)] + list(extra))

    def config(self):
        return message(b"\x0a\x00")  # A StreamTranslateRequest with an empty config.

    # The kinds of connections.

    def garbage(self):
        self.send(self.rng.choice([b"", PREFACE, PREFACE[:self.rng.randint(0, 24)], b"GET / HTTP/1.1\r\n\r\n",
                                   b"\x16\x03\x01\x02\x00"]), self.bytes(2000))

    def random_frames(self):
        self.start()
        for _ in range(self.rng.randint(1, 40)):
            self.send(frame(self.rng.randint(0, 12), self.rng.getrandbits(8),
                            self.rng.choice([0, 1, 2, 3, 5, 2**31 - 1, self.rng.getrandbits(31)]), self.bytes(60)))

    def odd_headers(self):
        self.start()
        names = ["te", ":path", ":method", ":status", "Upper-Case", "", "a b", "grpc-timeout", "grpc-encoding", "content-type",
                 "grpc-accept-encoding", "authorization", "traceparent", "x-bin", "grpc-status", "connection", "host", "\0",
                 "transfer-encoding", "content-length", "grpc-tags-bin", "grpc-previous-rpc-attempts", "user-agent"]
        values = ["", "0", "gzip", "deflate", "-1", "1n", "99999999999999S", "a" * 5000, "\r\nx: y", "\0", "\xff", "trailers",
                  "Bearer x", "!!!", "identity,gzip"]
        for stream in range(1, 2 * self.rng.randint(1, 10), 2):
            extra = [(self.rng.choice(names), self.rng.choice(values)) for _ in range(self.rng.randint(0, 6))]
            block = self.headers(extra, content_type=self.rng.choice(["application/grpc", "application/grpc+proto", "text/html",
                                                                      ""]))
            cut = self.rng.randint(0, len(block))
            flags = self.rng.choice([0, END_STREAM])
            if self.rng.random() < 0.5:
                self.send(frame(HEADERS, flags | END_HEADERS, stream, block))
            else:
                self.send(frame(HEADERS, flags, stream, block[:cut]),
                          frame(CONTINUATION, self.rng.choice([0, END_HEADERS]), self.rng.choice([stream, stream + 2]),
                                block[cut:]))
            self.send(frame(DATA, self.rng.choice([0, END_STREAM]), stream, self.config() + self.bytes(50)))

    def header_flood(self):
        self.start()
        self.send(frame(HEADERS, 0, 1, self.headers()))
        for _ in range(self.rng.randint(1, 200)):  # The headers have no end.
            self.send(frame(CONTINUATION, 0, 1, self.encoder.encode([("x" + str(self.rng.random()), "y" * 1000)])))

    def hpack(self):
        self.start()
        # One large entry is followed by references to it, of a byte each.
        self.send(frame(HEADERS, END_HEADERS, 1, self.headers([("big", "z" * 3900)]) + b"\xbe" * self.rng.choice([10, 100, 15000])),
                  frame(HEADERS, END_HEADERS, 3, self.bytes(3000)),
                  frame(HEADERS, END_HEADERS, 5, b"\x3f\xff\xff\xff\xff\x0f" + b"\x7f" * 50))

    def odd_data(self):
        self.start()
        self.send(frame(HEADERS, END_HEADERS, 1, self.headers()))
        for _ in range(self.rng.randint(1, 20)):
            payload = self.bytes(200)
            self.send(frame(DATA, self.rng.choice([0, END_STREAM, PADDED, PADDED | END_STREAM]),
                            self.rng.choice([1, 1, 1, 0, 3, 2]), payload))

    def resets(self):  # "Rapid reset".
        self.start()
        for stream in range(1, 2 * self.rng.randint(1, 2000), 2):
            self.send(frame(HEADERS, END_HEADERS, stream, self.headers(path=self.rng.choice(PATHS[:4]))),
                      frame(DATA, 0, stream, self.config()) if self.rng.random() < 0.3 else b"",
                      frame(RST_STREAM, 0, stream, struct.pack(">I", self.rng.randint(0, 20))))

    def floods(self):
        self.start()
        kind = self.rng.choice([
            lambda: frame(PING, 0, 0, self.rng.randbytes(8)),
            lambda: frame(PING, 1, 0, self.rng.randbytes(8)),
            lambda: frame(SETTINGS, 0, 0),
            lambda: frame(SETTINGS, 0, 0, struct.pack(">HI", self.rng.randint(0, 9), self.rng.getrandbits(32))),
            lambda: frame(PRIORITY, 0, 2 * self.rng.randint(0, 10**6) + 1, self.rng.randbytes(5)),
            lambda: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self.rng.choice([0, 1, 2**31 - 1]))),
            lambda: frame(DATA, 0, 1),
            lambda: frame(RST_STREAM, 0, 1, b"\0\0\0\0"),
            lambda: frame(GOAWAY, 0, 0, b"\0" * 8 + self.bytes(100))])
        self.send(frame(HEADERS, END_HEADERS, 1, self.headers(path=PATHS[0])))
        for _ in range(self.rng.randint(1, 3000)):
            self.socket.sendall(kind())

    def grpc_framing(self):
        self.start()
        self.send(frame(HEADERS, END_HEADERS, 1, self.headers(path=self.rng.choice(PATHS[:6]))))
        parts = self.rng.choice([
            [message(b"", length=2**32 - 1)], [message(b"", length=2**31)], [message(self.bytes(100), flag=1)],
            [message(self.bytes(100), flag=self.rng.getrandbits(8))], [b"\0"], [b"\0\0\0"], [self.config(), b"\0\0\0\0\5ab"],
            [self.config(), message(self.bytes(500))], [self.config()] + [message(b"\x22\x00")] * 200,
            [message(b"\0" * 16000, length=1 << 20)]])
        for part in parts:
            self.send(frame(DATA, 0, 1, part))
        if self.rng.random() < 0.5:
            self.send(frame(DATA, END_STREAM, 1))

    def mutated(self):
        whole = bytearray(PREFACE + frame(SETTINGS, 0, 0) +
                          frame(HEADERS, END_HEADERS, 1, self.headers(path=PATHS[0])) +
                          frame(DATA, 0, 1, self.config()) +
                          frame(DATA, 0, 1, message(b"\x12\x07\x12\x05hello")) +
                          frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1000)) + frame(DATA, END_STREAM, 1))
        for _ in range(self.rng.randint(1, 8)):
            at = self.rng.randrange(len(whole))
            choice = self.rng.randrange(3)
            if choice == 0:
                whole[at] ^= 1 << self.rng.randrange(8)
            elif choice == 1:
                del whole[at:at + self.rng.randint(1, 10)]
            else:
                whole[at:at] = self.bytes(10)
        self.send(bytes(whole))

    def half_open(self):  # Streams begin, up to any point, and are left like that.
        self.start()
        for stream in range(1, 2 * self.rng.randint(1, 60), 2):
            self.send(frame(HEADERS, END_HEADERS, stream, self.headers(path=self.rng.choice(PATHS[:3]))))
            if self.rng.random() < 0.7:
                self.send(frame(DATA, 0, stream, self.config()))
            if self.rng.random() < 0.3:
                self.send(frame(DATA, 0, stream, message(b"\x12\x07\x12\x05hello")))


def main():
    why = find_h2()
    if why is not None:
        print("skipped:", why)
        return SKIPPED
    print(f"CHAOS_SEED={SEED}", flush=True)
    rng = random.Random(SEED)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(folder)
        try:
            good = GoodCall(server.port)
            expected = good.translate("Open the menu.")
            assert expected
            memory, descriptors = server.memory_mb(), server.descriptors()
            deadline, kinds = time.monotonic() + SECONDS, {}
            for call in range(CALLS):
                if time.monotonic() > deadline:
                    break
                kind = Attack(server.port, rng).run()
                kinds[kind] = kinds.get(kind, 0) + 1
                assert server.process.poll() is None, f"{kind} ended the server:\n{server.log()}"
                if call % 10 == 9:
                    try:
                        assert good.translate("Open the menu.") == expected
                    except AssertionError as error:  # A full server is not broken.
                        if "with 14" not in str(error):
                            raise
            print(kinds)
            settled = time.monotonic() + 60
            while True:  # Half-open sessions end by their time limits.
                left = (server.metric("leapstream_slots_used"), server.descriptors() - descriptors,
                        server.memory_mb() - memory)
                if left[0] == 0 and left[1] <= 2 and left[2] <= MEMORY_MB:
                    break
                assert time.monotonic() < settled, f"of permits, descriptors and MB {left} are left:\n{server.log()}"
                time.sleep(0.2)
            assert good.translate("Open the menu.") == expected, "on the connection that was there all the time"
            assert GoodCall(server.port).translate("Open the menu.") == expected
            server.process.terminate()
            assert server.process.wait(60) == 0, server.log()
        finally:
            server.process.kill()
    print(f"{sum(kinds.values())} connections; left were permits, descriptors, MB:", left)
    return 0


if __name__ == "__main__":
    sys.exit(main())
