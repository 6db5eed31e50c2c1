// guess(): a question before a cell. What is chosen and what is right, the kernel keeps.

const SAY = {
  first: { zh: "先猜一猜", en: "Guess first" },
  choose: { zh: "点一个答案，再往下运行；不猜也行。", en: "Choose an answer and go on. You may also go on without." },
  locked: { zh: "记下了。往下运行，看内核怎么说。", en: "Noted. Go on, and see what the kernel says." },
  over: { zh: "内核已经回答了，就在下面。", en: "The kernel has answered, further down." },
  yours: { zh: "你猜的", en: "your guess" },
  right: { zh: "内核的回答", en: "the kernel's answer" },
};

function render({ model, el: root }) {
  stage(root, "guess");
  const buttons = model.get("options").map((words, number) => makeOption(model, words, number));
  const status = el("p", { role: "status" });
  const asked = model.get("question");
  root.append(
    el("p", { class: "labkit-title" }, say(SAY.first)),
    el("div", { role: "group", "aria-label": both(asked) }, el("div", {}, say(asked, "p")), buttons.map((each) => each.element)),
    status,
  );
  let gone = false;
  const show = () => {
    const [chosen, right, over] = ["chosen", "right", "over"].map((name) => model.get(name));
    for (const each of buttons) each.show(chosen, right, gone || over || chosen >= 0);
    status.replaceChildren(...say(over ? SAY.over : chosen >= 0 ? SAY.locked : SAY.choose));
    status.hidden = gone;
  };
  show();
  model.on("change:chosen change:right change:over", show);
  const forget = sayEnd(root, () => {
    gone = true;
    show();
  });
  return () => {
    forget();
    model.off("change:chosen change:right change:over", show);
  };
}

/** One option. It keeps the focus when it is locked, so it is not disabled in HTML's sense. */
function makeOption(model, words, number) {
  const mark = el("span", { "aria-hidden": "true" });
  const said = el("span", { class: "labkit-said" });
  const choose = () => {
    if (element.getAttribute("aria-disabled") === "false") model.send({ guess: number });
  };
  const element = el("button", { type: "button", onclick: choose }, mark, el("span", {}, say(words)), said);
  return {
    element,
    show(chosen, right, locked) {
      const [mine, true_] = [chosen === number, right === number];
      element.setAttribute("aria-disabled", String(locked));
      element.setAttribute("aria-pressed", String(mine));
      element.className = true_ ? "labkit-right" : mine && right >= 0 ? "labkit-wrong" : "";
      mark.textContent = true_ ? "✓" : mine ? (right >= 0 ? "✗" : "●") : "○";
      const told = [mine && SAY.yours, true_ && SAY.right].filter(Boolean);
      said.replaceChildren(...told.flatMap((each) => say(each)));
    },
  };
}

export default { initialize, render };
