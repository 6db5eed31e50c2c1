// A terminal: xterm.js draws what the program shows, and what is typed goes to Python.
// Python's end is labkit/notebook/widgets/terminals.py; it sends xterm.js itself too, once for each page.

const XTERM = Symbol.for("labkit.xterm-6.0.0");
const SHARE = 32 * 1024; // bytes that are drawn before Python is told so

const INPUT = "终端输入 · Terminal input";
const LEAVE = { zh: "按键都归终端，Ctrl+Shift+Enter 离开", en: "Keys go to the terminal; Ctrl+Shift+Enter leaves it" };
const LOADING = { zh: "正在准备……", en: "getting ready…" };
const RUNS = { zh: "正在运行", en: "running" };
const BROKEN = { zh: "终端画不出来", en: "the terminal cannot be drawn" };
const CUT_OFF = { zh: "已结束：笔记本进程不在了", en: "ended: the notebook's process is gone" };
const END = { zh: "结束", en: "End" };
const AGAIN = { zh: "重新启动", en: "Start again" };

// The sixteen colours; xterm.js changes a pair of them that is hard to read.
const PALETTES = {
  light: ["#000000", "#b3261e", "#1b6e2d", "#795500", "#1556b0", "#8a2a8a", "#00696e", "#5c5c5c",
    "#4a4a4a", "#c8322a", "#20823a", "#8a6100", "#1b66cc", "#9c3a9c", "#007a80", "#3a3a3a"],
  dark: ["#4d4d4d", "#ff8a80", "#7bd88f", "#e6c35c", "#82b1ff", "#e08cf0", "#5fd7d7", "#e0e0e0",
    "#8c8c8c", "#ffab9f", "#a5e8b0", "#f2d98a", "#a9c9ff", "#edb3f7", "#8ee8e8", "#ffffff"],
};
const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

function make(tag, name, ...children) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...children);
  return made;
}

/** Both languages, each in an element of its own: the page may hide one. */
function words({ zh, en }) {
  const pair = [make("span", "", zh), make("span", "", en)];
  pair[0].lang = "zh-Hans";
  pair[1].lang = "en";
  return [pair[0], " ", pair[1]];
}

/** Tells Python something, if there is still somebody to hear it. */
function tell(model, message) {
  try {
    model.send(message);
  } catch {
    // The kernel has ended, or the notebook is being closed.
  }
}

async function imported(source) {
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  try {
    return await import(url);
  } finally {
    URL.revokeObjectURL(url);
  }
}

async function load([xterm, fit, style]) {
  const sheet = make("style", "", new TextDecoder().decode(style));
  document.head.append(sheet);
  return { ...(await imported(xterm)), ...(await imported(fit)) };
}

/** xterm.js, which all terminals of a page share: whoever comes first asks for it. */
async function library(model) {
  const shared = (globalThis[XTERM] ??= Promise.withResolvers());
  const listen = (said, buffers) => {
    if (said.xterm && !shared.loading) shared.loading = load(buffers).then(shared.resolve, shared.reject);
  };
  const ask = () => tell(model, { ask: "library" });
  model.on("msg:custom", listen);
  if (!shared.asked) ask();
  shared.asked = true;
  const patience = setInterval(ask, 15_000); // whom the first has asked may have been closed
  try {
    return await shared.promise;
  } finally {
    clearInterval(patience);
    model.off("msg:custom", listen);
  }
}

function theme(screen) {
  const style = getComputedStyle(screen);
  const palette = PALETTES[document.body.dataset.jpThemeLight === "false" ? "dark" : "light"];
  const colours = { background: style.backgroundColor, foreground: style.color, cursor: style.color };
  COLOURS.forEach((name, at) => {
    colours[name] = palette[at];
    colours[`bright${name[0].toUpperCase()}${name.slice(1)}`] = palette[at + 8];
  });
  return { ...colours, cursorAccent: style.backgroundColor, selectionBackground: "#8080807f" };
}

/** What stands around the screen: the command, what became of it, two buttons, a hint. */
class Frame {
  constructor(model, root) {
    this.model = model;
    root.classList.add("labkit-widget", "labkit-terminal");
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", `终端 · Terminal: ${model.get("command")}`);
    this.screen = make("div", "labkit-terminal-screen");
    this.status = make("span", "labkit-terminal-status", ...words(LOADING));
    this.status.setAttribute("role", "status");
    this.end = this.button(END, "end");
    this.again = this.button(AGAIN, "again");
    this.again.hidden = true;
    this.bar = make("div", "labkit-terminal-bar", make("code", "", model.get("command")), this.status,
      this.end, this.again, make("span", "labkit-terminal-hint", ...words(LEAVE)));
    this.bar.tabIndex = -1; // the place that the leaving key leads to
    root.append(this.screen, this.bar);
  }

  button(text, request) {
    const made = make("button", "", ...words(text));
    made.type = "button";
    made.addEventListener("click", () => tell(this.model, { ask: request }));
    return made;
  }

  say(text) {
    this.status.replaceChildren(...words(text));
  }

  /** The button that can be used now. */
  get usable() {
    return this.end.hidden ? this.again : this.end;
  }

  update() {
    if (this.over) return;
    const [zh, en] = this.model.get("status");
    const held = this.bar.contains(document.activeElement);
    this.say(zh ? { zh, en } : RUNS);
    this.end.hidden = Boolean(zh);
    this.again.hidden = !zh;
    if (held) this.usable.focus();
  }

  /** The notebook's process is gone, and the program with it: nothing answers here any more. */
  cutOff() {
    this.over = true;
    this.say(CUT_OFF);
    this.end.hidden = this.again.hidden = true;
  }
}

/** The screen of one view: its place in what the program has printed, and the keys. */
class View {
  constructor(model, frame, { Terminal, FitAddon }) {
    Object.assign(this, { model, frame, page: crypto.randomUUID(), position: -1, told: 0, drawn: 0, quiet: false });
    Terminal.strings.promptLabel = INPUT;
    const style = getComputedStyle(frame.screen);
    this.terminal = new Terminal({
      fontFamily: style.fontFamily, fontSize: parseFloat(style.fontSize), theme: theme(frame.screen),
      minimumContrastRatio: 4.5, scrollback: 5000, cursorBlink: false,
    });
    this.fit = new FitAddon();
    this.terminal.loadAddon(this.fit);
    this.terminal.open(frame.screen);
    this.terminal.attachCustomKeyEventHandler((event) => this.key(event));
    this.terminal.onData((typed) => this.say({ typed }));
    this.terminal.onBinary((bytes) => this.say({ bytes }));
    this.terminal.onResize(({ rows, cols }) => tell(model, { rows, columns: cols }));
  }

  /** What xterm.js says, but for its answers to a question that was asked before a page's reload. */
  say(message) {
    if (!this.quiet) tell(this.model, message);
  }

  attach() {
    this.quiet = true;
    tell(this.model, { attach: this.page });
  }

  resize() {
    if (this.frame.screen.clientWidth) this.fit.fit();
  }

  hear(said, buffers) {
    const data = buffers[0] && new Uint8Array(buffers[0].buffer, buffers[0].byteOffset, buffers[0].byteLength);
    if (said.replay === this.page) {
      this.terminal.reset();
      this.position = this.drawn = this.told = said.before;
      this.draw(data, () => (this.quiet = false));
    } else if (said.output === this.position) {
      this.draw(data);
    } else if (said.output > this.position && this.position >= 0 && !this.quiet) {
      this.attach(); // something was left out: the page was too slow
    }
  }

  draw(data, then) {
    this.position += data.length;
    const drawn = this.position;
    this.terminal.write(data, () => {
      this.drawn = drawn;
      if (drawn - this.told >= SHARE) this.report();
      then?.();
    });
  }

  report() {
    this.told = this.drawn;
    tell(this.model, { seen: this.told, page: this.page });
  }

  /** Whether xterm.js is to handle a key. */
  key(event) {
    const control = event.ctrlKey && !event.altKey && !event.metaKey;
    if (control && event.shiftKey && event.key === "Enter") {
      event.preventDefault();
      if (event.type === "keydown") this.frame.bar.focus();
      return false;
    }
    // The browser itself copies what is selected, and pastes.
    const copies = event.key === "c" && this.terminal.hasSelection();
    return !(control && !event.shiftKey && (copies || event.key === "v"));
  }
}

/** Keys belong to the terminal: JupyterLab has none of its shortcuts here. */
function keepKeys(screen, signal) {
  screen.setAttribute("data-lm-suppress-shortcuts", "true");
  for (const type of ["keydown", "keypress", "keyup", "copy", "cut", "paste"])
    screen.addEventListener(type, (event) => event.stopPropagation(), { signal });
}

/** Calls `change` when the theme has changed, and `resize` when the screen has another size. */
function observe(screen, signal, change, resize) {
  const themes = new MutationObserver(() => requestAnimationFrame(change));
  themes.observe(document.body, { attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
  const sizes = new ResizeObserver(() => requestAnimationFrame(resize));
  sizes.observe(screen);
  signal.addEventListener("abort", () => {
    themes.disconnect();
    sizes.disconnect();
  });
}

function listen(model, signal, handlers) {
  for (const [name, handler] of Object.entries(handlers)) model.on(name, handler);
  signal.addEventListener("abort", () => {
    for (const [name, handler] of Object.entries(handlers)) model.off(name, handler);
  });
}

/** Waits until `node` stands in the page: before, it has neither colours nor a size. */
async function placed(node, signal) {
  while (!node.isConnected && !signal.aborted) await new Promise((soon) => setTimeout(soon, 10));
}

async function begin(model, frame, signal) {
  const [drawing] = await Promise.all([library(model), placed(frame.screen, signal)]);
  if (signal.aborted) return;
  const view = new View(model, frame, drawing);
  listen(model, signal, {
    "msg:custom": (said, buffers) => view.hear(said, buffers),
    "change:status": () => frame.update(),
  });
  signal.addEventListener("abort", onEnd(() => (view.terminal.options.disableStdin = true)));
  frame.update();
  observe(frame.screen, signal, () => (view.terminal.options.theme = theme(frame.screen)), () => view.resize());
  view.resize();
  view.attach();
  signal.addEventListener("abort", () => view.terminal.dispose());
  return view;
}

export default {
  initialize,
  render({ model, el }) {
    const frame = new Frame(model, el);
    const shown = new AbortController();
    keepKeys(frame.screen, shown.signal);
    shown.signal.addEventListener("abort", sayEnd(el, () => frame.cutOff()));
    const ready = begin(model, frame, shown.signal).catch((error) => {
      console.error(error);
      frame.say(BROKEN);
    });
    let notebook;
    placed(el, shown.signal).then(() => (notebook = el.closest(".jp-Notebook")));
    return () => {
      shown.abort();
      // A notebook that is closed leaves the page with all its cells; its kernel may go on.
      const gone = Boolean(notebook?.isConnected);
      ready.then((view) => tell(model, { leave: view?.page ?? "", gone }));
    };
  },
};
