// A notebook's widget (anywidget): the page in a frame, and a way from it to the kernel and back.

function render({ model, el }) {
  const frame = document.createElement("iframe");
  frame.title = "Explanations";
  frame.allow = "clipboard-write";
  Object.assign(frame.style, {
    width: "100%",
    height: `${model.get("height")}px`,
    border: "1px solid #d5dce3",
    borderRadius: "8px",
    resize: "vertical",
  });
  frame.srcdoc = model.get("document");

  const ask = (event) => {
    if (event.source !== frame.contentWindow || event.data?.codaExplorer !== "predict") return;
    const { id, view, image, removed } = event.data;
    model.send({ id, view, image, removed });
  };
  const tell = (answer) => {
    frame.contentWindow?.postMessage({ codaExplorer: "answer", ...answer }, "*");
  };
  window.addEventListener("message", ask);
  model.on("msg:custom", tell);
  el.append(frame);
  return () => {
    window.removeEventListener("message", ask);
    model.off("msg:custom", tell);
  };
}

export default { render };
