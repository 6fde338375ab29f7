// Starts the explorer on a page that holds its data.

import { Engine } from "./engine.js";
import { Explorer } from "./app.js";
import { Source } from "./source.js";
import { fromBase64, toBase64, unpack } from "./arrays.js";
import { fromFragment, toFragment } from "./state.js";
import { openLive } from "./live.js";
import { photographButton, pixelsOf } from "./photograph.js";

const data = JSON.parse(document.getElementById("data").textContent);
const blobs = document.getElementsByClassName("blob");

/** Views of one title are steps of one entry. */
function entriesOf(views) {
  const entries = new Map();
  views.forEach(({ title, step }, index) => {
    const key = title;
    if (!entries.has(key)) entries.set(key, { key, label: title, steps: [], views: [] });
    entries.get(key).steps.push(step ?? index);
    entries.get(key).views.push(index);
  });
  return [...entries.values()];
}

const entries = entriesOf(data.views);
const waiting = new Map();

/** Asks the window around this page, which may have a kernel behind it. */
function askParent(request) {
  const id = crypto.randomUUID?.() ?? String(Math.random());
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    window.parent.postMessage({ codaExplorer: "predict", id, ...request }, "*");
  });
}

window.addEventListener("message", ({ source, data: answer }) => {
  if (source !== window.parent || answer?.codaExplorer !== "answer") return;
  const asked = waiting.get(answer.id);
  waiting.delete(answer.id);
  if (answer.error) asked?.reject(new Error(answer.error));
  else asked?.resolve(answer);
});

async function askServer(request) {
  const response = await fetch(data.predict, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(request),
  }).catch(() => {
    throw new Error("The command that opened this page does not run any more.");
  });
  const answer = await response.json();
  if (answer.error) throw new Error(answer.error);
  return answer;
}

// Nets in this page compute in a worker.
const engine = data.views.some(({ net }) => net) ? new Engine(document.getElementById("worker").textContent) : null;
const photographs = []; // Of the reader, for views that are opened later.

function open(key, step) {
  const entry = entries.find((candidate) => candidate.key === key);
  const view = entry.views[entry.steps.indexOf(step)];
  const manifest = data.views[view];
  const bytes = (index) => fromBase64(blobs[manifest.first + index].textContent);
  const stored = async (index) => unpack(bytes(index));
  if (manifest.net) {
    const first = fromFragment(location.hash).image;
    const net = { engine, number: view, bytes: bytes(manifest.net.blob) };
    return openLive({ manifest, stored, ...net, photographs, first });
  }
  const ask = data.predict === "parent" ? askParent : askServer;
  const predict = (image, removed) => ask({ view, image, removed: toBase64(removed) });
  return new Source(manifest, stored, data.predict ? predict : null);
}

/** Shows a photograph to the nets of this page; returns a sentence. */
async function showPhotograph(file) {
  const [height, width] = explorer.size;
  const data = await pixelsOf(file, [height, width]);
  const picture = { data, shape: [height, width, 3], serial: photographs.length };
  const image = { name: file.name, picture };
  const sources = explorer.sides.map((side) => side.source).filter((source) => source.add);
  photographs.push(image);
  const [index] = await Promise.all(sources.map((source) => source.add(image)));
  explorer.set({ image: index, class: null, contrast: null, layer: null, selection: null });
  const seconds = (sources[0].times.classify / 1000).toFixed(2);
  return `${file.name}, cropped and scaled to ${width}x${height} pixels, which is what the net sees. Predicted in ${seconds} s.`;
}

const link = {
  read: () => location.hash,
  url: () => location.href,
  write(state) {
    try {
      history.replaceState(null, "", `#${toFragment(state)}`);
    } catch {
      // Pages within pages have no link of their own.
    }
  },
};

const explorer = new Explorer(
  document.getElementById("explorer"),
  {
    title: data.title,
    entries,
    open: async (key, step) => open(key, step),
    extra: engine && photographButton(showPhotograph),
    instant: engine !== null,
    noModel: data.noModel,
  },
  link,
);
window.addEventListener("hashchange", () => explorer.follow(location.hash));
// For the console, and for tests.
globalThis.codaExplorer = explorer;
