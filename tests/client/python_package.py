"""Makes the Python package as its wheel has it, without PyPI: the sources, and the descriptors from protoc."""

import shutil
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PROTOS = ("leapstream/v1/simultaneous_translation.proto", "google/rpc/status.proto", "google/rpc/error_details.proto")


def make(folder):
    """Makes `folder`/leapstream; `folder` is for PYTHONPATH."""
    package = Path(folder) / "leapstream"
    shutil.copytree(REPOSITORY / "client/python/leapstream", package, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["protoc", "-I", REPOSITORY / "proto", "--include_imports",
                    f"--descriptor_set_out={package}/protocol.binpb", *PROTOS], check=True)
