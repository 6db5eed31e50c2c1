const WORDS = {
  bar: { zh: "单元格正在运行", en: "A cell is running" },
  seconds: { zh: "秒", en: "s" },
  stop: { zh: "停止", en: "Stop" },
  stopping: { zh: "正在停止", en: "Stopping" },
  lost: { zh: "没有停下：请用菜单“内核”", en: "It did not stop: use the menu Kernel" },
};

/** The server that gave us this page, as JupyterLab says; null elsewhere. */
function jupyter() {
  const config = document.getElementById("jupyter-config-data");
  return config && JSON.parse(config.textContent);
}

/** Have the server interrupt the kernel: the kernel itself is too busy to be asked. */
async function interrupt(kernel) {
  const { baseUrl, token } = jupyter();
  const headers = { "X-XSRFToken": /\b_xsrf=([^;]*)/.exec(document.cookie)?.[1] ?? "" };
  if (token) headers.Authorization = `token ${token}`;
  const url = `${baseUrl}api/kernels/${encodeURIComponent(kernel)}/interrupt`;
  const answer = await fetch(url, { method: "POST", headers });
  if (!answer.ok) throw new Error(answer.statusText);
}

function makeBar(kernel, before) {
  const elapsed = el("span", { class: "labkit-elapsed" });
  const stop = el("button", { type: "button", "data-lm-suppress-shortcuts": "true" }, say(WORDS.stop));
  const said = el("span", { role: "status" }, say(WORDS.bar));
  const element = el("div", { class: "labkit-waiting-bar" }, said,
    el("progress", { "aria-label": both(WORDS.bar) }), elapsed, jupyter() ? stop : null);
  stop.addEventListener("click", async () => {
    stop.disabled = true;
    said.replaceChildren(...say(WORDS.stopping));
    try {
      await interrupt(kernel);
    } catch {
      said.replaceChildren(...say(WORDS.lost));
    }
  });
  const began = performance.now() - before * 1000;
  const tick = () => {
    const seconds = Math.floor((performance.now() - began) / 1000);
    elapsed.replaceChildren(`${seconds} `, ...say(WORDS.seconds));
  };
  tick();
  return { element, timer: setInterval(tick, 250) };
}

function render({ model, el: root }) {
  root.classList.add("labkit-waiting");
  let bar = null;
  const hide = () => {
    if (!bar) return;
    clearInterval(bar.timer);
    bar.element.remove();
    bar = null;
  };
  const show = () => {
    hide();
    if (!model.get("busy")) return;
    bar = makeBar(model.get("kernel"), model.get("seconds"));
    (root.closest(".jp-NotebookPanel") ?? document.body).append(bar.element);
  };
  model.on("change:busy", show);
  model.on("comm:close", hide);
  show();
  const forget = onEnd(hide);
  return () => {
    model.off("change:busy", show);
    model.off("comm:close", hide);
    forget();
    hide();
  };
}

export default { initialize, render };
