"use strict";
// Tables sort by a click on a column's name and, when they are long, can be filtered.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  table.querySelectorAll("thead button").forEach((button, column) => {
    button.addEventListener("click", () => sort(table, body, original, button.parentElement, column));
  });
  if (original.length > 8) addFilter(table, original);
}

function sort(table, body, original, head, column) {
  const before = head.getAttribute("aria-sort");
  table.querySelectorAll("th[aria-sort]").forEach((each) => each.removeAttribute("aria-sort"));
  // Numbers start with the largest, words with A; the third click gives the first order back.
  const numeric = original.some((row) => row.cells[column].classList.contains("number"));
  const cycle = numeric ? ["descending", "ascending"] : ["ascending", "descending"];
  const next = before === null ? cycle[0] : before === cycle[0] ? cycle[1] : null;
  if (next) head.setAttribute("aria-sort", next);
  body.append(...(next ? [...original].sort(order(column, numeric, next === "ascending" ? 1 : -1)) : original));
  table.classList.toggle("sorted", next !== null);
}

function order(column, numeric, sign) {
  return (one, other) => {
    const [a, b] = [one.cells[column], other.cells[column]].map((cell) => (numeric ? cell.dataset.value ?? "" : cell.textContent));
    if (!numeric) return sign * a.localeCompare(b, undefined, { numeric: true });
    // What was not measured stands last in both directions.
    if (a === "" || b === "") return (a === "") - (b === "");
    return sign * (Number(a) - Number(b));
  };
}

function addFilter(table, rows) {
  const box = document.createElement("div");
  box.className = "filter";
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "Filter rows";
  input.setAttribute("aria-label", "Filter rows");
  const count = document.createElement("span");
  count.setAttribute("role", "status");
  const words = rows.map((row) => row.textContent.toLowerCase());
  const apply = () => {
    const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, place) => {
      row.hidden = !wanted.every((word) => words[place].includes(word));
      shown += !row.hidden;
    });
    count.textContent = `${shown} of ${rows.length} rows`;
  };
  input.addEventListener("input", apply);
  box.append(input, count);
  const holder = table.closest(".scroll");
  holder.before(box);
  if (rows.length > 25) holder.classList.add("tall");
  apply();
}
