"""Runs every command that README.md and docs/*.md show in a fenced block marked sh, page by page, in a folder of its own.

Arguments: the folder of the programs, the repository. A block must say what it holds: sh, text, json, mermaid. A command
fails the test if it fails, unless EXCEPTED says why it is not run; an exception that no page needs fails it, too.
"""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

PROGRAMS, REPOSITORY = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
GOLDEN = REPOSITORY / "tests/golden"
TIMEOUT = 120  # Seconds for each command.

EXCEPTED = {  # Beginnings of commands, and why they are not run.
    "cmake --preset release -B build-cuda": "takes PyTorch's wheel, from PyPI, and a build of everything",
    "cmake --build build-cuda": "the same",
    "./dev ": "builds, tests or installs all of it: this test is a part of that",
    "sudo apt": "needs root and a mirror; tests/docker/chroot_test.sh does it",
    "tar -xzf": "package_test unpacks the tarball",
    "leapstream-0.1.0-linux-x86_64/": "the same",
    "docker build": "there need not be a Docker engine; tests/docker checks the files",
    "docker compose": "the same",
    "arecord -t raw -f S16_LE -r 16000 -c 1 | client/python/examples/recognise.py":
        "pocketsphinx is from PyPI; what it recognised is in tests/golden/hypotheses",
    "fairseq-train": "training takes fairseq and hours; the golden checkpoints were written by it",
    "pip install": "downloads from PyPI",
    "git clone": "downloads from the hub; a golden folder stands for it",
    "leapstream pull": "downloads from the hub; pull_program_test does so from one on 127.0.0.1",
    "build/bin/leapstream pull": "the same",
    "simuleval": "from PyPI; evaluation_program_test speaks its protocol to the bridge",
    "grpcurl": "not in Debian; server_test makes the same call",
}
STAYS = ("leapstream-server --model", "leapstream-server --listen", "leapstream web", "leapstream simuleval-bridge")  # They run until stopped.
# Replacements: other ports, since somebody may use the documented ones, and less work.
PORTS = {"50051": "server", "50052": "admin", "8080": "web", "12321": "bridge"}
REPLACED = [
    (r"\b0\.0\.0\.0:", "127.0.0.1:"),
    (r"docs/test\.(en|de)", r"test.\1"),
    (r"(?<=\s)/models/", "served/"),
    (r"--sessions 128\b(.*)--seconds 10\b", r"--sessions 4\1--seconds 1"),
    (r"(leapstream (?:translate|generate|perplexity))(?!.* --server)", r"\1 --server localhost:50051"),
    (r"^python3 (- |-m leapstream)", r"/usr/bin/python3 \1"),  # Debian's, whose packages ./dev installs.
    (r"cmake --install build\b", f"cmake --install {PROGRAMS.parent}"),
    (r"^installed/bin/leapstream-server$", "installed/bin/leapstream-server --listen 127.0.0.1:50051 --metrics-listen "
                                           "127.0.0.1:0 --admin-listen 127.0.0.1:50052"),
    (r"(leapstream admin \w+)", r"\1 --server 127.0.0.1:50052"),
]
# Servers for pages that do not start one, or start another one: flags besides the addresses.
SERVER = {
    "docs/models.md": ["--model", "models/en-de-speech"],
    "docs/operating.md": ["--model", "served/en-de", "--admin-listen", "127.0.0.1:50052"],
}
# Commands of other pages whose output a page needs.
FIRST = {
    "docs/evaluation.md": "leapstream-export --checkpoint checkpoint_speech.pt --config-yaml config_st.yaml "
                          "--target-dict spm_unigram10000_st.txt --target-spm spm_unigram10000_st.model "
                          "--source-lang en --target-lang de --output models/en-de-speech",
}
DEFAULT_SERVER = ["--model", "model/pretrained/en-de"]


sys.path.insert(0, str(REPOSITORY / "tests/client"))
import python_package  # noqa: E402


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [str(each.getsockname()[1]) for each in sockets]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def blocks(text):
    """(line number, language, lines) of each fenced block."""
    number, language, lines = 0, None, []
    for at, line in enumerate(text.splitlines(), 1):
        if not line.startswith("```"):
            lines.append(line)
        elif language is None:
            number, language, lines = at, line[3:].strip(), []
        else:
            yield number, language, lines
            language = None


def commands(lines):
    """The commands as they are typed: continued lines and here documents belong to the line that begins them, and lines
    that only set a variable to the commands of their block that come after them."""
    lines = iter(lines)
    settings = ""
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        if re.fullmatch(r"\w+=\S*", line):
            settings += line + "\n"
            continue
        while line.endswith("\\"):
            line += "\n" + next(lines)
        here = re.search(r"<<'?(\w+)'?", line)
        if here:
            for more in lines:
                line += "\n" + more
                if more == here.group(1):
                    break
        yield settings + line


def prepare(folder):
    """Makes everything that the pages take for granted: the repository, and the reader's own files."""
    for name in ("client", "docs", "model", "proto", "tests"):
        (folder / name).symlink_to(REPOSITORY / name)
    shutil.copytree(REPOSITORY / "docker", folder / "docker")
    (folder / "build").mkdir()
    (folder / "build/bin").symlink_to(PROGRAMS)
    for name, source in {
            "test.en": "simuleval/test20.en", "test.de": "simuleval/test20.de", "source.en": "simuleval/test20.en",
            "checkpoint_best.pt": "reference/checkpoints/base.pt",
            "dict.en.txt": "reference/data/joint/dict.en.txt", "dict.de.txt": "reference/data/joint/dict.de.txt",
            "spm.model": "reference/data/joint/spm.model",
            "checkpoint_moses.pt": "bpe/bpe_waitk.pt", "bpe.en.txt": "bpe/dict.en.txt", "bpe.de.txt": "bpe/dict.de.txt",
            "code": "tokenise/codes.v02", "nonbreaking_prefix.en": "tokenise/prefixes.en.txt",
            "checkpoint_speech.pt": "speech/checkpoints/speech_leap.pt", "config_st.yaml": "speech/data/config_st.yaml",
            "lm.pt": "language_models/checkpoints/lm_leap_adaptive.pt", "lm.dict.txt": "language_models/en/dict.txt",
            "lm.spm.model": "language_models/en/spm.model", "test.txt": "language_models/en/eval.txt",
            "lm_mt.pt": "language_models/checkpoints/lm_mt_leap.pt", "lm_mt.dict.txt": "language_models/mt/dict.txt",
            "lm_mt.spm.model": "language_models/mt/spm.model",
            "gcmvn.npz": "speech/data/gcmvn.npz", "spm_unigram10000_st.txt": "speech/data/spm_unigram400_st.txt",
            "spm_unigram10000_st.model": "speech/data/spm_unigram400_st.model", "talk.wav": "speech/wav/test-1.wav",
            "checkpoint_s2t.pt": "offline_speech/checkpoints/conv_offline.pt",
            "config_s2t.yaml": "offline_speech/data/config_utterance.yaml",
            "spm_de.txt": "offline_speech/data/spm_de.txt", "spm_de.model": "offline_speech/data/spm_de.model",
    }.items():
        shutil.copy(GOLDEN / source, folder / name)
    shutil.copytree(GOLDEN / "hugging_face/checkpoints/marian", folder / "opus-mt-en-de")
    (folder / "terms.tsv").write_text("package\tPaket\nLibreOffice\n")
    (folder / "recordings.txt").write_text(f"{GOLDEN}/speech/wav/test-1.wav\n" * len(
        (folder / "test.de").read_text().splitlines()))
    (folder / "token").write_text("0123456789abcdef0123456789abcdef\n")
    (folder / "served").mkdir()
    for name in ("en-de-1", "en-de-2"):
        (folder / "served" / name).symlink_to(REPOSITORY / "model/pretrained/en-de")
    (folder / "served/en-de").symlink_to("en-de-1")
    python_package.make(folder / "site")
    (folder / "tools").mkdir()
    arecord = folder / "tools/arecord"  # This microphone hears the talk.
    arecord.write_text("#!/bin/sh\ntail -c +45 talk.wav\n")
    arecord.chmod(0o755)


class Page:
    def __init__(self, name, folder, used):
        self.name, self.folder, self.used = name, folder, used
        prepare(folder)
        self.ports = dict(zip(PORTS, free_ports(len(PORTS))))
        self.running = []
        self.server = None
        self.environment = {**os.environ, "PATH": f"{folder}/tools:{PROGRAMS}:{os.environ['PATH']}", "NO_COLOR": "1",
                            "PYTHONPATH": f"{folder}/site"}
        if name in FIRST:
            self.run(FIRST[name])

    def with_our_ports(self, text):
        return re.sub("|".join(PORTS), lambda port: self.ports[port.group()], text)

    def start(self, arguments, port):
        """Starts a program, with the arguments of Popen, and waits until it answers on its port."""
        log = open(self.folder / "background.log", "w")
        process = subprocess.Popen(arguments, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        log.close()
        self.running.append(process)
        end = time.monotonic() + TIMEOUT
        while not answers(port):
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"does not serve: {arguments}\n{(self.folder / 'background.log').read_text()}")
            time.sleep(0.05)
        return process

    def need_server(self):
        if answers(self.ports["50051"]):
            return
        arguments = SERVER.get(self.name, DEFAULT_SERVER)
        self.server = self.start(
            [PROGRAMS / "leapstream-server", *map(self.with_our_ports, arguments), "--listen",
             f"127.0.0.1:{self.ports['50051']}"], self.ports["50051"])
        self.environment["PID"] = str(self.server.pid)

    def run(self, command):
        for begin in EXCEPTED:
            if command.startswith(begin):
                self.used.add(begin)
                return
        text = command
        for pattern, replacement in REPLACED:
            text = re.sub(pattern, replacement, text)
        program = text.removeprefix("build/bin/").removeprefix("installed/bin/")
        if program.startswith(STAYS):
            if program.startswith("leapstream web"):
                self.need_server()
            ports = [port for port in PORTS if port in text]
            own = ports[-1]  # The port that it serves comes after those that it calls.
            if answers(self.ports[own]):  # A reader stops the program before.
                self.stop()
            self.start(["bash", "-c", "exec " + self.with_our_ports(text)], self.ports[own])
            return
        if re.search(r"\bleapstream (translate|admin|load)|\$PID", text):
            self.need_server()
        result = subprocess.run(["bash", "-euo", "pipefail", "-c", self.with_our_ports(text)], cwd=self.folder,
                                env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                timeout=TIMEOUT)
        if result.returncode != 0:
            raise AssertionError(f"exit status {result.returncode}\n{result.stdout}{result.stderr}")

    def close(self):
        self.stop()

    def stop(self):
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.running = []


class CommandsTest(unittest.TestCase):
    def test_every_command(self):
        used, run = set(), 0
        for path in [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]:
            name = str(path.relative_to(REPOSITORY))
            with tempfile.TemporaryDirectory(prefix="leapstream-docs-", ignore_cleanup_errors=True) as folder:
                with contextlib.closing(Page(name, Path(folder), used)) as page:
                    for line, language, lines in blocks(path.read_text()):
                        with self.subTest(page=name, line=line):
                            self.assertIn(language, {"sh", "text", "json", "mermaid"}, "say what the block holds")
                        for command in commands(lines) if language == "sh" else []:
                            with self.subTest(page=name, command=command):
                                page.run(command)
                                run += 1
        self.assertGreater(run, 15)
        self.assertEqual(used, set(EXCEPTED), "an exception that no page needs")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
