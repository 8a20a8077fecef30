// Score table: views, filters, sorting. Metric of the paired differences.
(() => {
  "use strict";
  const table = document.getElementById("board");
  const body = table.tBodies[0];
  const initial = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];

  for (const radio of document.querySelectorAll("input[name=view]")) {
    radio.addEventListener("change", () => {
      for (const cell of body.querySelectorAll("td[data-mean]")) cell.textContent = cell.dataset[radio.value];
    });
  }
  const filter = (id, name) => {
    const box = document.getElementById(id);
    const apply = () => table.classList.toggle(name, !box.checked);
    box.addEventListener("change", apply);
    apply(); // a reloaded page keeps its boxes
  };
  filter("show-trivial", "no-trivial");
  filter("show-grey", "no-grey");
  const chosen = document.querySelector("input[name=view]:checked");
  if (chosen && chosen.value !== "mean") chosen.dispatchEvent(new Event("change"));

  // First click: best first. Second: worst first. Undefined values stay last. "#" restores the ranking.
  heads.forEach((head, column) => {
    head.firstElementChild.addEventListener("click", () => {
      const kind = head.firstElementChild.dataset.sort;
      const reverse = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      const order = [...initial];
      if (kind !== "place") head.setAttribute("aria-sort", reverse ? "descending" : "ascending");
      if (kind === "name") {
        order.sort((a, b) => a.cells[column].textContent.localeCompare(b.cells[column].textContent));
        if (reverse) order.reverse();
      } else if (kind !== "place") {
        const value = (row) => {
          const text = row.cells[column].dataset.loss;
          return text === "" ? NaN : text === "inf" ? Infinity : text === "-inf" ? -Infinity : Number(text);
        };
        order.sort((a, b) => {
          const [x, y] = [value(a), value(b)];
          if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
          return x === y ? 0 : (x < y) === reverse ? 1 : -1;
        });
      }
      body.append(...order);
    });
  });

  const choice = document.getElementById("difference-metric");
  if (choice) {
    const tables = document.querySelectorAll("table.difference");
    const show = () => tables.forEach((one, i) => { one.hidden = i !== Number(choice.value); });
    choice.addEventListener("change", show);
    show();
  }
})();
