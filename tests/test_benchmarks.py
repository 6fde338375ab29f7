"""The benchmark of the layers, on a net small enough for a test."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.tensorflow
ROOT = Path(__file__).resolve().parents[1]


def test_the_benchmark_records_times_and_their_conditions(tmp_path):
    flags = ["--rank-scale", "0.02", "--image-size", "8", "--batch-size", "2"]
    flags += ["--repetitions", "1", "--operations", "forward", "--modes", "graph"]
    flags += ["--precisions", "float32"]
    output = tmp_path / "times.json"
    command = [sys.executable, ROOT / "benchmarks/layers.py", *flags, "--output", output]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    record = json.loads(output.read_text())
    rows = record["results"]
    assert [row["contender"] for row in rows] == [
        "factored, float32, graph",
        "patches, float32, graph",
    ]
    for row in rows:
        assert row["relative_difference"] < 1e-5
        assert row["milliseconds_per_image"] > 0
        assert row["memory_growth_mib"] >= 0
    assert set(record["versions"]) == {"python", "coda-keras", "tensorflow", "keras", "numpy"}
    assert record["arguments"]["operations"] == ["forward"]
    assert {"commit", "uncommitted", "hardware", "load_average", "started"} <= record.keys()
