// What the scripts of our widgets share; it stands before each of them.

/** An element with attributes, properties' listeners (onclick: ...) and children. */
function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child != null));
  return made;
}

/** Both languages of {zh, en}, each in an element that says which it is. `Code` between backticks. */
function say({ zh, en }, tag = "span") {
  return [
    el(tag, { lang: "zh-Hans" }, coded(zh)),
    tag === "span" ? " " : null,
    el(tag, { lang: "en" }, coded(en)),
  ].filter((child) => child != null);
}

function coded(text) {
  return text.split("`").map((part, at) => (at % 2 ? el("code", {}, part) : part));
}

/** Both languages for an attribute, such as aria-label. */
function both({ zh, en }) {
  return `${zh} · ${en}`;
}

/** The element that a widget draws in. Its keys are its own: none is a shortcut of the notebook. */
function stage(el_, name) {
  el_.classList.add("labkit-widget", `labkit-${name}`);
  // JupyterLab asks the element that has the focus before it asks any parent.
  el_.addEventListener("focusin", ({ target }) => target.setAttribute("data-lm-suppress-shortcuts", "true"));
}
