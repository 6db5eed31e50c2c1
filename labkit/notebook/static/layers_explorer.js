// The layers of a root. Rows come from labkit/notebook/widgets/layers_explorer.py; here they are drawn, and what is
// new since the last look is marked. A row that stays keeps its element, so nothing moves under the reader.

const FRESH = 6_000; // ms that a new or changed row is marked
const SAY = {
  caption: { zh: "这几层叠在一起：哪个文件出自哪一层", en: "The layers of the union: who provides each file" },
  name: { zh: "名字", en: "name" },
  merged: { zh: "容器看到的", en: "the container sees" },
  gone: { zh: "没有", en: "nothing" },
  fresh: { zh: "刚变", en: "just now" },
  looking: { zh: "正在看……", en: "looking ..." },
  paused: { zh: "笔记本进程正忙，暂时没有人看；空下来就继续", en: "paused: the notebook's process is busy; it goes on when it is free" },
  which: { zh: "列出哪些名字", en: "Names to show" },
  all: { zh: "全部", en: "all" },
  upper: { zh: "上层有的", en: "those in the upper layer" },
  several: { zh: "不止一层有的", en: "those in several layers" },
  none: { zh: "还没有这样的名字：在单元格里让容器写点什么，它就会出现", en: "no such name yet: have the container write something in a cell, and it appears" },
};
const MARKS = {
  file: { zh: "文件", en: "file" },
  directory: { zh: "目录", en: "directory" },
  opaque: { zh: "不透明目录", en: "opaque directory" },
  whiteout: { zh: "遮盖", en: "whiteout" },
};
const FILTERS = {
  all: () => true,
  upper: ([, marks]) => marks[0] !== "",
  several: ([, marks]) => marks.filter(Boolean).length > 1,
};

class Layers {
  constructor() {
    this.rows = null; // of the last message; null: none has come
    this.parts = new Map(); // by path: the row's element and what it says
    this.filter = "all";
    this.#build();
  }

  #build() {
    this.note = el("p", { class: "note" }, say(SAY.looking));
    this.status = el("p", { class: "status", role: "status" });
    this.none = el("p", { class: "none", hidden: true }, say(SAY.none));
    this.head = el("tr");
    this.body = el("tbody");
    const table = el("table", {}, el("caption", {}, say(SAY.caption)), el("thead", {}, this.head), this.body);
    const place = el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": both(SAY.caption) }, table);
    this.root = el("div", {}, this.note, this.#choice(), place, this.none, this.status);
  }

  #choice() {
    const name = `labkit-layers-${Math.random()}`;
    const radios = Object.keys(FILTERS).map((filter) => {
      const choose = () => this.#choose(filter);
      const radio = el("input", { type: "radio", name, value: filter, checked: filter === this.filter, onchange: choose });
      return el("label", {}, radio, " ", say(SAY[filter]));
    });
    return el("fieldset", { class: "choice" }, el("legend", {}, say(SAY.which)), radios);
  }

  #choose(filter) {
    this.filter = filter;
    if (this.rows) this.#place();
  }

  /** Take in a message from Python. */
  hear({ type, layers, rows }) {
    this.note.hidden = type === "state";
    if (type !== "state") return this.note.replaceChildren(...say(SAY.paused));
    const first = this.rows === null;
    this.layers = layers.map(([zh, en]) => ({ zh, en }));
    this.rows = rows;
    const heads = [SAY.name, SAY.merged, ...this.layers];
    if (first) this.head.append(...heads.map((words) => el("th", { scope: "col" }, say(words))));
    const changed = rows.filter((row) => this.#draw(row, first));
    this.#place();
    if (!first && changed.length) this.#tell(changed);
  }

  /** Draw a row, new or again; whether it says something new. */
  #draw(row, first) {
    const [path, marks, provider] = row;
    const said = JSON.stringify(row);
    const part = this.parts.get(path);
    if (part?.said === said) return false;
    const fresh = el("span", { class: "fresh", hidden: first }, say(SAY.fresh));
    const cells = marks.map((mark, at) => el("td", { class: this.#kind(mark, at, provider) }, mark ? say(MARKS[mark]) : null));
    const seen = provider < 0 ? SAY.gone : this.layers[provider];
    const element = el("tr", {}, el("th", { scope: "row" }, el("code", {}, `/${path}`), " ", fresh), el("td", {}, say(seen)), cells);
    part?.element.replaceWith(element);
    this.parts.set(path, { element, said });
    if (!first) setTimeout(() => { fresh.hidden = true; }, FRESH);
    return true;
  }

  #kind(mark, at, provider) {
    if (at === provider) return "provides";
    return mark === "whiteout" || mark === "opaque" ? "hides" : "";
  }

  /** Put the rows that are asked for in their order; those that are gone go. */
  #place() {
    const shown = this.rows.filter(FILTERS[this.filter]).map(([path]) => this.parts.get(path).element);
    const known = new Set(this.rows.map(([path]) => path));
    for (const path of this.parts.keys()) if (!known.has(path)) this.parts.delete(path);
    if (shown.length !== this.body.children.length || shown.some((each, at) => this.body.children[at] !== each)) {
      this.body.replaceChildren(...shown);
    }
    this.none.hidden = shown.length > 0;
  }

  #tell(changed) {
    const names = changed.slice(0, 4).map(([path]) => `\`/${path}\``);
    const more = changed.length > 4 ? " ..." : "";
    this.status.replaceChildren(...say({ zh: `刚变：${names.join("、")}${more}`, en: `just now: ${names.join(", ")}${more}` }));
  }
}

export default {
  initialize,
  render({ model, el: root }) {
    stage(root, "layers");
    const shown = new Layers();
    const hear = (message) => shown.hear(message);
    model.on("msg:custom", hear);
    root.append(shown.root);
    const stop = watch(shown.root, () => shown.rows === null, sender(model));
    const forget = sayEnd(root, () => {
      stop();
      shown.note.hidden = true;
    });
    return () => {
      forget();
      stop();
      model.off("msg:custom", hear);
    };
  },
};
