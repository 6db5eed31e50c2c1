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

// --- The process behind a widget -----------------------------------------------------------------

const ENDED = {
  zh: "笔记本进程已经重启或结束，这里显示的不再是现在的情形。",
  en: "The notebook's process was restarted or has ended. What is shown here is no longer current.",
};
const RUN_CELL = { zh: "再运行这个单元格", en: "Run this cell again" };
// JupyterLab's widget manager hears of a restart that was asked for, but not of these.
const FATAL = ["restarting", "autorestarting", "terminating", "dead"];

const life = { over: false, mourners: new Set() }; // each widget has a copy of this script to itself

/** anywidget calls this once for a widget, whether or not it is on the page. */
function initialize({ model, signal }) {
  const end = () => {
    if (life.over) return;
    life.over = true;
    for (const act of life.mourners) act();
  };
  const changed = (_, status) => FATAL.includes(status) && end();
  const kernel = model.widget_manager?.kernel;
  model.on("comm_live_update", end);
  kernel?.statusChanged?.connect(changed); // elsewhere than in JupyterLab there may be none
  kernel?.disposed?.connect(end); // it was shut down, or the notebook has another
  signal?.addEventListener("abort", () => {
    kernel?.statusChanged?.disconnect(changed);
    kernel?.disposed?.disconnect(end);
  });
}

/** Call `act` when the process is gone, at once if it is; what is returned takes that back. */
function onEnd(act) {
  life.mourners.add(act);
  if (life.over) act();
  return () => life.mourners.delete(act);
}

/** When the process is gone, say so above a widget and offer to run its cell again.
 *
 *  `act` disables what can no longer work, and takes away what would still look current. */
function sayEnd(root, act = () => {}) {
  return onEnd(() => {
    const again = document.querySelector(".jp-Notebook") && el("button", { type: "button", onclick: runCell }, say(RUN_CELL));
    act();
    root.prepend(el("div", { class: "labkit-ended", role: "status" }, el("span", {}, say(ENDED)), again));
  });
}

/** Run the cell that a button stands in. The key that does it is JupyterLab's own way from a page. */
function runCell({ currentTarget: button }) {
  button.focus(); // which makes its cell the active one
  button.removeAttribute("data-lm-suppress-shortcuts");
  const key = { key: "Enter", code: "Enter", keyCode: 13, ctrlKey: true, bubbles: true, cancelable: true };
  button.dispatchEvent(new KeyboardEvent("keydown", key));
}

// --- What looks about while somebody watches -----------------------------------------------------

const CHECK = 2_000; // ms between two checks of whether anybody can see a widget
const RENEW = 15_000; // ms between two messages that say so: watch.py's LEASE is four times as long

/** What sends a message to Python, if it is there. */
function sender(model) {
  return (message) => {
    try {
      model.send(message);
    } catch {
      // The notebook is being closed, or its process has just ended.
    }
  };
}

/** Tell Python, again and again, whether this view can be seen; returns how to stop that.
 *
 *  `lacksAll` says whether the view knows nothing yet, and so needs to be told everything. */
function watch(root, lacksAll, send) {
  const view = String(Math.random());
  let told = -Infinity; // when we last said that it is seen; that it is not: -Infinity
  const seen = () => document.visibilityState === "visible" && root.isConnected && (root.checkVisibility?.() ?? true);
  const check = () => {
    const lacking = lacksAll();
    if (!seen()) {
      if (told > 0) send({ leave: view });
      told = -Infinity;
    } else if (lacking || Date.now() - told > RENEW) {
      told = Date.now();
      send({ watch: view, whole: lacking });
    }
  };
  const timer = setInterval(check, CHECK);
  const appears = new IntersectionObserver(check);
  appears.observe(root);
  document.addEventListener("visibilitychange", check);
  return () => {
    clearInterval(timer);
    appears.disconnect();
    document.removeEventListener("visibilitychange", check);
    if (told > 0) send({ leave: view });
  };
}
