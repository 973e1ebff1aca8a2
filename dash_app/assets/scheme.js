// Sets the colour scheme before the first paint, so that a dark page does not flash white.
(function () {
  var chosen = null;
  try { chosen = window.localStorage.getItem("mantine-color-scheme-value"); } catch (ignored) { /* storage is off */ }
  var dark = chosen === "dark" ||
    (chosen !== "light" && window.matchMedia && window.matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.setAttribute("data-mantine-color-scheme", dark ? "dark" : "light");
})();
