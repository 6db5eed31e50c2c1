// The lab's home: it speaks the language that the notebooks' switch has chosen, and is fresh whenever somebody looks.

const REMEMBERED = "labkit-language"; // in localStorage, as language.js has it
const page = document.documentElement;
const radios = [...document.querySelectorAll(".choices input")];

/** What was chosen by hand; else what LABKIT_LANG names; else what the browser speaks. */
function currentLanguage() {
  let chosen = null;
  try {
    chosen = localStorage.getItem(REMEMBERED);
  } catch {}
  const known = [chosen, page.dataset.named].find((value) => radios.some((radio) => radio.value === value));
  return known || (/^zh\b/i.test(navigator.language) ? "zh" : "en");
}

function speak(language) {
  page.dataset.labkitLanguage = language;
  page.lang = language === "en" ? "en" : "zh-Hans";
  for (const radio of radios) radio.checked = radio.value === language;
}

for (const radio of radios)
  radio.addEventListener("change", () => {
    try {
      localStorage.setItem(REMEMBERED, radio.value);
    } catch {}
    speak(radio.value);
  });
window.addEventListener("storage", () => speak(currentLanguage())); // a notebook's switch, in another tab
document.querySelector(".choices").hidden = false;
speak(currentLanguage());

/** Ask again what is solved; what has the focus or is unfolded stays so. */
async function refresh() {
  const answer = await fetch(location.pathname).catch(() => null); // the lab may have ended
  if (!answer?.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
  const old = document.querySelector("main");
  if (!fresh || old.contains(document.activeElement) && old.querySelector("details[open]")) return;
  const place = [...old.querySelectorAll("a, summary")].indexOf(document.activeElement);
  old.replaceWith(fresh);
  fresh.querySelectorAll("a, summary")[place]?.focus();
}

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") refresh();
});
window.addEventListener("pageshow", (event) => {
  if (event.persisted) refresh(); // the browser has shown the page that it had kept
});
