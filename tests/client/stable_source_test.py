#!/usr/bin/env python3
"""Holds the Python client's class to the streams of tests/golden/hypotheses, as source_stabilizer_test.cc does with the
C++ class."""
import json, pathlib, sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "client/python/leapstream"))
from stable_source import StableSource

streams = (ROOT / "tests/golden/hypotheses/streams.jsonl").read_text(encoding="utf-8").splitlines()
assert len(streams) >= 10, len(streams)
for stream in map(json.loads, streams):
    source = StableSource(stream["agreement"])
    for step in stream["steps"]:
        appended = source.add(step["text"], step.get("final", False), step.get("stable_words", 0))
        assert appended == step["appended"], (stream["name"], step, appended)
    assert source.finish() == stream["rest"], stream["name"]
    figures = (source.words, source.repairs, source.repaired_words)
    assert figures == (stream["words"], stream["repairs"], stream["repaired_words"]), (stream["name"], figures)
print(len(streams), "streams")
