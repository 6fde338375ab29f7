// Runs an ONNX file in onnxruntime-web (WebAssembly, one thread) on images from a file.
//
//   node run_onnx.mjs '{"packages": ".../node_modules", "model": "net.onnx", "images": "images.bin",
//     "shape": [32, 32, 3], "batch": 1, "seconds": 0, "ids": -1, "outputs": "folder"}'
//
// Writes every output as raw numbers into the folder, and prints shapes and milliseconds a batch as
// JSON. `ids` is one for all images or those of one batch; null leaves them out.
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const job = JSON.parse(process.argv[2]);
const ort = createRequire(join(job.packages, "here.js"))("onnxruntime-web");
ort.env.wasm.numThreads = 1;
ort.env.logLevel = "error";

const bytes = readFileSync(job.images);
const images = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
const size = job.shape.reduce((product, n) => product * n);
const session = await ort.InferenceSession.create(readFileSync(job.model), {
  logSeverityLevel: 3,
});

function feeds(first) {
  const part = images.subarray(first * size, (first + job.batch) * size);
  const count = part.length / size;
  const found = { images: new ort.Tensor("float32", part, [count, ...job.shape]) };
  if (job.ids !== null && job.ids !== undefined) {
    const ids = Array.isArray(job.ids) ? job.ids : Array(count).fill(job.ids);
    found.target_class_ids = new ort.Tensor("int32", Int32Array.from(ids), [ids.length]);
  }
  return found;
}

const parts = {};
const shapes = {};
for (let first = 0; first * size < images.length; first += job.batch) {
  const answer = await session.run(feeds(first));
  for (const [name, tensor] of Object.entries(answer)) {
    (parts[name] ??= []).push(Buffer.from(tensor.data.buffer.slice(
      tensor.data.byteOffset, tensor.data.byteOffset + tensor.data.byteLength)));
    shapes[name] = tensor.dims.slice(1);
  }
}
for (const [name, buffers] of Object.entries(parts)) {
  writeFileSync(join(job.outputs, `${name}.bin`), Buffer.concat(buffers));
}

async function repeated(calls) {
  const milliseconds = [];
  const end = performance.now() + 1000 * job.seconds;
  while (performance.now() < end || milliseconds.length < calls) {
    const begin = performance.now();
    await session.run(feeds(0));
    milliseconds.push(performance.now() - begin);
  }
  return milliseconds;
}

// WebAssembly is compiled quickly at first and well while it runs, so the first calls do not count.
if (job.seconds) await repeated(1);
const milliseconds = job.seconds ? await repeated(3) : [];
console.log(JSON.stringify({ shapes, milliseconds }));
