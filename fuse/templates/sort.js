// Score tables: the heads sort. First click: best first. Second: worst first. Undefined values stay last. "#" restores
// the ranking.
(() => {
  "use strict";
  for (const table of document.querySelectorAll(".board table")) {
    const body = table.tBodies[0];
    const initial = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
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
  }
})();
