// The language switch. What is chosen holds for the whole page, in all notebooks and also when their
// kernels are gone: it is an attribute of <html>, which language.css obeys.

const REMEMBERED = "labkit-language"; // in localStorage: what was chosen by hand
const CHANGED = "labkit-language-changed";
const TRIES = 100; // to tell Python what the page speaks, ten in a second
const CHOICES = [
  ["zh", "中文", "zh-Hans"],
  ["en", "English", "en"],
  ["both", "双语 Both", ""],
];
const HOME = { zh: "首页", en: "Home" };

function render({ model, el: root }) {
  root.classList.add("labkit-widget", "labkit-language");
  const choices = el("div", { class: "labkit-choices", role: "radiogroup", "aria-label": "语言 · Language" });
  root.append(...[choices, homeLink()].filter(Boolean));
  const group = `labkit-language-${crypto.randomUUID()}`;
  const radios = CHOICES.map(([value, text, lang]) => {
    const radio = makeRadio(group, value);
    choices.append(makeLabel(radio, text, lang));
    return radio;
  });
  const follow = () => {
    const language = currentLanguage(model.get("named"));
    document.documentElement.dataset.labkitLanguage = language;
    for (const radio of radios) radio.checked = radio.value === language;
    tellPython(model, language);
  };
  window.addEventListener(CHANGED, follow); // another notebook's switch
  window.addEventListener("storage", follow); // another tab's
  follow();
  const forget = sayEnd(root); // the page still follows the switch, Python does not
  return () => {
    forget();
    window.removeEventListener(CHANGED, follow);
    window.removeEventListener("storage", follow);
  };
}

function makeRadio(name, value) {
  const radio = document.createElement("input");
  Object.assign(radio, { type: "radio", name, value });
  radio.setAttribute("data-lm-suppress-shortcuts", "true"); // arrows choose here, not among cells
  radio.addEventListener("change", () => {
    remember(value);
    window.dispatchEvent(new Event(CHANGED));
  });
  return radio;
}

function makeLabel(radio, text, lang) {
  const label = document.createElement("label");
  const words = document.createElement("span");
  words.textContent = text;
  if (lang) words.lang = lang;
  label.append(radio, words);
  return label;
}

/** A link to the lab's home page, if this lab has one. It leaves JupyterLab, which saves first. */
function homeLink() {
  const config = document.getElementById("jupyter-config-data");
  const home = config && JSON.parse(config.textContent).labkitHome;
  if (!home) return null;
  const leave = async (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return; // to another tab: nothing is left
    event.preventDefault();
    try {
      await window.jupyterapp.commands.execute("docmanager:save-all");
    } catch {} // the browser asks then
    location.assign(home);
  };
  return el("a", { class: "labkit-home", href: home, onclick: leave }, "⌂ ", say(HOME));
}

/** What was chosen by hand; else what LABKIT_LANG names; else what the page around us speaks. */
function currentLanguage(named) {
  const chosen = [remembered(), named].find((value) => CHOICES.some(([known]) => known === value));
  const spoken = [document.documentElement.lang, navigator.language];
  return chosen || (spoken.some((lang) => /^zh\b/i.test(lang || "")) ? "zh" : "en");
}

let lastChoice = null; // where a browser keeps nothing

function remember(value) {
  lastChoice = value;
  try {
    localStorage.setItem(REMEMBERED, value);
  } catch {}
}

function remembered() {
  try {
    return localStorage.getItem(REMEMBERED) ?? lastChoice;
  } catch {
    return lastChoice;
  }
}

let introduced = false;

/** Tell Python for the first time what the page speaks, again and again until it has heard.
 *
 *  The cell waits for this. JupyterLab opens a channel for widgets (a subshell) with the first of
 *  them; what is said before that is heard only when no cell runs any more. */
function introduce(model) {
  const language = () => currentLanguage(model.get("named"));
  const end = () => {
    clearInterval(timer);
    model.off("change:chosen", ask);
    introduced = true;
    tellPython(model, language()); // it may have been changed meanwhile
  };
  let left = TRIES;
  const ask = () => {
    if (model.get("chosen") || life.over || !left--) end();
    else model.send({ speaks: language() });
  };
  const timer = setInterval(ask, 100);
  model.on("change:chosen", ask);
  ask();
}

/** What Python says in this notebook follows; a process that is gone does not hear. */
function tellPython(model, language) {
  if (!introduced || model.get("chosen") === language) return;
  try {
    model.set("chosen", language);
    model.save_changes();
  } catch {}
}

export default {
  initialize(widget) {
    initialize(widget);
    introduce(widget.model); // the cell may be too far away to be on the page yet
  },
  render,
};
