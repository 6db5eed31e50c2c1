// Network namespaces. The picture, the rows of the table and the packets come from
// labkit/notebook/widgets/topology.py, all of them each time; here packets are counted from a moment of the reader's.

const TOLD = {
  caption: { zh: "每块网卡收发了几个包", en: "Packets at each link" },
  heads: [
    { zh: "在哪里", en: "place" }, { zh: "网卡", en: "link" }, { zh: "状态", en: "state" }, { zh: "地址", en: "address" },
    { zh: "接到", en: "connected with" }, { zh: "收到", en: "received" }, { zh: "发出", en: "sent" },
  ],
  from: { zh: "从现在数起", en: "Count from now" },
  counting: { zh: "从零数起：运行一个单元格，看包经过哪里。", en: "Counted from zero: run a cell, and see where its packets pass." },
  looking: { zh: "正在看……", en: "looking ..." },
  ended: { zh: "其中一个已经结束。", en: "One of them has ended." },
  routes: { zh: "路由", en: "routes" },
  rules: { zh: "规则", en: "rules" },
  bridge: (name) => ({ zh: `网桥 ${name}`, en: `bridge ${name}` }),
};

class Topology {
  constructor() {
    this.counts = null; // of the last message; null: none has come
    this.zero = new Map(); // what each link had when counting began
    this.picture = el("div", { class: "picture" }, say(TOLD.looking));
    this.body = el("tbody");
    const head = el("tr", {}, TOLD.heads.map((words) => el("th", { scope: "col" }, say(words))));
    const table = el("table", {}, el("caption", {}, say(TOLD.caption)), el("thead", {}, head), this.body);
    this.status = el("p", { role: "status" });
    this.button = el("button", { type: "button", onclick: () => this.#begin() }, say(TOLD.from));
    this.more = el("div", { class: "more" });
    const place = el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": both(TOLD.caption) }, table);
    this.root = el("div", {}, this.picture, el("p", {}, this.button), place, this.more, this.status);
  }

  /** Take in a message from Python. */
  hear({ type, svg, rows, counts, more }) {
    if (type === "ended") return this.status.replaceChildren(...say(TOLD.ended));
    if (type !== "state") return;
    const before = this.counts;
    this.rows = rows;
    this.counts = new Map(rows.map((row, at) => [this.#key(row), counts[at]]));
    if (this.drawn !== svg) this.picture.innerHTML = this.drawn = svg; // our own, its names escaped
    this.#table(before);
    this.#more(more);
  }

  #key([place, link]) {
    return `${place} ${link}`;
  }

  #begin() {
    this.zero = this.counts ?? new Map();
    if (this.rows) this.#table(null);
    this.status.replaceChildren(...say(TOLD.counting));
  }

  #table(before) {
    const lines = this.rows.map((row) => {
      const [place, link, state, address, peer, bridge] = row;
      const key = this.#key(row);
      const now = this.counts.get(key);
      const zero = this.zero.get(key) ?? [0, 0];
      const numbers = now.map((count, at) => {
        const fresh = before?.has(key) && before.get(key)[at] !== count;
        return el("td", { class: fresh ? "number fresh" : "number" }, `${fresh ? "▲ " : ""}${count - zero[at]}`);
      });
      const joined = [peer, peer && bridge ? ", " : "", bridge ? say(TOLD.bridge(bridge)) : null];
      return el("tr", {},
        el("th", { scope: "row" }, place), el("td", {}, link), el("td", {}, state), el("td", {}, address), el("td", {}, joined), numbers);
    });
    this.body.replaceChildren(...lines);
  }

  #more(more) {
    const said = JSON.stringify(more);
    if (said === this.said) return;
    this.said = said;
    const lists = more.flatMap(([place, routes, rules]) => [[place, TOLD.routes, routes], [place, TOLD.rules, rules]])
      .filter(([, , lines]) => lines.length)
      .map(([place, words, lines]) => el("p", {},
        el("b", {}, place), " ", say(words), lines.map((line) => [el("br"), el("code", {}, line)])));
    this.more.replaceChildren(...lists);
  }
}

export default {
  initialize,
  render({ model, el: root }) {
    stage(root, "topology");
    const shown = new Topology();
    const hear = (message) => shown.hear(message);
    model.on("msg:custom", hear);
    root.append(shown.root);
    const stop = watch(shown.root, () => shown.counts === null, sender(model));
    const forget = sayEnd(root, () => {
      stop();
      shown.button.disabled = true;
    });
    return () => {
      forget();
      stop();
      model.off("msg:custom", hear);
    };
  },
};
