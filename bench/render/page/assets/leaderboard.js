/* The leaderboard page: filters of the board, and the answers. All foreign text goes through textContent. */

/* A pack is base64 of deflated JSON; it is opened once, when it is first shown. */
const opened = new Map();
const unpack = (number) => {
  if (!opened.has(number)) {
    const bytes = Uint8Array.from(atob(document.getElementById("pack" + number).textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    opened.set(number, new Response(stream).json());
  }
  return opened.get(number);
};

(function filters() {
  const form = document.getElementById("filters");
  if (!form) return;
  const field = (name) => document.getElementById("by-" + name);
  const status = document.getElementById("matches");
  const groups = [...document.querySelectorAll(".group")].map((section) => {
    const table = section.querySelector("table.board");
    return { section, board: table && new Board(table), every: section.querySelector(".every") };
  });
  const apply = () => {
    const wanted = { family: field("family").value, method: field("method").value, scale: field("scale").value };
    const text = field("model").value.trim().toLowerCase();
    const fits = (row) => (!text || row.model.toLowerCase().includes(text)) &&
      Object.entries(wanted).every(([key, value]) => !value || row[key] === value);
    let matching = 0, total = 0;
    for (const { section, board, every } of groups) {
      section.hidden = Boolean(wanted.scale) && section.dataset.scale !== wanted.scale;
      if (!board) continue;
      board.fits = fits;
      const fitting = board.show(), models = new Set(fitting.map((row) => row.model));
      matching += fitting.length;
      total += board.rows.length;
      if (every) every.hidden = fitting.length <= board.limit;
      for (const marked of section.querySelectorAll(".plot .point, figure[data-model]"))
        marked.classList.toggle("faded", !models.has(marked.dataset.model));
    }
    status.textContent = matching === total ? total + " rows" : matching + " of " + total + " rows";
  };
  form.addEventListener("input", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const { board, every } of groups)
    if (every) every.addEventListener("click", () => { board.limit = Infinity; apply(); });
  apply();
  for (const { section, board } of groups)
    if (section.id in DATA.rest) unpack(DATA.rest[section.id]).then((rest) => { board.add(rest); apply(); });
})();

for (const section of document.querySelectorAll(".answers")) {
  const group = DATA.answers[section.dataset.group], viewer = section.querySelector(".viewer");
  const find = viewer.querySelector(".find"), order = viewer.querySelector(".order"), seed = viewer.querySelector(".seed");
  const list = viewer.querySelector(".questions"), more = viewer.querySelector(".more"), found = viewer.querySelector(".found");
  const PAGE = 12;
  let questions = null, shown = PAGE, turn = 0;
  const chosen = new Set(group.models.map((one) => one.model));

  const seeds = [...new Set(group.models.flatMap((one) => one.runs.map((run) => run.seed)))].sort((a, b) => a - b);
  for (const one of seeds) seed.append(new Option(one, one));
  viewer.querySelector(".seedlabel").hidden = seeds.length < 2;
  for (const one of group.models) {
    const label = el("label"), box = el("input");
    box.type = "checkbox"; box.checked = true;
    box.addEventListener("change", () => { if (box.checked) chosen.add(one.model); else chosen.delete(one.model); refresh(); });
    label.append(box, one.model);
    viewer.querySelector(".models").append(label);
  }

  const runs = () => group.models.filter((one) => chosen.has(one.model)).map((one) => ({
    model: one.model, base: one.base, baseScores: one.baseScores,
    run: one.runs.find((run) => String(run.seed) === seed.value) || one.runs[0],
  }));

  const standing = (index, shownRuns) => {
    const gains = shownRuns.map(({ run, baseScores }) => run.scores[index] - baseScores[index]);
    const values = shownRuns.map(({ run }) => run.scores[index]);
    return { gain: Math.max(...gains), loss: Math.min(...gains), spread: Math.max(...values) - Math.min(...values),
      mean: values.reduce((a, b) => a + b, 0) / (values.length || 1),
      meanGain: gains.reduce((a, b) => a + b, 0) / (gains.length || 1) };
  };

  const cards = async (index) => {
    const question = questions[index], grid = el("div", "cards"), reference = el("section", "card ref");
    reference.append(el("h5", "", question.r.length > 1 ? "References" : "Reference"));
    for (const one of question.r) reference.append(textBlock(one));
    if (whole(question.c)) reference.append(el("h6", "", "Context given"), textBlock(question.c, "untuned"));
    grid.append(reference);
    for (const { model, run, base, baseScores } of runs()) {
      const [tuned, untuned] = await Promise.all([unpack(run.pack), base === null ? null : unpack(base)]);
      const card = el("section", "card"), head = el("h5"), change = run.scores[index] - baseScores[index];
      const value = el("span", "score", score(baseScores[index]) + " \u2192 ");
      value.append(el("b", change > 0 ? "up" : change < 0 ? "down" : "", score(run.scores[index])));
      head.append(el("span", "", model), value);
      card.append(head, textBlock(tuned[index], "", question.r[0]));
      if (untuned) card.append(el("h6", "", "untuned"), textBlock(untuned[index], "untuned"));
      grid.append(card);
    }
    return grid;
  };

  const item = (index, shownRuns) => {
    const line = el("li"), button = el("button", "question"), panel = el("div", "panel"), at = standing(index, shownRuns);
    button.type = "button";
    panel.id = section.id + "-" + index;
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-controls", panel.id);
    const text = el("span", "q", visible(whole(questions[index].q)));
    text.dir = "auto";
    const facts = [questions[index].u, "mean " + score(at.mean), signed(Math.round(at.meanGain)) + " over base"];
    button.append(text, el("span", "facts", facts.filter(Boolean).join(" \u00b7 ")));
    panel.hidden = true;
    button.addEventListener("click", async () => {
      const open = button.getAttribute("aria-expanded") === "true";
      button.setAttribute("aria-expanded", String(!open));
      panel.hidden = open;
      if (!open) panel.replaceChildren(await cards(index));
    });
    line.append(button, panel);
    return line;
  };

  const refresh = async () => {
    const mine = ++turn;
    questions = questions || await unpack(group.questions);
    const shownRuns = runs(), wanted = find.value.trim().toLowerCase();
    let answers = [];
    if (wanted) answers = await Promise.all(shownRuns.map(({ run }) => unpack(run.pack)));
    if (mine !== turn) return;
    const holds = (index) => [questions[index].q, questions[index].c, ...questions[index].r, ...answers.map((one) => one[index])]
      .some((text) => whole(text).toLowerCase().includes(wanted));
    let places = questions.map((_, index) => index);
    if (wanted) places = places.filter(holds);
    if (order.value === "ends" && shownRuns.length) {
      const mean = new Map(places.map((i) => [i, standing(i, shownRuns).meanGain]));
      const down = [...places].sort((a, b) => mean.get(b) - mean.get(a) || a - b);
      places = down.map((_, n) => n % 2 ? down[down.length - 1 - (n - 1) / 2] : down[n / 2]);
    } else if (order.value !== "set" && shownRuns.length) {
      const sign = order.value === "loss" ? 1 : -1, keys = new Map(places.map((i) => [i, standing(i, shownRuns)[order.value]]));
      places.sort((a, b) => sign * (keys.get(a) - keys.get(b)) || a - b);
    }
    found.textContent = places.length + (places.length === 1 ? " question" : " questions");
    list.replaceChildren(...places.slice(0, shown).map((index) => item(index, shownRuns)));
    more.hidden = places.length <= shown;
  };
  const again = () => { shown = PAGE; refresh(); };
  for (const control of [find, order, seed]) control.addEventListener("input", again);
  more.addEventListener("click", () => { shown += 4 * PAGE; refresh(); });
  viewer.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  viewer.hidden = false;
  /* Unpacked when the reader comes near; at once where that cannot be observed. */
  if ("IntersectionObserver" in window) {
    const near = new IntersectionObserver((entries) => {
      if (entries.some((entry) => entry.isIntersecting)) { near.disconnect(); refresh(); }
    }, { rootMargin: "600px" });
    near.observe(section);
  } else refresh();
}
