(() => {
  const root = document.documentElement, key = "nncore-theme", order = ["auto", "light", "dark"];
  const apply = (theme) => {
    if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) button.textContent = theme[0].toUpperCase() + theme.slice(1);
  };
  const asked = /theme=(auto|light|dark)/.exec(location.hash);
  let theme = "auto";
  try { theme = localStorage.getItem(key) || "auto"; } catch (e) { /* kept for this page only */ }
  if (asked) theme = asked[1];
  if (!order.includes(theme)) theme = "auto";
  document.addEventListener("DOMContentLoaded", () => {
    apply(theme);
    const button = document.getElementById("theme");
    button.hidden = false;
    button.addEventListener("click", () => {
      theme = order[(order.indexOf(theme) + 1) % order.length];
      apply(theme);
      try { localStorage.setItem(key, theme); } catch (e) { /* the same */ }
    });
  });
  apply(theme);
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((d) => { d.dataset.was = d.open; d.open = true; }));
  addEventListener("afterprint", () => document.querySelectorAll("details").forEach((d) => { d.open = d.dataset.was === "true"; }));
})();
