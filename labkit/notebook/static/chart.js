// The curves of a container's control group. Numbers come from labkit/notebook/widgets/chart.py, all that are
// kept each time; here they are drawn, a curve for each resource.

const WIDTH = 320, HEIGHT = 60, MOST = 60;
const SVG = "http://www.w3.org/2000/svg";
const WORDS = {
  ended: { zh: "容器已经结束。", en: "The container has ended." },
  none: { zh: "这台机器不数", en: "not counted here" },
  limit: { zh: "上限", en: "limit" },
};

function shape(tag, attributes) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** One curve: the values from left to right, and its limit as a line. */
function curve(values, limit, label) {
  const known = values.filter((value) => value != null);
  const top = Math.max(1, ...known, limit ?? 0) * 1.1;
  const y = (value) => HEIGHT - (value / top) * HEIGHT;
  const drawn = shape("svg", { width: WIDTH, height: HEIGHT, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label });
  if (limit) drawn.append(shape("line", { x1: 0, x2: WIDTH, y1: y(limit), y2: y(limit), class: "labkit-limit" }));
  const points = values.map((value, at) => (value == null ? null : `${(at / (MOST - 1)) * WIDTH},${y(value)}`));
  drawn.append(shape("polyline", { points: points.filter(Boolean).join(" "), class: "labkit-curve" }));
  return drawn;
}

function row([name, zh, en], samples, limits) {
  const values = samples.map((sample) => sample[name]);
  const last = values.findLast((value) => value != null);
  const limit = limits[name];
  const number = last == null ? say(WORDS.none) : [`${Math.round(last * 10) / 10}`];
  const bound = limit ? [" / ", `${Math.round(limit)}`] : [];
  return el("tr", {},
    el("th", { scope: "row" }, say({ zh, en })),
    el("td", {}, curve(values, limit, both({ zh, en }))),
    el("td", { class: "labkit-number" }, number, bound));
}

function render({ model, el: root }) {
  stage(root, "chart");
  const body = el("tbody");
  const status = el("p", { role: "status" });
  root.append(el("table", {}, body), status);
  const hear = (message) => {
    if (message.type === "ended") status.replaceChildren(...say(WORDS.ended));
    if (message.type !== "state") return;
    body.replaceChildren(...message.curves.map((each) => row(each, message.samples, message.limits)));
  };
  model.on("msg:custom", hear);
  const unwatch = watch(root, () => !body.childElementCount, sender(model));
  const forget = onEnd(unwatch);
  return () => {
    unwatch();
    model.off("msg:custom", hear);
    forget();
  };
}

export default { initialize, render };
