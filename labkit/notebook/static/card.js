// A card of an exercise and its buttons, or the list of a lesson's exercises. What it says is HTML
// that comes from labkit/notebook/exercises/buttons.py.

const SAY = {
  buttons: { zh: "这道题", en: "This exercise" },
  check: { zh: "再检查", en: "Check again" },
  hint: { zh: "提示", en: "Hint" },
  solution: { zh: "一种写法", en: "Solution" },
  reset: { zh: "从头再来", en: "Start over" },
};

function render({ model, el: root }) {
  stage(root, "card");
  const told = el("div", { class: "jp-RenderedHTMLCommon", "aria-live": "polite" });
  const buttons = model.get("buttons").map((name) => makeButton(model, name));
  root.append(told);
  if (buttons.length) root.append(el("div", { class: "labkit-buttons", role: "group", "aria-label": both(SAY.buttons) }, buttons));
  const show = () => tell(told, model.get("told"));
  show();
  model.on("change:told", show);
  const forget = sayEnd(root, () => {
    for (const each of buttons) each.disabled = true;
  });
  return () => {
    forget();
    model.off("change:told", show);
  };
}

function makeButton(model, name) {
  const ask = () => {
    model.send({ ask: name });
  };
  // The answer stands in the cell, and may have been changed since.
  return el("button", { type: "button", onclick: name === "check" ? runCell : ask }, say(SAY[name]));
}

/** What is said already keeps its element: what the reader has opened there stays open. */
function tell(place, parts) {
  place.said ??= [];
  parts.forEach((html, at) => {
    if (place.said[at] === html) return;
    const part = el("div");
    part.innerHTML = html; // of Card, which escapes what is not its own
    if (place.children[at]) place.children[at].replaceWith(part);
    else place.append(part);
  });
  while (place.children.length > parts.length) place.lastChild.remove();
  place.said = parts;
}

export default { initialize, render };
