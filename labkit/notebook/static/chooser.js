const SAY = {
  kinds: { zh: "命名空间", en: "Namespaces" },
  kind: { zh: "种类", en: "Kind" },
  isolates: { zh: "隔离什么", en: "What it isolates" },
  host: { zh: "宿主机", en: "Host" },
  box: { zh: "容器", en: "Container" },
  verdict: { zh: "结论", en: "Verdict" },
  same: { zh: "相同", en: "same" },
  new: { zh: "新的", en: "new" },
  absent: { zh: "没有", en: "absent" },
  unknown: { zh: "未运行", en: "not run" },
  hostname: { zh: "主机名", en: "Host name" },
  program: { zh: "程序", en: "Program" },
  proc: { zh: "挂上自己的 `/proc`", en: "mount its own `/proc`" },
  run: { zh: "运行", en: "Run" },
  output: { zh: "输出", en: "Output" },
  silent: { zh: "没有输出", en: "no output" },
  trace: { zh: "调用记录", en: "Trace" },
  languages: { zh: "同一个容器，五种说法", en: "The same container in five languages" },
  copy: { zh: "复制", en: "Copy" },
  copied: { zh: "已复制", en: "Copied" },
  allSame: { zh: "八种都与宿主机相同", en: "all eight are the same as the host's" },
  refused: { zh: "没有运行", en: "not run" },
};

function render({ model, el: root }) {
  stage(root, "chooser");
  const form = makeForm(model);
  const answer = makeAnswer();
  root.append(form.element, answer.element);
  const asked = () => form.fill(model.get("choice"));
  const answered = () => {
    form.show(model.get("answer"));
    answer.show(model.get("answer"));
  };
  asked();
  answered();
  model.on("change:choice", asked);
  model.on("change:answer", answered);
  const forget = sayEnd(root, () => {
    form.end();
    answer.end();
  });
  return () => {
    forget();
    model.off("change:choice", asked);
    model.off("change:answer", answered);
  };
}

/** The checkboxes, each in its row of the comparison, and the fields below them. */
function makeForm(model) {
  const rows = model.get("kinds").map(makeRow);
  const proc = el("input", { type: "checkbox" });
  const hostname = field(SAY.hostname, { maxlength: 64, size: 16 });
  const program = field(SAY.program, { size: 40, class: "labkit-program" });
  const run = el("button", { type: "button" }, say(SAY.run));
  const element = el(
    "div",
    {},
    el("div", { class: "labkit-wide", tabindex: 0, role: "region", "aria-label": both(SAY.kinds) }, table(rows)),
    el("div", { class: "labkit-fields" }, hostname.element, program.element,
      el("label", {}, proc, el("span", {}, say(SAY.proc))),
      run),
  );
  const read = () => ({
    kinds: rows.filter((row) => row.box.checked).map((row) => row.name),
    hostname: hostname.input.value,
    program: program.input.value,
    proc: proc.checked,
  });
  let last = "";
  const send = () => {
    last = JSON.stringify(read());
    model.set("choice", { ...read(), at: Date.now() });
    model.save_changes();
  };
  // A field counts when it is left or Enter is pressed, not letter by letter: half a command is
  // another command. Enter runs it again even if nothing was changed.
  element.addEventListener("change", () => JSON.stringify(read()) === last || send());
  element.addEventListener("keydown", (event) => {
    const entered = event.key === "Enter" && !event.isComposing && event.target.type === "text";
    if (!entered) return;
    event.preventDefault();
    send();
  });
  run.addEventListener("click", send);
  return {
    element,
    fill(choice) {
      for (const row of rows) row.box.checked = choice.kinds.includes(row.name);
      hostname.input.value = choice.hostname;
      program.input.value = choice.program;
      proc.checked = choice.proc;
      last = JSON.stringify(read());
    },
    show(answer) {
      for (const row of rows) row.show(answer.rows[row.name]);
    },
    end() {
      for (const row of rows) row.show(null);
      for (const control of element.querySelectorAll("input, button")) control.disabled = true;
    },
  };
}

function field(words, attributes) {
  const input = el("input", { type: "text", autocomplete: "off", autocapitalize: "off", spellcheck: "false", ...attributes });
  return { input, element: el("label", {}, el("span", {}, say(words)), input) };
}

function table(rows) {
  const head = [SAY.kind, SAY.isolates, SAY.host, SAY.box, SAY.verdict];
  return el(
    "table",
    {},
    el("thead", {}, el("tr", {}, head.map((words) => el("th", { scope: "col" }, say(words))))),
    el("tbody", {}, rows.map((row) => row.element)),
  );
}

function makeRow([name, flag, zh, en]) {
  const box = el("input", { type: "checkbox" });
  const [host, inside, verdict] = [el("td"), el("td"), el("td")];
  const element = el(
    "tr",
    {},
    el("th", { scope: "row" }, el("label", {}, box, el("span", {}, name), " ", el("code", {}, flag))),
    el("td", {}, say({ zh, en }, "div")),
    host,
    inside,
    verdict,
  );
  return {
    name,
    box,
    element,
    show(row) {
      const [a, b, word] = row || [null, null, "unknown"];
      host.textContent = a ?? "–";
      inside.textContent = b ?? "–";
      verdict.replaceChildren(el("span", { class: `labkit-${word}` }, say(SAY[word])));
    },
  };
}

/** What came of it: remarks, output, trace, translations. */
function makeAnswer() {
  const status = el("div", { role: "status", class: "labkit-status" });
  const output = el("pre", { class: "labkit-output" });
  const trace = el("pre", { class: "labkit-trace" });
  const languages = makeLanguages();
  const element = el(
    "div",
    {},
    status,
    part(SAY.output, output),
    part(SAY.trace, trace),
    el("p", { class: "labkit-title" }, say(SAY.languages)),
    languages.element,
  );
  return {
    element,
    show(answer) {
      status.replaceChildren(...summary(answer));
      output.replaceChildren(answer.stdout, el("span", { class: "labkit-stderr" }, answer.stderr));
      if (!answer.stdout && !answer.stderr) output.replaceChildren(...say(SAY.silent));
      trace.textContent = answer.trace.join("\n");
      languages.show(answer.translations);
    },
    end() {
      element.hidden = true;
    },
  };
}

function part(words, body) {
  body.setAttribute("tabindex", "0");
  body.setAttribute("role", "region");
  body.setAttribute("aria-label", both(words));
  return [el("p", { class: "labkit-title" }, say(words)), body];
}

function summary(answer) {
  const fresh = Object.keys(answer.rows).filter((name) => answer.rows[name][2] === "new");
  const lines = [];
  if (answer.call) lines.push(el("p", { class: "labkit-wrong" }, el("code", {}, answer.call)));
  for (const words of answer.said) lines.push(el("div", { class: "labkit-wrong" }, say(words, "p")));
  if (answer.ended) {
    const found = fresh.length
      ? { zh: `新的：${fresh.join("、")}`, en: `new: ${fresh.join(", ")}` }
      : SAY.allSame;
    lines.push(el("p", {}, say({
      zh: `${found.zh}；${answer.ended.zh}`,
      en: `${found.en}; ${answer.ended.en}`,
    })));
  } else lines.push(el("p", {}, say(SAY.refused)));
  return lines;
}

/** One tab for each language. */
function makeLanguages() {
  const tabs = el("div", { role: "tablist", "aria-label": both(SAY.languages) });
  const code = el("pre", { tabindex: 0, role: "tabpanel" });
  const notes = el("ul");
  const copy = el("button", { type: "button" }, say(SAY.copy));
  let shown = "Python";
  let all = [];
  const choose = (language, focus) => {
    shown = language;
    draw();
    if (focus) tabs.querySelector("[aria-selected=true]").focus();
  };
  const draw = () => {
    const current = all.find((each) => each.language === shown) || all[0];
    tabs.replaceChildren(...all.map((each) => tab(each, each === current, choose)));
    if (!current) return;
    code.textContent = current.code;
    code.setAttribute("aria-label", current.language);
    notes.replaceChildren(...current.notes.map((note) => el("li", {}, say(note))));
  };
  tabs.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = all.findIndex((each) => each.language === shown);
    choose(all[(at + step + all.length) % all.length].language, true);
    event.preventDefault();
  });
  copy.addEventListener("click", async () => {
    await copyText(code.textContent);
    copy.replaceChildren(...say(SAY.copied));
    setTimeout(() => copy.replaceChildren(...say(SAY.copy)), 1500);
  });
  const element = el("div", {}, tabs, el("div", { class: "labkit-code" }, code, copy), notes);
  return {
    element,
    show(translations) {
      all = translations;
      element.hidden = !all.length;
      draw();
    },
  };
}

function tab(each, selected, choose) {
  return el(
    "button",
    {
      type: "button",
      role: "tab",
      "aria-selected": String(selected),
      tabindex: selected ? 0 : -1,
      onclick: () => choose(each.language, true),
    },
    each.language,
  );
}

/** To the clipboard; by way of a selection where the page may not reach it. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = el("textarea", { "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

export default { initialize, render };
