// Views whose net is in the page: it explains pictures that nobody has explained before.

import { Source } from "./source.js";

/**
 * Opens a view.
 *
 * manifest: as network.py or storage.py writes it; images may lack logits and maps, which the net
 * computes. stored(blob): a promise of arrays. engine: an Engine. number: of the net, among those
 * of the engine. bytes: its packed arrays. photographs: the reader's, [{name, picture}]. first: the
 * image that is looked at first; those after it come while it is shown.
 *
 * Returns a Source that can `add` photographs.
 */
export async function openLive({ manifest, stored, engine, number, bytes, photographs, first }) {
  const { net, classes, size } = manifest;
  await engine.ask({ kind: "open", net: number, description: net, bytes });
  const times = {};

  const ask = async (kind, picture, more) => {
    const { data, shape } = typeof picture === "number" ? (await stored(picture)).picture : picture;
    const question = { kind, net: number, key: keyOf(picture), picture: { data, channels: shape[2] } };
    const answer = await engine.ask({ ...question, ...more });
    times[kind] = answer.milliseconds;
    return answer;
  };
  const keyOf = (picture) => (typeof picture === "number" ? picture : `photograph ${picture.serial}`);

  const load = async (wanted) => {
    if (typeof wanted === "number") return stored(wanted);
    if (wanted.data) return { picture: wanted };
    const { map, weights } = await ask("explain", wanted.picture, { id: wanted.id });
    return { map: { data: map, shape: size }, weights: { data: weights, shape: [...size, 6] } };
  };

  const completed = async (image) => {
    const logits = image.logits ?? (await ask("classify", image.picture)).logits;
    const known = image.maps ?? {};
    const maps = classes.map((_, id) => [id, known[id] ?? { picture: image.picture, id }]);
    return { label: null, layers: {}, ...image, logits, maps: Object.fromEntries(maps) };
  };

  const waiting = [...manifest.images, ...photographs];
  const images = [];
  for (const image of waiting.splice(0, first + 1)) images.push(await completed(image));
  const predict = (index, removed) => ask("without", images[index].picture, { removed });
  const source = new Source({ ...manifest, images }, load, predict);
  // One after the other, so that two views side by side have them in the same order.
  let turn = Promise.resolve();
  const add = (image) => {
    turn = turn.then(async () => {
      images.push(await completed(image));
      source.onload();
      return images.length - 1;
    });
    return turn;
  };
  waiting.forEach(add);
  return Object.assign(source, { add, times, instant: true });
}
