// Starts the explorer as a tab of TensorBoard.

import { Explorer } from "./app.js";
import { Source } from "./source.js";
import { button, h } from "./elements.js";
import { toBase64, unpack } from "./arrays.js";
import { toFragment } from "./state.js";

const LINK_KEY = "p.explanations.view"; // TensorBoard keeps what begins with p.<plugin>.

const NOTHING = `There are no explanations in these logs yet.

Recipes write them after every epoch, and so does coda_keras.tensorboard.callbacks.ExplanationBoard; \
recipes/interpret.py --logdir writes maps of all methods. This tab finds them as soon as they are there.`;

const OLD = `These runs were written by a version of coda-keras that stored pictures only, which are under Images:

RUNS

Train again, or write their explanations anew by coda_keras.tensorboard.summaries.write_view, to look into them here.`;

const NO_MODEL =
  "There is no model behind this tab. Start TensorBoard with --explanations_model=runs/.../model.keras, " +
  "and pixels can be taken away.";

async function asked(path, options) {
  const response = await fetch(path, options).catch(() => {
    throw new Error("TensorBoard does not answer.");
  });
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  throw new Error(error || `TensorBoard answers with code ${response.status}.`);
}

function catalogueOf({ entries, old, model }) {
  const keyOf = ({ run, tag }) => `${run}/${tag}`;
  const series = entries.map((entry) => ({ ...entry, key: keyOf(entry), label: `${entry.run}: ${entry.tag}` }));
  return {
    title: "Explanations",
    entries: series,
    message: series.length ? "" : old.length ? OLD.replace("RUNS", old.join("\n")) : NOTHING,
    noModel: NO_MODEL,
    async open(key, step) {
      const { run, tag } = series.find((entry) => entry.key === key);
      const place = { run, tag, step };
      const query = (more) => new URLSearchParams({ ...place, ...more });
      const manifest = await (await asked(`view?${query()}`)).json().catch(() => null);
      const read = async (index) => unpack(await (await asked(`blob?${query({ index })}`)).arrayBuffer());
      const predict = async (image, removed) =>
        (
          await asked("predict", {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ ...place, image, removed: toBase64(removed) }),
          })
        ).json();
      return new Source(manifest, read, model ? predict : null);
    },
  };
}

// The link is that of the window around this frame.
function linkOf() {
  const outer = window.parent.location;
  let view = new URLSearchParams(outer.hash.slice(1)).get(LINK_KEY) ?? "";
  return {
    read: () => view,
    url: () => `${outer.origin}${outer.pathname}${outer.search}#explanations&${new URLSearchParams({ [LINK_KEY]: view })}`,
    write: (state) => (view = toFragment(state)),
  };
}

async function start() {
  document.documentElement.lang = "en";
  const sheet = h("link", { rel: "stylesheet", href: "style.css" });
  const root = h("div", {});
  document.head.append(sheet);
  document.body.append(root);
  const link = linkOf();
  const show = async () => {
    try {
      const catalogue = catalogueOf(await (await asked("entries")).json());
      const reload = button("Reload", "Looks for new runs and steps", show, { class: "reload" });
      globalThis.codaExplorer?.end();
      globalThis.codaExplorer = new Explorer(root, { ...catalogue, extra: reload }, link);
    } catch (error) {
      root.replaceChildren(h("p", { class: "message", role: "alert" }, error.message), button("Try again", "", show));
    }
  };
  await show();
}

export { start as render };
