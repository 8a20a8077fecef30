// Score table: views, filters. Metric of the paired differences.
(() => {
  "use strict";
  const table = document.getElementById("board");
  const body = table.tBodies[0];

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

  const choice = document.getElementById("difference-metric");
  if (choice) {
    const tables = document.querySelectorAll("table.difference");
    const show = () => tables.forEach((one, i) => { one.hidden = i !== Number(choice.value); });
    choice.addEventListener("change", show);
    show();
  }
})();
