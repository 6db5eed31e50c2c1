"""What axe-core finds wrong in a page; and its rule for contrast, by looks.

That rule takes three quarters of its time, because it looks for the grounds of every single word. A
page has a thousand words and forty looks, though: what has the same colour and size on the same
grounds can be read as well as the first of its kind. So axe is shown one of each, and none that it
has found good before, in whatever page.
"""

from collections.abc import Sequence
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

CONTRAST = "color-contrast"
BAD = {"serious", "critical"}
# While it lies over the page, at the start and when the theme changes, nothing below it is seen.
UNCOVERED = "() => !document.getElementById('jupyterlab-splash')"
RUN = "([context, options]) => axe.run(context, options).then(found => found.violations)"

# The looks that are not `known`, each at an element that is marked with it, or, `whole`, at all of
# them. Grounds are what is painted behind an element by those that it is in, and what else is
# painted where it is. Not marked is what axe judges never: a single letter, and a disabled control
# with its label, which may be as pale as they like.
MARK = """([include, exclude, known, whole]) => {
  for (const e of document.querySelectorAll('[data-look]')) {
    delete e.dataset.look;
    delete e.look;
  }
  const style = (e, ...names) => { const s = getComputedStyle(e);
    return names.map(name => s[name]).join(' '); };
  const painted = e =>
    style(e, 'backgroundColor', 'backgroundImage', 'opacity', 'filter', 'mixBlendMode');
  const grounds = new Map([[null, '']]);
  const ground = e => {
    if (!grounds.has(e)) grounds.set(e, ground(e.parentElement) + '/' + painted(e));
    return grounds.get(e).replaceAll('/rgba(0, 0, 0, 0) none 1 none normal', '');
  };
  const others = e => {
    const box = e.getBoundingClientRect();
    return document.elementsFromPoint(box.x + box.width / 2, box.y + box.height / 2).filter(
      other => !other.contains(e) && !e.contains(other)).map(painted).join('/');
  };
  const look = e =>
    [ground(e), others(e), style(e, 'color', 'fontSize', 'fontWeight', 'textShadow')].join('; ');
  const isText = e => e.textContent.trim().length > 1 &&
    [...e.childNodes].some(child => child.nodeType === Node.TEXT_NODE && child.data.trim());
  const isJudged = e => (isText(e) || e.matches('input:not([type=checkbox], [type=radio]), select'))
    && e.checkVisibility() && !(exclude.length && e.closest(exclude.join()))
    && !e.closest('[disabled], [aria-disabled=true]') && !e.closest('label')?.control?.disabled;
  const found = new Set();
  for (const top of document.querySelectorAll(include))
    for (const e of [top, ...top.querySelectorAll('*')]) {
      if (!isJudged(e)) continue;
      const its = look(e);
      if (known.includes(its) || found.has(its) && !whole) continue;
      found.add(its);
      e.dataset.look = '';  // for axe to find it, which shows what it finds
      e.look = its;
    }
  return [...found];
}"""
# Those that break the rule, and the looks that keep it.
CONTRASTS = """exclude => axe.run(
  {include: ['[data-look]'], exclude},
  {runOnly: ['color-contrast'], resultTypes: ['violations', 'passes'], elementRef: true}
).then(({violations, passes}) => [
  violations, passes.flatMap(rule => rule.nodes.map(node => node.element.look ?? null))])"""

good: set[str] = set()  # looks


def violations(
    page: Page, include: str = ":root", exclude: Sequence[str] = (), **options: object
) -> list[str]:
    """The rules of axe-core, serious or critical, that a part of the page breaks, and where.

    Of texts that look alike the first is named. `include` is a selector; some rules are for whole
    pages alone. options: axe's own, as ``runOnly``, for all rules but that of contrast.
    """
    page.wait_for_function(UNCOVERED)
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(Axe().axe_script)
    wanted = {"rules": {CONTRAST: {"enabled": False}}, "resultTypes": ["violations"], **options}
    found = page.evaluate(RUN, [{"include": [include], "exclude": exclude}, wanted])
    return [
        f"{rule['id']}: {node['html']} {node['failureSummary']}"
        for rule in [*found, *_contrasts(page, include, exclude)]
        if rule["impact"] in BAD
        for node in rule["nodes"]
    ]


def _contrasts(page: Page, include: str, exclude: Sequence[str]) -> list[dict[str, Any]]:
    """One of each new look; of those that axe could not judge by it, all there are."""
    for whole in False, True:
        new = page.evaluate(MARK, [include, exclude, [*good], whole])
        if not new:
            break
        found, passed = page.evaluate(CONTRASTS, exclude)
        good.update(filter(None, passed))
        if found:
            return list(found)
    return []
