// Tables sort by a click, or a key, on a heading: up, down, and back to how they came. Absent figures stay last.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const headings = [...table.tHead.rows[0].cells];
  const said = document.getElementById("sorted");
  const key = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };
  const compare = (column, numeric, sign) => (a, b) => {
    if (!numeric) return sign * a.cells[column].textContent.localeCompare(b.cells[column].textContent);
    const [left, right] = [key(a, column), key(b, column)];
    if (left === null || right === null) return (left === null) - (right === null);
    return sign * (left - right);
  };
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" }[heading.ariaSort || "none"];
      for (const other of headings) other.ariaSort = "none";
      heading.ariaSort = next;
      const numeric = original.some((row) => key(row, column) !== null);
      const sign = next === "descending" ? -1 : 1;
      const rows = next === "none" ? original : [...original].sort(compare(column, numeric, sign));
      body.append(...rows);
      const how = next === "none" ? "in the order of the run" : `${next} by ${heading.textContent.trim()}`;
      if (said) said.textContent = `${table.caption ? table.caption.textContent.trim() : "table"}: ${how}`;
    });
  });
}
