// The book's own: the language switch, the meanings of terms, the search.

document.addEventListener("DOMContentLoaded", () => {
  for (const place of document.querySelectorAll(SWITCHES)) place.before(makeSwitch());
  followLanguage();
  addEventListener("resize", reachScrollers);
  explainTerms();
  const results = document.getElementById("labkit-search");
  if (results) startSearch(results);
});

// --- Language -----------------------------------------------------------------------------------

// Where it is always at hand: beside the page, or on a phone above it.
const SWITCHES = ".sidebar-search-container, .mobile-header .theme-toggle-container";
const CHOICES = [
  ["zh", "中文", "zh-Hans"],
  ["en", "English", "en"],
  ["both", "双语", "zh-Hans"],
];
const NAMES = {
  ".theme-toggle": ["切换亮色、暗色、自动", "Light, dark or automatic"],
  "#__navigation": ["显示或隐藏目录", "Show or hide the contents"],
  "#__toc": ["显示或隐藏本页目录", "Show or hide the contents of this page"],
  ".sidebar-drawer": ["全书目录", "Contents"],
  ".toc-drawer": ["本页目录", "On this page"],
};

function makeSwitch() {
  const group = document.createElement("div");
  group.className = "labkit-switch";
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "语言 · Language");
  for (const [value, text, lang] of CHOICES) {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", value, textContent: text, lang, className: "labkit-only" });
    if (value === "both") button.title = button.ariaLabel = "双语 · Both";
    button.addEventListener("click", () => choose(value));
    group.append(button);
  }
  return group;
}

function choose(language) {
  try {
    localStorage.setItem(REMEMBERED, language);
  } catch {}
  keepPlace(() => {
    showLanguage(language);
    followLanguage();
  });
}

function current() {
  return document.documentElement.dataset.labkitLanguage;
}

/** Whatever says the language in an attribute follows what the page shows. */
function followLanguage() {
  const language = current();
  for (const button of document.querySelectorAll(".labkit-switch button"))
    button.ariaPressed = String(button.value === language);
  for (const [selector, [chinese, english]] of Object.entries(NAMES))
    for (const element of document.querySelectorAll(selector))
      element.ariaLabel = { zh: chinese, en: english, both: `${chinese} · ${english}` }[language];
  carryLanguage(language);
  reachScrollers();
}

/** What scrolls in itself can be reached by keyboard, and what does not is not in the way. */
function reachScrollers() {
  for (const box of document.querySelectorAll("article :is(pre, .table-wrapper, .text_html, .labkit-diagram)"))
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
}

/** Links inside the book carry the choice where the browser may not keep it for the next page. */
function carryLanguage(language) {
  const carried = remembered() === language && location.protocol !== "file:" ? "" : language;
  for (const link of document.querySelectorAll("a[href]")) {
    const url = new URL(link.href);
    if (url.origin !== location.origin || !url.pathname.endsWith(".html") || link.getAttribute("href").startsWith("#"))
      continue;
    url.searchParams.delete("lang");
    if (carried) url.searchParams.set("lang", carried);
    link.href = url.href;
  }
  for (const form of document.querySelectorAll("form[role=search]")) {
    form.elements.lang?.remove();
    if (carried) form.append(Object.assign(document.createElement("input"), { type: "hidden", name: "lang", value: carried }));
  }
}

/** Change the page; what stood at its top, or the same in the other language, stays there. */
function keepPlace(change) {
  const top = document.querySelector(".mobile-header")?.getBoundingClientRect().bottom ?? 0;
  const blocks = [...document.querySelectorAll("article :is(h1, h2, h3, h4, p, li, pre, table, dt, dd, img)")];
  const seen = blocks.find((block) => block.checkVisibility() && block.getBoundingClientRect().bottom > Math.max(top, 0));
  const before = seen?.getBoundingClientRect().top;
  change();
  if (!seen || (scrollY === 0 && before > 0)) return;
  const now = seen.checkVisibility() ? seen : counterpart(seen);
  scrollBy({ top: now.getBoundingClientRect().top - before, behavior: "instant" });
}

/** What says the same as a block that is hidden now: as far into the neighbour's element. */
function counterpart(block) {
  const element = block.closest("[lang]");
  const other = [element.nextElementSibling, element.previousElementSibling].find(
    (each) => each?.lang && each.lang !== element.lang && each.checkVisibility(),
  );
  if (!other) return element.parentElement;
  const within = (all) => [...all.querySelectorAll("p, li, pre, table, dd")];
  const [ours, theirs] = [within(element), within(other)];
  const share = ours.indexOf(block) / Math.max(ours.length, 1);
  return theirs[Math.max(0, Math.floor(share * theirs.length))] ?? other;
}

// --- Terms --------------------------------------------------------------------------------------

/** A term says what it means when the pointer is on it, or the keyboard, or a finger. */
function explainTerms() {
  const tip = document.createElement("div");
  Object.assign(tip, { id: "labkit-meaning", role: "tooltip", hidden: true });
  document.body.append(tip);
  let shown = null;
  const hide = () => {
    shown?.removeAttribute("aria-describedby");
    shown = null;
    tip.hidden = true;
  };
  const show = (term) => {
    hide();
    shown = term;
    term.setAttribute("aria-describedby", tip.id);
    tip.textContent = term.dataset.meaning;
    tip.lang = term.closest("[lang]").lang;
    tip.hidden = false;
    place(tip, term);
  };
  for (const term of document.querySelectorAll(".labkit-term")) {
    term.dataset.meaning = term.title;
    term.removeAttribute("title"); // the browser's own would cover ours
    term.addEventListener("pointerenter", () => show(term));
    term.addEventListener("pointerleave", () => document.activeElement !== term && hide());
    term.addEventListener("focus", () => show(term));
    term.addEventListener("blur", hide);
    let fresh = false;
    term.addEventListener("pointerdown", (event) => (fresh = event.pointerType === "touch" && document.activeElement !== term));
    term.addEventListener("click", (event) => fresh && event.preventDefault()); // the first touch explains
  }
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
}

/** Below the term, or above it where there is no room, and never beyond the page's edge. */
function place(tip, term) {
  const line = term.getClientRects()[0];
  const { width, height } = tip.getBoundingClientRect();
  const edge = document.documentElement.clientWidth - width - 8;
  const below = line.bottom + 6;
  tip.style.left = `${Math.max(8, Math.min(line.left, edge))}px`;
  tip.style.top = `${below + height < innerHeight ? below : line.top - height - 6}px`;
}

// --- Search -------------------------------------------------------------------------------------

const MOST = 60; // results
const AROUND = 60; // characters of an excerpt on each side

function startSearch(results) {
  const base = document.documentElement.dataset.content_root;
  const field = document.createElement("input");
  Object.assign(field, { type: "search", className: "labkit-query", value: new URLSearchParams(location.search).get("q") ?? "" });
  field.ariaLabel = field.placeholder = "搜索 · Search";
  const status = document.createElement("p");
  status.role = "status";
  const list = document.createElement("ol");
  results.append(field, status, list);
  window.labkitFound = (sections) => {
    const look = () => showResults(sections, field.value, status, list, base);
    field.addEventListener("input", look);
    new MutationObserver(look).observe(document.documentElement, { attributeFilter: ["data-labkit-language"] });
    look();
  };
  const script = document.createElement("script");
  script.src = `${base}_static/search-data.js`;
  document.head.append(script);
  field.focus();
}

function showResults(sections, query, status, list, base) {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const found = words.length ? find(sections, words) : [];
  status.innerHTML = words.length
    ? `<span lang="zh-Hans">${found.length ? `找到 ${found.length} 节` : "没有找到"}</span> ` +
      `<span lang="en">${found.length ? `${found.length} sections found` : "Nothing found"}</span>`
    : "";
  list.replaceChildren(...found.slice(0, MOST).map((section) => makeResult(section, words, base)));
}

/** The sections that have every word, those with words in their headings first. */
function find(sections, words) {
  const scored = sections.map((section) => {
    const [title, page, text] = ["title", "page", "text"].map((part) => Object.values(section[part]).join("\n").toLowerCase());
    const scores = words.map((word) => 20 * title.includes(word) + 5 * page.includes(word) + Math.min(9, text.split(word).length - 1));
    return { section, score: scores.every(Boolean) ? scores.reduce((a, b) => a + b) : 0 };
  });
  return scored.filter(({ score }) => score).sort((a, b) => b.score - a.score).map(({ section }) => section);
}

function makeResult({ url, page, title, text }, words, base) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  link.href = `${base}${url}`;
  link.textContent = url.includes("#") ? `${spoken(page)} › ${spoken(title)}` : spoken(title);
  const said = document.createElement("p");
  said.append(...excerpt(text, words));
  item.append(link, said);
  return item;
}

/** A heading in the language of the page; what both languages share stands before it. */
function spoken(title) {
  const languages = { zh: ["", "zh"], en: ["", "en"], both: ["", "zh", "en"] }[current()];
  const [shared = "", ...rest] = languages.map((language) => title[language]);
  return `${shared} ${rest.filter(Boolean).join(" · ")}`.trim();
}

/** Some text around the first word, in the page's language if it is there; each word marked. */
function excerpt(text, words) {
  const order = current() === "en" ? ["en", "", "zh"] : ["zh", "", "en"];
  const where = order.find((language) => text[language]?.toLowerCase().includes(words[0])) ?? order.find((language) => text[language]);
  const whole = text[where] ?? "";
  const at = Math.max(0, whole.toLowerCase().indexOf(words[0]));
  const part = `${at > AROUND ? "…" : ""}${whole.slice(Math.max(0, at - AROUND), at + words[0].length + 2 * AROUND)}…`;
  const pattern = new RegExp(`(${words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|")})`, "i");
  return part.split(new RegExp(pattern, "gi")).map((piece) => {
    if (!pattern.test(piece)) return piece;
    const mark = document.createElement("mark");
    mark.textContent = piece;
    return mark;
  });
}
