"""The packages of cmake/package.cmake: what is in them, and that the tarball runs from any folder.

Argument: the build folder. tests/docker/chroot_test.sh installs the packages in a bare Debian.
"""

import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

BUILD = Path(sys.argv[1]).resolve()
TIMEOUT = 60  # Seconds for each wait.
DEPENDENCIES = {  # What each package must depend on; an entry may be any of several.
    "leapstream-server": ["adduser", "libgrpc++1.51", "libprotobuf32", "libyaml-cpp0.7"],
    "leapstream-client": ["libgrpc++1.51", "libcairo2|librsvg2-2", "libsndfile1"],
    "libleapstream-client0.1": ["libgrpc++1.51", "libprotobuf32"],
    "libleapstream-client-dev": ["libleapstream-client0.1", "libabsl-dev"],
}
FILES = {
    "leapstream-server": {
        "etc/leapstream/server.yaml", "lib/systemd/system/leapstream-server.service", "usr/bin/leapstream-server",
        "usr/bin/leapstream-export", "usr/bin/leapstream-calibrate", "usr/share/man/man8/leapstream-server.8",
        "usr/share/man/man1/leapstream-export.1", "usr/share/man/man1/leapstream-calibrate.1",
        "usr/share/leapstream/models/en-de/model.json", "usr/share/leapstream/models/en-de/weights.safetensors",
        "usr/share/doc/leapstream/docs/install.md", "usr/share/doc/leapstream/copyright",
        "usr/share/doc/leapstream/Apache-2.0"},
    "leapstream-client": {
        "usr/bin/leapstream", "usr/share/man/man1/leapstream.1", "usr/share/bash-completion/completions/leapstream",
        "usr/share/zsh/vendor-completions/_leapstream", "usr/share/fish/vendor_completions.d/leapstream.fish"},
    "libleapstream-client0.1": {"usr/lib/libleapstream-client.so.0.1"},
    "libleapstream-client-dev": {
        "usr/include/leapstream/client/client.h", "usr/lib/libleapstream-client.so", "usr/lib/pkgconfig/leapstream.pc",
        "usr/lib/cmake/leapstream/leapstream-config.cmake",
        "usr/share/leapstream/proto/leapstream/v1/simultaneous_translation.proto"},
}


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True,
                          **options).stdout


class PackageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.TemporaryDirectory(prefix="leapstream-package-", ignore_cleanup_errors=True)
        cls.folder = Path(cls.work.name)
        # Nothing is compressed: that would take longer than all else here.
        run("cpack", "--config", BUILD / "CPackConfig.cmake", "-B", cls.folder, "-G", "DEB;TGZ", "-D",
            "CPACK_DEBIAN_COMPRESSION_TYPE=none", cwd=BUILD)

    @classmethod
    def tearDownClass(cls):
        cls.work.cleanup()

    def package(self, name):
        (found,) = self.folder.glob(f"{name}_*.deb")
        return found

    def files(self, name):
        listed = run("dpkg-deb", "--contents", self.package(name)).splitlines()
        return {re.sub(r"^usr/lib/systemd", "lib/systemd", line.split(None, 5)[5].split(" -> ")[0].removeprefix("./"))
                for line in listed if not line.startswith("d")}

    def test_the_packages_have_their_files_and_dependencies(self):
        everything = {}
        for name, wanted in FILES.items():
            with self.subTest(package=name):
                files = self.files(name)
                self.assertEqual(wanted - files, set())
                for file in files:
                    self.assertEqual(everything.setdefault(file, name), name, file)
                depends = [re.split(r"[ (|]", each.strip())[0]
                           for each in run("dpkg-deb", "-f", self.package(name), "Depends").split(",")]
                for each in DEPENDENCIES[name]:
                    self.assertTrue(set(each.split("|")) & set(depends), f"{each} of {depends}")
                self.assertNotIn("libtorch", " ".join(depends))
        self.assertEqual({file.split("/")[0] for file in everything}, {"etc", "lib", "usr"})
        # Users of the library see nothing of the layers below.
        headers = {Path(file).relative_to("usr/include/leapstream") for file in everything if "/include/" in file}
        self.assertEqual({str(header.parent) for header in headers}, {"client", "client/hypotheses"})
        exported = run("nm", "-DC", "--defined-only", next(self.unpacked("libleapstream-client0.1").rglob("*.so.0.1")))
        symbols = [line.split(None, 2)[2] for line in exported.splitlines()]
        self.assertTrue(any(symbol.startswith("leapstream::client::Client::Connect(") for symbol in symbols))
        self.assertEqual([symbol for symbol in symbols if not symbol.startswith("leapstream::client::")], [])

    def unpacked(self, name):
        folder = self.folder / name
        if not folder.exists():
            run("dpkg-deb", "--extract", self.package(name), folder)
        return folder

    def test_copyright_names_what_is_linked_in(self):
        for name in FILES:
            with self.subTest(package=name):
                text = (self.unpacked(name) / f"usr/share/doc/{name}/copyright").read_text()
                for part in ("leapstream authors", "SentencePiece", "Darts-clone", "abseil", "cli11", "nlohmann-json",
                             "Boost.Beast", "embedded model"):
                    self.assertIn(part, text)
                # Each licence that is named is told of, too.
                named = set(re.split(r" and |\n", "\n".join(re.findall(r"(?m)^License: (.+)$", text))))
                told = set(re.findall(r"(?m)^License: (\S+)\n ", text))
                self.assertEqual(named, told)

    def test_what_the_administrator_changes_is_kept(self):
        control = self.folder / "control"
        run("dpkg-deb", "--control", self.package("leapstream-server"), control)
        self.assertEqual((control / "conffiles").read_text(), "/etc/leapstream/server.yaml\n")
        for script in ("postinst", "prerm", "postrm"):
            run("sh", "-n", control / script)

    def test_the_service(self):
        tree = self.unpacked("leapstream-server")
        configuration = (tree / "etc/leapstream/server.yaml").read_text()
        # An installation opens no port to other machines, and needs no model of its own.
        self.assertNotIn("0.0.0.0", configuration)
        self.assertNotRegex(configuration, r"(?m)^models:")
        (unit,) = tree.rglob("leapstream-server.service")
        settings = dict(line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line and line[0] != "#")
        program, *arguments = settings["ExecStart"].split()
        self.assertTrue((tree / program[1:]).exists())
        self.assertEqual(arguments, ["--config", "/etc/leapstream/server.yaml"])
        times = [int(re.search(rf"(?m)^{name}: (\d+)s?$", configuration)[1]) for name in ("drain_delay", "drain_timeout")]
        self.assertGreater(int(settings["TimeoutStopSec"]), sum(times) + 10)

    def test_the_tarball_runs_from_any_folder(self):
        (tarball,) = self.folder.glob("*.tar.gz")
        elsewhere = self.folder / "else where"
        elsewhere.mkdir()
        run("tar", "-xzf", tarball, "-C", elsewhere)
        (tree,) = elsewhere.iterdir()
        moved = tree.rename(self.folder / "moved")
        port_file = self.folder / "port"
        settings = run(moved / "bin/leapstream-server", "--print-config", cwd="/")
        self.assertIn(str(moved / "share/leapstream/models/en-de"), settings)
        self.assertIn(f"# {moved}/etc/leapstream/server.yaml:", settings)
        server = subprocess.Popen(
            [moved / "bin/leapstream-server", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0",
             "--admin-listen", "127.0.0.1:0", "--port-file", port_file], cwd="/", stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        end = time.monotonic() + TIMEOUT
        while not port_file.exists():
            self.assertTrue(server.poll() is None and time.monotonic() < end, "the server does not serve")
            time.sleep(0.01)
        translated = run(moved / "bin/leapstream", "translate", "--server", f"127.0.0.1:{port_file.read_text().strip()}",
                         input="The file could not be opened.\n", cwd="/")
        self.assertEqual(translated, "Die Datei konnte nicht geöffnet werden.\n")


if __name__ == "__main__":
    if shutil.which("dpkg-deb") is None:
        sys.exit("dpkg-deb is missing: the packages are Debian's")
    unittest.main(argv=sys.argv[:1], verbosity=2)
