const MANY = 8; // flags of one argument, as all namespaces that clone3 makes
const SAY = {
  steps: { zh: "一步一步看", en: "Step by step" },
  back: { zh: "上一步", en: "Back" },
  next: { zh: "下一步", en: "Next" },
  manual: { zh: "手册页", en: "man page" },
  arguments: { zh: "参数", en: "Arguments" },
  answer: { zh: "内核的回答", en: "The kernel's answer" },
  changed: { zh: "改变了什么", en: "What it changed" },
  what: { zh: "什么", en: "What" },
  before: { zh: "之前", en: "Before" },
  after: { zh: "之后", en: "After" },
  now: { zh: "此刻它在哪些命名空间里", en: "The namespaces it is in now" },
  same: { zh: "宿主机的", en: "the host's" },
  new: { zh: "新的", en: "new" },
};

function render({ model, el: root }) {
  stage(root, "stepper");
  const story = { steps: model.get("steps"), first: model.get("first"), subjects: model.get("subjects") };
  const panel = el("div", { class: "labkit-panel", role: "region", "aria-label": both(SAY.steps), tabindex: 0 });
  const count = el("span", { role: "status" });
  const back = button(SAY.back, () => go(at - 1));
  const next = button(SAY.next, () => go(at + 1));
  const items = story.steps.map((step, index) => item(step, () => go(index)));
  const list = el("ol", { "aria-label": both(SAY.steps) }, items.map((each) => el("li", {}, each)));
  let at = 0;
  const go = (wanted, focus = false) => {
    at = Math.max(0, Math.min(story.steps.length - 1, wanted));
    items.forEach((each, index) => mark(each, index === at));
    back.setAttribute("aria-disabled", String(at === 0));
    next.setAttribute("aria-disabled", String(at === story.steps.length - 1));
    count.replaceChildren(...say({
      zh: `第 ${at + 1} 步，共 ${story.steps.length} 步`,
      en: `step ${at + 1} of ${story.steps.length}`,
    }));
    panel.replaceChildren(...describe(story, at));
    panel.querySelectorAll("pre, .labkit-long").forEach(reachable);
    reveal(list, items[at]);
    if (focus) items[at].focus();
  };
  list.addEventListener("keydown", (event) => {
    const wanted = {
      ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: Infinity,
    }[event.key];
    if (wanted === undefined) return;
    event.preventDefault();
    go(wanted, true);
  });
  root.append(
    el("div", { class: "labkit-bar" }, back, next, count),
    el("div", { class: "labkit-columns" }, list, panel),
  );
  go(0);
  return sayEnd(root);
}

function button(words, onclick) {
  return el("button", { type: "button", onclick }, say(words));
}

function item(step, onclick) {
  const refused = step.answer.startsWith("-1 ");
  return el("button", { type: "button", onclick, class: refused ? "labkit-refused" : null },
    el("code", {}, step.name), " ", el("span", {}, say(step.purpose)),
    lost(step).map((name) => [" ", el("code", {}, name)]));
}

/** The capabilities that one of many such steps takes away: by these they are told apart. */
function lost(step) {
  const lines = step.changes.flatMap(({ after }) => after.lines);
  return [...new Set(lines.filter((line) => line.startsWith("-CAP_")))];
}

/** Scroll a long list to one of its items, without moving the page. */
function reveal(list, item) {
  const [outer, inner] = [list, item].map((each) => each.getBoundingClientRect());
  list.scrollTop += Math.min(0, inner.top - outer.top) + Math.max(0, inner.bottom - outer.bottom);
}

/** What is higher than its place scrolls, by the keyboard too. */
function reachable(place) {
  if (place.scrollHeight > place.clientHeight) place.tabIndex = 0;
}

/** One stop for the Tab key; the arrows go on from there. */
function mark(each, current) {
  each.tabIndex = current ? 0 : -1;
  if (current) each.setAttribute("aria-current", "step");
  else each.removeAttribute("aria-current");
}

function describe(story, at) {
  const step = story.steps[at];
  return [
    el("p", { class: "labkit-purpose" }, say(step.purpose)),
    el("pre", {}, step.line),
    el("p", {}, el("a", { href: step.page, target: "_blank", rel: "noopener" }, `${step.name}(2) `, say(SAY.manual))),
    title(SAY.arguments),
    el("dl", {}, step.arguments.flatMap(argument)),
    title(SAY.answer),
    el("p", {}, el("code", {}, step.answer), " ", say(step.answered)),
    title(SAY.changed),
    changes(story, step),
    title(SAY.now),
    el("ul", { class: "labkit-kinds" }, kinds(story, at)),
  ];
}

function title(words) {
  return el("p", { class: "labkit-title" }, say(words));
}

/** Of many flags only what each means: their text is in the call above. */
function argument({ name, text, meaning, parts }) {
  const long = parts.length > MANY;
  return [
    el("dt", {}, el("em", {}, name), " ", el("code", {}, long ? "…" : text)),
    el("dd", { class: long ? "labkit-long" : null }, el("div", {}, say(meaning)),
      parts.map(([word, words]) => el("div", {}, el("code", {}, word), " ", say(words)))),
  ];
}

function changes(story, step) {
  if (!step.changes.length) return el("p", {}, say(step.silence));
  const tables = step.changes.filter(({ subject }) => !isMounts(subject));
  const mounts = step.changes.filter(({ subject }) => isMounts(subject));
  return el("div", {}, tables.length ? table(story, tables) : null,
    mounts.map(({ subject, before, after }) => [
      el("p", {}, say(story.subjects[subject])),
      el("pre", {}, before.lines.map((line) => el("del", {}, `- ${line}\n`)), after.lines.map((line) => el("ins", {}, `+ ${line}\n`))),
    ]));
}

function isMounts(subject) {
  return subject === "mounts" || subject === "propagation";
}

function table(story, rows) {
  const cell = ({ words, lines }) =>
    el("td", {}, words ? say(words) : null, words && lines.length ? " " : null,
      lines.length ? el("code", {}, lines.join("\n")) : null);
  return el("table", {},
    el("thead", {}, el("tr", {}, [SAY.what, SAY.before, SAY.after].map((words) => el("th", { scope: "col" }, say(words))))),
    el("tbody", {}, rows.map(({ subject, before, after }) =>
      el("tr", {}, el("th", { scope: "row" }, say(story.subjects[subject])), cell(before), cell(after)))));
}

/** The eight kinds after step `at`: the host's, or new. */
function kinds(story, at) {
  const changed = new Set(story.steps.slice(0, at + 1).flatMap((step) => step.changes.map(({ subject }) => subject)));
  return Object.keys(story.first.inodes).map((kind) => {
    const word = changed.has(kind) ? "new" : "same";
    return el("li", { class: `labkit-${word}` }, el("code", {}, kind), " ", say(SAY[word]));
  });
}

export default { initialize, render };
