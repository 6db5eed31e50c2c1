// The namespace map. Facts come from labkit/notebook/widgets/namespace_map.py, at first all of them, then what has
// changed; here they are grouped and drawn. What stays on the page keeps its element, so that a
// refresh moves neither the focus nor what is open.

const FEW = 5, MANY = 40; // processes shown of a group with and without others beneath it
const OTHERS = 12; // groups shown besides ours
const FOCUSABLE = ["button", "input", "summary"];
const ROLES = {
  container: ["容器", "container"],
  kernel: ["笔记本进程", "the notebook's process"],
  engine: ["引擎", "engine"],
  keeper: ["引擎的看护进程", "the engine's keeper"],
  inside: ["在容器里", "in a container"],
  child: ["笔记本进程的子进程", "a child of the notebook's process"],
};
const RANK = Object.keys(ROLES);

// --- Elements ------------------------------------------------------------------------------------

/** An element with a class and children: elements, or text. */
function make(tag, name = "", ...children) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  // JupyterLab has shortcuts for whatever has the focus, such as Enter: it edits the cell.
  if (FOCUSABLE.includes(tag)) element.setAttribute("data-lm-suppress-shortcuts", "true");
  element.append(...children);
  return element;
}

/** A text in both languages, each in an element that says which it is; `retell` changes it. */
function words(zh = "", en = "", name = "") {
  const pair = make("span", name, make("span"), " ", make("span"));
  [pair.firstChild.lang, pair.lastChild.lang] = ["zh-Hans", "en"];
  retell(pair, zh, en);
  return pair;
}

function retell(pair, zh, en) {
  put(pair.firstChild, zh);
  put(pair.lastChild, en);
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function button(name, act, ...children) {
  const made = make("button", name, ...children);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

/** Make `list` hold one part for each of `items`, in their order; parts of those that stay, stay. */
function reconcile(list, items, key, create, update) {
  list.parts ??= new Map();
  const wanted = new Set(items.map(key));
  for (const [known, part] of list.parts) {
    if (wanted.has(known)) continue;
    part.element.remove();
    list.parts.delete(known);
  }
  items.forEach((item, at) => {
    if (!list.parts.has(key(item))) list.parts.set(key(item), create(item));
    const part = list.parts.get(key(item));
    update(part, item);
    if (list.children[at] !== part.element) list.insertBefore(part.element, list.children[at] ?? null);
  });
}

/** Do what may take the focused element off the page, or move it; the focus stays, or goes near. */
function keepingFocus(root, change) {
  const focused = root.contains(document.activeElement) ? document.activeElement : null;
  const above = [];
  for (let at = focused?.closest("details"); at; at = at.parentElement.closest("details")) {
    above.push(at.querySelector("summary"));
  }
  change();
  if (!focused || document.activeElement === focused) return;
  const near = [focused, ...above, root.querySelector("input:checked")];
  near.find((element) => root.contains(element))?.focus({ preventScroll: true });
}

// --- Facts ---------------------------------------------------------------------------------------

/** What Python has told, and what follows from it. */
class Facts {
  constructor() {
    this.processes = new Map();
    this.spaces = new Map();
  }

  /** Take in a message of type state. */
  take({ whole, told, kinds, kernel, hidden }) {
    Object.assign(this, { kinds, kernel, hidden });
    [this.processes, this.spaces].forEach((rows, at) => {
      if (whole) rows.clear();
      const [changed, gone] = told[at];
      for (const [key, row] of Object.entries(changed)) rows.set(Number(key), row);
      for (const key of gone) rows.delete(key);
    });
    this.#derive();
  }

  #derive() {
    this.members = new Map();
    for (const [pid, [, , inodes]] of this.processes) {
      for (const inode of inodes) {
        if (!this.members.has(inode)) this.members.set(inode, []);
        this.members.get(inode).push(pid);
      }
    }
    for (const pids of this.members.values()) pids.sort((a, b) => this.rank(a) - this.rank(b) || a - b);
  }

  /** Containers first, then the kernel, then others of ours. */
  rank(pid) {
    const at = RANK.indexOf(this.processes.get(pid)[1]);
    return at < 0 ? RANK.length : at;
  }

  name(pid) {
    return this.processes.get(pid)?.[0] ?? "";
  }

  in(inode) {
    return this.members.get(inode) ?? [];
  }

  containers() {
    return [...this.processes.keys()].filter((pid) => this.rank(pid) === 0).sort((a, b) => a - b);
  }

  /** The kinds in which a process is not where the kernel is. */
  news(pid) {
    const [here, there] = [this.kernel, pid].map((each) => this.processes.get(each)?.[2] ?? []);
    return this.kinds.filter((_, at) => there[at] && here[at] !== there[at]).map(([kind]) => kind);
  }

  /** The namespaces of a kind as a forest, or all of them, each beneath what owns it. */
  forest(mode) {
    const parent = { owners: ([, , , , holder]) => holder, pid: ([, , up]) => up, user: ([, , up]) => up }[mode];
    const beneath = new Map();
    for (const [inode, row] of this.spaces) {
      if (mode !== "owners" && row[0] !== mode) continue;
      const above = parent && this.spaces.has(parent(row)) ? parent(row) : 0;
      if (!beneath.has(above)) beneath.set(above, []);
      beneath.get(above).push(inode);
    }
    const grow = (above) =>
      (beneath.get(above) ?? []).map((inode) => this.#tree(inode, grow(inode))).sort(order);
    return grow(0);
  }

  #tree(inode, below) {
    const [kind] = this.spaces.get(inode);
    const pids = this.in(inode);
    const own = this.#standing(pids);
    const standing = Math.min(own, ...below.map((tree) => tree.standing));
    return { inode, kind, pids, below, own, standing, lowest: Math.min(...pids) };
  }

  /** 0: one of our containers is there, apart from the kernel. 1: the kernel is. 2: others. */
  #standing(pids) {
    if (pids.includes(this.kernel)) return 1;
    return pids.some((pid) => this.rank(pid) === 0) ? 0 : 2;
  }
}

/** Where our containers are comes first, then where the kernel is; then what was there first. */
function order(a, b) {
  return a.standing - b.standing || a.lowest - b.lowest || a.inode - b.inode;
}

// --- The map -------------------------------------------------------------------------------------

class NamespaceMap {
  constructor(send) {
    this.send = send;
    this.facts = new Facts();
    this.mode = "uts";
    this.base = 0; // the process that others are compared with; 0: the kernel
    this.opened = new Map(); // by mode and inode: open or not, where the reader has decided
    this.whole = new Set(); // by the same, what is shown to its end, however long
    this.lists = new Map(); // by mode, the list of its groups
    this.waiting = new Map(); // comparisons that were asked for, by number
    this.asked = 0;
    this.#build();
  }

  #build() {
    this.containers = make("ul", "containers");
    this.none = words("还没有：在一个单元格里 start(...)，它就会出现在这里", "none yet: use start(...) in a cell, and the container appears here");
    this.choice = make("fieldset", "choice", make("legend", "", words("按哪一种分组", "Group by")));
    this.about = words();
    this.flag = make("code");
    this.hidden = words();
    this.against = words();
    this.reset = button("reset", () => this.#setBase(0), words("改回笔记本进程", "back to the notebook's process"));
    this.status = make("p", "status", words());
    this.status.setAttribute("role", "status");
    this.note = make("p", "note", words("正在看……", "looking ..."));
    this.groups = make("div", "groups");
    const title = words("我们的容器", "Our containers", "title");
    this.root = make("div", "labkit-widget labkit-namespace-map", this.note, make("p", "", title), this.none,
      this.containers, this.choice, make("p", "about", this.flag, " ", this.about, " ", this.hidden),
      make("p", "against", this.against, " ", this.reset), this.status, this.groups);
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-label", "命名空间图 · Namespace map");
  }

  /** Take in a message from Python. */
  hear(message) {
    if (message.type === "comparison") return this.#compared(message);
    if (message.type === "paused") {
      return this.tell("笔记本进程正忙，暂时没有人看；空下来就继续", "paused: the notebook's process is busy; the map goes on when it is free");
    }
    this.tell("", "");
    this.facts.take(message);
    if (!this.choice.querySelector("input")) this.#offer(message.kinds);
    keepingFocus(this.root, () => this.#draw());
  }

  tell(zh, en) {
    retell(this.note.firstChild, zh, en);
    this.note.hidden = !zh;
  }

  #offer(kinds) {
    const name = `labkit-namespace-map-${Math.random()}`;
    for (const mode of [...kinds.map(([kind]) => kind), "owners"]) {
      const radio = make("input");
      Object.assign(radio, { type: "radio", name, value: mode, checked: mode === this.mode });
      radio.addEventListener("change", () => this.#choose(mode));
      const label = mode === "owners" ? words("谁归谁所有", "who owns whom") : make("code", "", mode);
      this.choice.append(make("label", "", radio, " ", label));
    }
  }

  #choose(mode) {
    this.mode = mode;
    this.#draw();
  }

  #draw() {
    const { facts } = this;
    this.none.hidden = facts.containers().length > 0;
    reconcile(this.containers, facts.containers(), (pid) => pid, (pid) => this.#process(pid, true),
      (part, pid) => part.update(pid));
    this.#describe();
    if (!facts.processes.has(this.base)) this.base = 0;
    this.#showBase();
    if (!this.lists.has(this.mode)) this.lists.set(this.mode, make("ul"));
    const list = this.lists.get(this.mode);
    if (this.groups.firstChild !== list) this.groups.replaceChildren(list);
    this.#drawTrees(list, facts.forest(this.mode), this.mode);
  }

  #describe() {
    const chosen = this.facts.kinds.find(([kind]) => kind === this.mode);
    put(this.flag, chosen?.[1] ?? "");
    if (chosen) retell(this.about, `隔离${chosen[2]}`, `isolates ${chosen[3]}`);
    else retell(this.about, "用户命名空间的树，各自拥有的列在它下面", "the tree of user namespaces, with what each owns beneath it");
    const { hidden } = this.facts;
    retell(this.hidden, hidden ? `（内核不让我们看的进程：${hidden} 个）` : "", hidden ? `(processes that the kernel hides from us: ${hidden})` : "");
  }

  // --- Groups: one namespace each -----------------------------------------------------------------

  #drawTrees(list, trees, key) {
    const ours = trees.filter((tree) => tree.standing < 2).length;
    const items = this.#shortened(trees, ours + OTHERS, key);
    reconcile(list, items, (item) => (item.rest ? "rest" : item.inode),
      (item) => (item.rest ? this.#rest(key) : this.#group(item)), (part, item) => part.update(item));
  }

  /** The first of `items`; the others wait behind a button. */
  #shortened(items, limit, key) {
    if (items.length <= limit || this.whole.has(key)) return items;
    return [...items.slice(0, limit), { rest: items.length - limit }];
  }

  #rest(key) {
    const label = words();
    const element = make("li", "", button("more", () => this.#showAll(key, element), label));
    return { element, update: ({ rest }) => retell(label, `其余 ${rest} 个`, `${rest} more`) };
  }

  /** What was hidden takes the button's place, and the focus. */
  #showAll(key, element) {
    const list = element.parentElement;
    const at = [...list.children].indexOf(element);
    this.whole.add(key);
    this.#draw();
    list.children[at]?.querySelector("button, summary").focus();
  }

  /** One namespace: a line that opens to what hangs beneath it, and its processes.

      Where a container is apart from the kernel, and what leads there, is open by itself. */
  #group(tree) {
    const key = `${this.mode}:${tree.inode}`;
    const [name, mark, count, owner, names] = [make("code"), words("", "", "mark"), words(), words("", "", "owner"), make("span", "names")];
    const [below, processes] = [make("ul"), make("ul", "processes")];
    const details = make("details", "", make("summary", "", name, " ", mark, " ", count, " ", owner, " ", names), below, processes);
    const part = { element: make("li", "", details) };
    let ours = details.open = this.opened.get(key) ?? false; // as we have set it, not the reader
    part.update = (now) => {
      part.tree = now;
      if (now.standing === 0 && !this.opened.has(key)) ours = details.open = true;
      this.#headline(now, { name, mark, count, owner, names });
      if (details.open) this.#fill(now, key, { below, processes });
    };
    details.addEventListener("toggle", () => {
      if (details.open !== ours || this.opened.has(key)) this.opened.set(key, details.open);
      if (details.open && this.facts.spaces.has(part.tree.inode)) part.update(part.tree);
    });
    return part;
  }

  #headline(tree, { name, mark, count, owner, names }) {
    const { inode, kind, pids } = tree;
    put(name, `${kind} ${inode}`);
    mark.classList.toggle("new", tree.own === 0);
    mark.hidden = tree.own === 2;
    retell(mark, ...(tree.own === 1 ? ["笔记本在这里", "the notebook is here"] : ["新的", "new"]));
    retell(count, `${pids.length} 个进程`, `${pids.length} process${pids.length === 1 ? "" : "es"}`);
    retell(owner, ...this.#owner(inode));
    put(names, this.#names(pids));
  }

  #owner(inode) {
    const [kind, owner, parent, uid, holder] = this.facts.spaces.get(inode);
    if (kind === "user" && !owner) return [`用户号 ${uid}，上面没有了，或看不见`, `uid ${uid}, its parent is gone or hidden`];
    if (kind === "user") return [`由用户号 ${uid} 所造`, `made by uid ${uid}`];
    if (!owner) return ["归外面所有", "owned outside"];
    if (this.mode !== "owners") return [`归 user ${owner} 所有`, `owned by user ${owner}`];
    return parent && parent !== holder ? [`父命名空间 pid ${parent}`, `child of pid ${parent}`] : ["", ""];
  }

  /** The commonest names in a group, ours first: ``sleep, python3 ×12 ...``. */
  #names(pids) {
    const numbers = new Map();
    for (const pid of pids) {
      const name = this.facts.name(pid);
      const known = numbers.get(name) ?? { name, rank: this.facts.rank(pid), number: 0 };
      known.number += 1;
      numbers.set(name, known);
    }
    const sorted = [...numbers.values()].sort((a, b) => a.rank - b.rank || b.number - a.number || (a.name < b.name ? -1 : 1));
    const shown = sorted.slice(0, 4).map(({ name, number }) => (number > 1 ? `${name} ×${number}` : name));
    return shown.join(", ") + (sorted.length > 4 ? " ..." : "");
  }

  #fill(tree, key, { below, processes }) {
    this.#drawTrees(below, tree.below, `${key}:below`);
    const limit = tree.below.length || this.mode === "owners" ? FEW : MANY;
    reconcile(processes, this.#shortened(tree.pids, limit, key), (item) => (item.rest ? "rest" : item),
      (item) => (item.rest ? this.#rest(key) : this.#process(item)), (part, item) => part.update(item));
  }

  // --- Processes ----------------------------------------------------------------------------------

  /** A process: a button that shows, and hides again, how it compares. */
  #process(pid, withNews = false) {
    const [name, role, news] = [make("code"), words("", "", "role"), make("span", "news")];
    const table = make("div", "comparison");
    const toggle = button("process", () => this.#toggle(part), name, ` PID ${pid} `, role);
    toggle.setAttribute("aria-expanded", "false");
    table.hidden = true;
    const part = { pid, toggle, table, element: make("li", "", toggle, " ", news, table) };
    part.update = () => {
      put(name, this.facts.name(pid));
      retell(role, ...(ROLES[this.facts.processes.get(pid)[1]] ?? ["", ""]));
      if (withNews) this.#showNews(news, this.facts.news(pid));
    };
    return part;
  }

  #showNews(place, kinds) {
    if (place.dataset.kinds === kinds.join()) return;
    place.dataset.kinds = kinds.join();
    const codes = kinds.flatMap((kind) => [" ", make("code", "new", kind)]);
    place.replaceChildren(kinds.length ? words("新的：", "new:") : words("八种全与笔记本进程相同", "shares all eight with the notebook's process"), ...codes);
  }

  #toggle(part) {
    const open = part.table.hidden;
    part.toggle.setAttribute("aria-expanded", String(open));
    part.table.hidden = !open;
    retell(this.status.firstChild, "", "");
    if (!open) return;
    this.waiting.set(++this.asked, part);
    this.send({ compare: [this.base || this.facts.kernel, part.pid], asked: this.asked });
    part.table.replaceChildren(words("正在问……", "asking ..."));
  }

  #compared({ asked, zh, en, html }) {
    const part = this.waiting.get(asked);
    if (!part) return; // another view of this map has asked
    this.waiting.delete(asked);
    retell(this.status.firstChild, zh, en);
    if (!html) return part.table.replaceChildren(words(zh, en));
    part.table.innerHTML = html; // of Comparison, which escapes the names
    part.table.append(button("base", () => this.#setBase(part.pid), words("以后都与它比", "compare the others with this one")));
  }

  #setBase(pid) {
    this.base = pid;
    const focused = document.activeElement === this.reset;
    this.#showBase();
    if (focused) this.choice.querySelector("input:checked").focus(); // the button has gone
    retell(this.status.firstChild, ...this.#baseName());
  }

  #showBase() {
    retell(this.against, ...this.#baseName());
    this.reset.hidden = !this.base;
  }

  #baseName() {
    const pid = this.base || this.facts.kernel;
    const [zh, en] = this.base ? [" ", ""] : ["笔记本进程 ", "the notebook's process, "];
    const name = `${this.facts.name(pid)}, PID ${pid}`;
    return [`选一个进程，与${zh}${name} 比较`, `Choose a process to compare it with ${en}${name}`];
  }
}

// --- Its life on the page ------------------------------------------------------------------------

export default {
  initialize,
  render({ model, el }) {
    const send = sender(model);
    const map = new NamespaceMap(send);
    const hear = (message) => map.hear(message);
    model.on("msg:custom", hear);
    el.append(map.root);
    const stop = watch(map.root, () => !map.facts.kinds, send);
    const forget = sayEnd(map.root, () => {
      stop();
      map.root.replaceChildren(); // processes and containers that ended with it
    });
    return () => {
      forget();
      stop();
      model.off("msg:custom", hear);
    };
  },
};
