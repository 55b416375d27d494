"use strict";
/* Shared by all pages: theme, tooltips, copying, sortable tables. */

const el = (name, className, text) => {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};

const DATA = JSON.parse(document.getElementById("data").textContent);

(function theme() {
  const button = document.getElementById("theme");
  const choices = ["system", "light", "dark"];
  let chosen = "system";
  try { chosen = localStorage.getItem("bench-theme") || "system"; } catch (refused) { /* file:// may refuse */ }
  const apply = () => {
    if (chosen === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = chosen;
    button.textContent = "Theme: " + chosen;
  };
  button.addEventListener("click", () => {
    chosen = choices[(choices.indexOf(chosen) + 1) % choices.length];
    try { localStorage.setItem("bench-theme", chosen); } catch (refused) { /* kept for this visit only */ }
    apply();
  });
  apply();
})();

(function tooltips() {
  const tip = document.getElementById("tip");
  const hide = () => { tip.hidden = true; };
  const show = (badge) => {
    const note = document.getElementById(badge.getAttribute("aria-describedby"));
    if (!note) return;
    tip.textContent = note.textContent;
    tip.hidden = false;
    const at = badge.getBoundingClientRect(), own = tip.getBoundingClientRect();
    tip.style.left = Math.max(8, Math.min(at.left, innerWidth - own.width - 8)) + "px";
    tip.style.top = (at.bottom + own.height + 12 < innerHeight ? at.bottom + 6 : at.top - own.height - 6) + "px";
  };
  const badgeOf = (event) => event.target.closest && event.target.closest(".badge");
  for (const kind of ["mouseover", "focusin", "click"])
    document.addEventListener(kind, (event) => { const badge = badgeOf(event); if (badge) show(badge); });
  for (const kind of ["mouseout", "focusout"])
    document.addEventListener(kind, (event) => { if (badgeOf(event)) hide(); });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("scroll", hide, { passive: true });
})();

for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    try { await navigator.clipboard.writeText(code.textContent); button.textContent = "Copied"; }
    catch (refused) { getSelection().selectAllChildren(code); button.textContent = "Selected"; }
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

/* A sortable table. Only its first body moves: rows that need no training stay at the bottom. Rows beyond
   FEW come as data and become elements when they are shown, so thousands cost little. */
const FEW = 100;
class Board {
  constructor(table) {
    this.body = table.tBodies[0];
    this.heads = [...table.tHead.rows[0].cells];
    this.rows = [...this.body.rows].map((element) => ({
      ...element.dataset, keys: [...element.cells].map((cell) => cell.dataset.v), element,
    }));
    this.fits = () => true;
    this.limit = FEW;
    this.heads.forEach((head, column) => {
      const button = head.querySelector(".sort");
      if (button) button.addEventListener("click", () => this.sort(head, column));
    });
  }
  add(rest) {
    for (const [model, family, method, scale, keys, html] of rest)
      this.rows.push({ model, family, method, scale, keys, html });
  }
  sort(head, column) {
    const numeric = head.classList.contains("num");
    const before = head.getAttribute("aria-sort");
    const first = numeric && column > 0 ? "descending" : "ascending";
    const order = before === "none" ? first : before === "ascending" ? "descending" : "ascending";
    for (const other of this.heads) if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1, text = new Intl.Collator("en", { numeric: true }).compare;
    const compare = numeric ? (a, b) => a - b : text;
    this.rows.sort((a, b) => sign * compare(a.keys[column], b.keys[column]));
    this.show();
  }
  /* The HTML is the program's own, escaped by its template; the policy lets no script in it run. */
  element(row) {
    if (!row.element) {
      const made = document.createElement("template");
      made.innerHTML = row.html;
      row.element = made.content.firstElementChild;
    }
    return row.element;
  }
  show() {
    const fitting = this.rows.filter(this.fits);
    this.body.replaceChildren(...fitting.slice(0, this.limit).map((row) => this.element(row)));
    return fitting;
  }
}
