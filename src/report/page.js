"use strict";
// Tables sort by the column whose name is clicked: ascending, descending, as they were. Without this script they are plain tables.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);
  const given = Array.from(body.rows);
  const words = new Intl.Collator("en", { numeric: true });
  const key = (cell, number) => {
    if (cell.classList.contains("none")) return null;
    if (!number) return cell.textContent;
    const value = Number.parseFloat(cell.dataset.v ?? cell.textContent);
    return Number.isNaN(value) ? null : value;
  };
  heads.forEach((head, column) => {
    const number = head.classList.contains("n");
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: null }[head.getAttribute("aria-sort")];
      const order = next === undefined ? "ascending" : next;
      for (const other of heads) other.removeAttribute("aria-sort");
      if (order === null) {
        body.append(...given);
        return;
      }
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const keyed = given.map((row) => [key(row.cells[column], number), row]);
      // What is missing comes last, whichever way.
      keyed.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        return sign * (number ? a - b : words.compare(a, b));
      });
      body.append(...keyed.map(([, row]) => row));
    });
  });
}
for (const hint of document.querySelectorAll(".hint")) {
  hint.prepend("Click a column's name to sort by it. ");
}
