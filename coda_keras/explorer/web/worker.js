// Computes beside the page: nets, and what they say of pictures.

import { unpack } from "./arrays.js";
import { Net, encoded } from "./net.js";

const KEPT = 32; // Pictures whose next explanation need not begin with a prediction.

const nets = new Map();
const kept = new Map();

/** What a net knows of a picture; `key` is the same for the same picture. */
function linearized({ net, key, picture }) {
  const { net: own, size } = nets.get(net);
  const name = `${net}/${key}`;
  const known = kept.get(name) ?? own.linearize(encoded(picture, size));
  kept.delete(name);
  kept.set(name, known);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  return known;
}

const ANSWERS = {
  /** net: number; description: as network.py writes it; bytes: packed arrays. */
  async open({ net, description, bytes }) {
    nets.set(net, { net: new Net(description, await unpack(bytes)), size: description.size });
    return {};
  },
  /** Returns the logits of a picture {data, channels}. */
  classify: (question) => ({ logits: linearized(question).logits }),
  /** Returns {map, weights} of a class. */
  explain: (question) => linearized(question).explain(question.id),
  /** Returns the logits of all of the picture, and of what is left without the removed pixels. */
  without(question) {
    const { net, size } = nets.get(question.net);
    const after = net.linearize(encoded(question.picture, size, question.removed)).logits;
    return { before: linearized(question).logits, after };
  },
};

globalThis.onmessage = async ({ data: { turn, kind, ...question } }) => {
  try {
    const start = performance.now();
    const answer = await ANSWERS[kind](question);
    globalThis.postMessage({ turn, milliseconds: performance.now() - start, ...answer });
  } catch (error) {
    globalThis.postMessage({ turn, error: error.message || String(error) });
  }
};
