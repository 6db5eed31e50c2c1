// Which language this page is to show: as asked in its address, as chosen before, as the browser's.
// It runs before the page is drawn. The lab's notebooks keep their choice under the same name.

const LANGUAGES = { zh: "zh-Hans", en: "en", both: "zh-Hans" };
const REMEMBERED = "labkit-language";

function remembered() {
  try {
    return localStorage.getItem(REMEMBERED);
  } catch {
    return null; // the browser keeps nothing
  }
}

function showLanguage(language) {
  document.documentElement.dataset.labkitLanguage = language;
  document.documentElement.lang = LANGUAGES[language];
}

showLanguage(
  [new URLSearchParams(location.search).get("lang"), remembered()].find((each) => each in LANGUAGES) ??
    (/^zh\b/i.test(navigator.language) ? "zh" : "en"),
);
