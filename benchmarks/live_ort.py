"""A page with onnxruntime-web and a net in it, for benchmarks/live.py to compare with."""

import base64
import gzip
import re
import statistics
from pathlib import Path
from typing import Any

import numpy as np

BUNDLE, BINARY = "dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm"
PAGE = """<!doctype html>
<meta charset="utf-8">
<script type="text/plain" id="bundle">[[bundle]]</script>
<script type="text/plain" id="binary">[[binary]]</script>
<script type="text/plain" id="net">[[net]]</script>
<script type="module">
const bytes = async (id) => {
  const text = atob(document.getElementById(id).textContent);
  const packed = Uint8Array.from(text, (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
};
const code = new TextDecoder().decode(await bytes("bundle")) + `
let session;
onmessage = async ({data}) => {
  try {
    if (data.binary) {
      Object.assign(ort.env.wasm, {wasmBinary: data.binary, numThreads: 1});
      session = await ort.InferenceSession.create(data.net, {executionProviders: ["wasm"]});
      postMessage({inputs: session.inputNames, outputs: session.outputNames});
      return;
    }
    const {images, shape, fetches} = data;
    const feeds = {images: new ort.Tensor("float32", images, shape)};
    if (session.inputNames.includes("class_ids")) {
      feeds.class_ids = new ort.Tensor("int32", Int32Array.of(-1), [1]);
    }
    const start = performance.now();
    const outputs = await session.run(feeds, fetches);
    const milliseconds = performance.now() - start;
    postMessage({milliseconds, logits: [...outputs.logits.data]});
  } catch (error) {
    postMessage({error: String(error)});
  }
};`;
const url = URL.createObjectURL(new Blob([code], {type: "text/javascript"}));
const worker = new Worker(url, {type: "module"});
globalThis.asked = (message) => new Promise((resolve) => {
  worker.onmessage = ({data}) => resolve(data);
  worker.postMessage(message);
});
globalThis.opened = await asked({binary: await bytes("binary"), net: await bytes("net")});
</script>
"""
OPENED = """
const [done] = arguments;
const look = () => globalThis.opened ? done(opened) : setTimeout(look, 20);
look();
"""
ASK = """
const [images, shape, fetches, done] = arguments;
asked({images: Float32Array.from(images), shape, fetches}).then(done);
"""


def measure(
    driver: Any, folder: Path, ort: Path, onnx: Path | None, images: np.ndarray
) -> dict[str, Any]:
    """Sizes of a page with onnxruntime-web; with a net also its times in a worker, one thread."""
    bundle = (ort / BUNDLE).read_text(encoding="utf-8")
    # A worker made of text can import nothing: the names that the bundle exports become an object.
    exported = re.search(r"export\s*\{([^}]*)\}", bundle)
    if exported is None:
        raise ValueError(f"{ort / BUNDLE} exports nothing.")
    pairs = [pair.split(" as ") for pair in exported[1].split(",")]
    names = ",".join(f'"{pair[-1].strip()}":{pair[0].strip()}' for pair in pairs)
    bundle = bundle.replace(exported[0], f"const ort={{{names}}}")
    parts = {
        "bundle": packed(bundle.encode()),
        "binary": packed((ort / BINARY).read_bytes()),
        "net": packed(onnx.read_bytes()) if onnx else "",
    }
    text = re.sub(r"\[\[(\w+)\]\]", lambda match: parts[match[1]], PAGE)
    found: dict[str, Any] = {
        "wasm_megabytes": (ort / BINARY).stat().st_size / 1e6,
        "megabytes_without_net": (len(parts["bundle"]) + len(parts["binary"])) / 1e6,
        "megabytes": len(text) / 1e6 if onnx else None,
    }
    if onnx is None:
        return found
    path = folder / "ort.html"
    path.write_text(text, encoding="utf-8")
    driver.get(path.as_uri())
    opened = driver.execute_async_script(OPENED)
    if "error" in opened:
        raise ValueError(f"onnxruntime-web does not open {onnx}: {opened['error']}")
    floats = images.astype("float32") / 255
    explained = [name for name in opened["outputs"] if name in ("logits", "contribution_map")]
    for name, fetches in (("classify", ["logits"]), ("explain", explained)):
        times = []
        for image in floats:
            shape = [1, *image.shape]
            answer = driver.execute_async_script(ASK, image.ravel().tolist(), shape, fetches)
            if "error" in answer:
                raise ValueError(f"onnxruntime-web fails: {answer['error']}")
            times.append(answer["milliseconds"])
        found[f"{name}_milliseconds"] = {"median": statistics.median(times), "max": max(times)}
    return found


def packed(data: bytes) -> str:
    """Bytes as a page holds them."""
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()
