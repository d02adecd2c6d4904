// A click or a key on a heading sorts the table: ascending, descending, original order. Absent values stay last.
"use strict";
// The keyboard focus stops at a table or plot only if it can scroll.
for (const box of document.querySelectorAll(".scroll")) {
  new ResizeObserver(() => { box.tabIndex = box.scrollWidth > box.clientWidth ? 0 : -1; }).observe(box);
}
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  const said = document.getElementById("sorted");
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
    heading.querySelector("button").addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" }[heading.ariaSort || "none"];
      for (const other of headings) other.ariaSort = "none";
      heading.ariaSort = next;
      const of = original.some((row) => figure(row, column) !== null) ? figure : text;
      const sign = next === "descending" ? -1 : 1;
      const rows = next === "none" ? original : [...original].sort(compare(of, column, sign));
      body.append(...rows);
      const how = next === "none" ? "in the order of the run" : `${next} by ${heading.textContent.trim()}`;
      if (said) said.textContent = `${table.caption ? table.caption.textContent.trim() : "table"}: ${how}`;
    });
  });
}
