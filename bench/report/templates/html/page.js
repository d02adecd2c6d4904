"use strict";
// A link opens the folds around its target, also one that is followed again, and one in the page's address.
const reveal = ({ hash }) => {
  const target = document.getElementById(hash.slice(1));
  for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  target?.scrollIntoView();
};
addEventListener("hashchange", () => reveal(location));
document.addEventListener("click", ({ target }) => reveal(target.closest("a") ?? { hash: "" }));
reveal(location);
// The keyboard focus stops at a table or plot only if it can scroll.
for (const box of document.querySelectorAll(".scroll")) {
  new ResizeObserver(() => { box.tabIndex = box.scrollWidth > box.clientWidth ? 0 : -1; }).observe(box);
}
// What changes without a reload is told to who cannot see it.
const say = (table, what) => {
  document.getElementById("said").textContent = `${table.caption.textContent.trim()}: ${what}`;
};
for (const table of document.querySelectorAll("table:has(.skipped)")) {
  const rows = [...table.querySelectorAll(".skipped")].map((cell) => cell.parentElement);
  const loops = `${rows.length} skipped loop${rows.length === 1 ? "" : "s"}`;
  const box = Object.assign(document.createElement("input"), { type: "checkbox" });
  box.addEventListener("change", () => {
    for (const row of rows) row.hidden = box.checked;
    say(table, `${loops} ${box.checked ? "hidden" : "shown"}`);
  });
  const label = Object.assign(document.createElement("label"), { className: "choice" });
  label.append(box, ` Hide ${loops}`);
  table.parentElement.before(label);
}
// A click or a key on a heading sorts the table: best first, the reverse, original order. Absent values stay last.
const mostIsBest = /^speedup|\/s$/i;
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  const figure = (row, column) => {
    const { value } = row.cells[column].dataset;
    return value === undefined ? null : Number(value);
  };
  const text = (row, column) => {
    const said = row.cells[column].textContent;
    return said === "\u2013" ? null : said;
  };
  const compare = (of, column, sign) => (a, b) => {
    const [left, right] = [of(a, column), of(b, column)];
    if (left === null || right === null) return (left === null) - (right === null);
    return sign * (typeof left === "number" ? left - right : left.localeCompare(right));
  };
  headings.forEach((heading, column) => {
    const name = heading.textContent.trim();
    const of = original.some((row) => figure(row, column) !== null) ? figure : text;
    const falls = of === figure && [name, table.caption.textContent.trim()].some((said) => mostIsBest.test(said));
    const ways = falls ? ["descending", "ascending", "none"] : ["ascending", "descending", "none"];
    const button = Object.assign(document.createElement("button"), { type: "button" });
    button.append(...heading.childNodes);
    heading.append(button);
    heading.ariaSort = "none";
    button.addEventListener("click", () => {
      const next = ways[(ways.indexOf(heading.ariaSort) + 1) % 3];
      for (const other of headings) other.ariaSort = "none";
      heading.ariaSort = next;
      const sign = next === "descending" ? -1 : 1;
      const rows = next === "none" ? original : [...original].sort(compare(of, column, sign));
      body.append(...rows);
      say(table, next === "none" ? "in the order of the run" : `${next} by ${name}`);
    });
  });
}
// A course of many runs has more in it than a page's width shows: its range makes it larger, and its box scrolls.
for (const plot of document.querySelectorAll('.plot[aria-labelledby^="history-"]')) {
  const box = plot.parentElement;
  const zoom = Object.assign(document.createElement("input"), { type: "range", min: 1, max: 8, step: 0.5, value: 1 });
  let before = 1;
  zoom.addEventListener("input", () => {
    const middle = (box.scrollLeft + box.clientWidth / 2) / before;
    before = Number(zoom.value);
    plot.style.width = `${100 * before}%`;
    box.classList.toggle("zoomed", before > 1);
    box.scrollLeft = middle * before - box.clientWidth / 2;
  });
  const label = Object.assign(document.createElement("label"), { className: "choice" });
  label.append("Zoom ", zoom);
  box.before(label);
}
