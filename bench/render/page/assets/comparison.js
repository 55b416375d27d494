/* The comparison page: the table sorts; the examples that moved open. */

for (const table of document.querySelectorAll("table.board")) new Board(table).limit = Infinity;

(function moved() {
  const list = document.getElementById("moved"), model = document.getElementById("moved-model");
  if (!list) return;
  const card = (name, title, value, reference, change) => {
    const made = el("section", name), head = el("h5");
    head.append(el("span", "", title));
    if (change) head.append(change);
    made.append(head, textBlock(value, "", reference));
    return made;
  };
  const item = (one, index) => {
    const line = el("li"), button = el("button", "question"), panel = el("div", "panel");
    const change = one.to - one.from, text = el("span", "q", visible(whole(one.q)));
    button.type = "button";
    panel.id = "moved-" + index;
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-controls", panel.id);
    text.dir = "auto";
    const facts = el("span", "facts", (one.u ? one.u + " \u00b7 " : "") + score(one.from) + " \u2192 " + score(one.to) + " ");
    facts.append(el("b", change > 0 ? "up" : change < 0 ? "down" : "", signed(change)));
    button.append(text, facts);
    panel.hidden = true;
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!open));
      panel.hidden = open;
      if (open || panel.childElementCount) return;
      const cards = el("div", "cards");
      if (!one.told) cards.append(el("p", "fine", "The texts of this example were not loaded; see the records."));
      else cards.append(card("card ref", "Reference", one.r),
        card("card", "A", one.a, one.r, el("span", "score", score(one.from))),
        card("card", "B", one.b, one.r, el("span", "score", score(one.to))));
      panel.append(cards);
    });
    line.append(button, panel);
    return line;
  };
  const refresh = () => list.replaceChildren(...DATA[model.value].map(item));
  model.addEventListener("input", refresh);
  model.form.addEventListener("submit", (event) => event.preventDefault());
  refresh();
})();
