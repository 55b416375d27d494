/* Texts that models wrote: shown as text only, with the words that differ from the reference marked. */

/* Control characters would be invisible or worse; they are shown as their pictures. */
const visible = (text) => text.replace(/[\u0000-\u0008\u000b-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
  .replace(/\u007f/g, "\u2421");
const whole = (text) => (Array.isArray(text) ? text[0] : text);
const wordsOf = (text) => text.match(/\s+|\S+/g) || [];
const plain = (word) => word.toLowerCase().replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "");

/* Which words of an answer are no part of the longest common subsequence with the reference. */
const differing = (answer, reference) => {
  const LIMIT = 400;
  const mine = answer.map(plain), theirs = wordsOf(reference).map(plain).filter(Boolean);
  const at = mine.map((word, index) => [word, index]).filter(([word]) => word);
  if (at.length > LIMIT || theirs.length > LIMIT) {
    const known = new Set(theirs);
    return new Set(at.filter(([word]) => !known.has(word)).map(([, index]) => index));
  }
  const width = theirs.length + 1, table = new Uint16Array((at.length + 1) * width);
  for (let i = at.length - 1; i >= 0; i--)
    for (let j = theirs.length - 1; j >= 0; j--)
      table[i * width + j] = at[i][0] === theirs[j] ? table[(i + 1) * width + j + 1] + 1
        : Math.max(table[(i + 1) * width + j], table[i * width + j + 1]);
  const different = new Set(at.map(([, index]) => index));
  for (let i = 0, j = 0; i < at.length && j < theirs.length;) {
    if (at[i][0] === theirs[j]) { different.delete(at[i][1]); i++; j++; }
    else if (table[(i + 1) * width + j] >= table[i * width + j + 1]) i++;
    else j++;
  }
  return different;
};

const textBlock = (value, className, reference) => {
  const box = el("div"), text = visible(whole(value)), block = el("p", "answer " + (className || ""));
  block.dir = "auto";
  if (!text.trim()) { block.classList.add("empty"); block.textContent = "(empty)"; }
  else if (reference === undefined) block.textContent = text;
  else {
    const parts = wordsOf(text), different = differing(parts, visible(whole(reference)));
    let plainRun = "";
    parts.forEach((part, index) => {
      if (!different.has(index)) { plainRun += part; return; }
      block.append(plainRun, el("mark", "", part));
      plainRun = "";
    });
    block.append(plainRun);
  }
  if (text.length > (className === "untuned" ? 240 : 900)) { block.classList.add("long"); block.tabIndex = 0; }
  box.append(block);
  if (Array.isArray(value))
    box.append(el("p", "cutnote", "cut here: the first " + value[0].length.toLocaleString("en") + " of " +
      value[1].toLocaleString("en") + " characters; the record has the whole"));
  return box;
};

const score = (thousandths) => (thousandths / 1000).toFixed(3);
const signed = (thousandths) => (thousandths > 0 ? "+" : thousandths < 0 ? "\u2212" : "") + score(Math.abs(thousandths));
