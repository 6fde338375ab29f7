"""onnxruntime-web and the same net, for benchmarks/live.py to compare with: size and speed."""

import base64
import gzip
import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

# What a page opened from disk has to contain beside the net.
PARTS = ("dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm")
# In Node, whose engine is that of Chromium, with the WebAssembly that browsers get.
SCRIPT = """
import fs from "fs";
import * as ort from "onnxruntime-web";
ort.env.wasm.numThreads = 1;
const [net, file] = process.argv.slice(2);
const options = { executionProviders: ["wasm"] };
const session = await ort.InferenceSession.create(new Uint8Array(fs.readFileSync(net)), options);
const { shape, values } = JSON.parse(fs.readFileSync(file));
const length = shape.slice(1).reduce((a, b) => a * b);
const FETCHES = { classify: ["logits"], explain: ["logits", "contribution_map"] };
const times = { classify: [], explain: [] };
for (let i = 0; i < shape[0]; i++) {
  const pixels = Float32Array.from(values.slice(i * length, (i + 1) * length), (v) => v / 255);
  const feeds = { images: new ort.Tensor("float32", pixels, [1, ...shape.slice(1)]) };
  const ids = session.inputNames.find((name) => name.endsWith("class_ids"));
  if (ids) feeds[ids] = new ort.Tensor("int32", Int32Array.of(-1), [1]);
  for (const [name, fetches] of Object.entries(FETCHES)) {
    const start = performance.now();
    await session.run(feeds, fetches);
    times[name].push(performance.now() - start);
  }
}
console.log(JSON.stringify(times));
"""


def measure(ort: Path, onnx: Path, images: np.ndarray) -> dict[str, Any]:
    """Megabytes of a page with onnxruntime-web and a net, and milliseconds by one thread in Node.

    Args:
        ort: folder of the package onnxruntime-web.
        onnx: file of the net, as `net.export` writes it.
        images: `(N, H, W, 3)`, uint8.
    """
    files = [*(ort / part for part in PARTS), onnx]
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "images.json"
        data.write_text(json.dumps({"shape": images.shape, "values": images.ravel().tolist()}))
        done = subprocess.run(
            ["node", "--input-type=module", "-", onnx.resolve(), data],
            cwd=ort,
            input=SCRIPT,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    times = json.loads(done.stdout)
    return {
        "megabytes": sum(len(packed(file.read_bytes())) for file in files) / 1e6,
        "megabytes_without_net": sum(len(packed(file.read_bytes())) for file in files[:-1]) / 1e6,
        **{
            f"{name}_milliseconds": {"median": statistics.median(values), "max": max(values)}
            for name, values in times.items()
        },
    }


def packed(data: bytes) -> str:
    """Bytes as a page holds them."""
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()
