"""Puts the descriptors of the protocol into the wheel; the rest is in pyproject.toml."""

import pathlib

import setuptools
from grpc_tools import protoc
from setuptools.command.build_py import build_py

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"
FILES = ["leapstream/v1/simultaneous_translation.proto", "google/rpc/status.proto", "google/rpc/error_details.proto"]


class BuildPy(build_py):
    def run(self):
        super().run()
        well_known = pathlib.Path(protoc.__file__).with_name("_proto")
        output = pathlib.Path(self.build_lib) / "leapstream/protocol.binpb"
        if protoc.main(["protoc", f"-I{PROTO}", f"-I{well_known}", "--include_imports", f"--descriptor_set_out={output}",
                        *FILES]) != 0:
            raise SystemExit(f"protoc could not read {PROTO}: build the wheel within leapstream's repository")


setuptools.setup(cmdclass={"build_py": BuildPy})
