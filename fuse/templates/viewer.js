// Two pictures of one pair with a divider between them.
(() => {
  "use strict";
  const { pairs, metrics } = JSON.parse(document.getElementById("viewer-data").textContent);
  const at = (id) => document.getElementById(id);
  const stage = at("stage"), split = at("split"), pairChoice = at("pair");
  const sides = ["left", "right"].map((side) => ({
    choice: at(side), picture: at(`${side}-picture`), label: at(`${side}-label`), head: at(`${side}-head`),
  }));
  const view = { zoom: 1, x: 0, y: 0 };
  const AMPLIFY = 4, MOST = 32, STEP = Math.SQRT2;

  const option = (text, value) => new Option(text, value);
  const current = () => pairs[Number(pairChoice.value)];
  const load = (src) => new Promise((done) => {
    const image = new Image();
    image.onload = () => done(image);
    image.src = src;
  });

  // What a side can show: every picture, and each method's difference to the reference or else to the sources' average.
  function entries(pair) {
    const base = pair.pictures.some((p) => p.kind === "reference") ? "reference" : "average of sources";
    const found = pair.pictures.map((p, i) => ({ key: `${p.kind}:${p.label}`, label: p.label, kind: p.kind, of: i }));
    for (const [i, p] of pair.pictures.entries()) {
      if (p.kind === "method") found.push({ key: `difference:${p.label}`, label: `|${p.label} − ${base}| ×${AMPLIFY}`, kind: "difference", of: i });
    }
    return found;
  }
  const TITLES = { source: "Sources", reference: "Reference", method: "Results", map: "Map", difference: "Differences" };

  function fill(choice, pair, wanted) {
    choice.replaceChildren();
    let group = null;
    for (const entry of entries(pair)) {
      if (!group || group.label !== TITLES[entry.kind]) {
        group = document.createElement("optgroup");
        group.label = TITLES[entry.kind];
        choice.append(group);
      }
      group.append(option(entry.label, entry.key));
    }
    for (const key of wanted) if ([...choice.options].some((o) => o.value === key)) { choice.value = key; break; }
  }

  function luma(image, width, height) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0, width, height);
    const rgba = context.getImageData(0, 0, width, height).data;
    const grey = new Float32Array(width * height);
    for (let i = 0; i < grey.length; i++) grey[i] = 0.299 * rgba[4 * i] + 0.587 * rgba[4 * i + 1] + 0.114 * rgba[4 * i + 2];
    return grey;
  }

  async function difference(pair, of) {
    const fused = await load(pair.pictures[of].src);
    const references = pair.pictures.filter((p) => p.kind === "reference");
    const others = references.length ? references : pair.pictures.filter((p) => p.kind === "source");
    const [width, height] = [fused.naturalWidth, fused.naturalHeight];
    const base = new Float32Array(width * height);
    for (const other of others) luma(await load(other.src), width, height).forEach((v, i) => { base[i] += v / others.length; });
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    const shown = context.createImageData(width, height);
    luma(fused, width, height).forEach((v, i) => {
      shown.data.fill(Math.min(255, AMPLIFY * Math.abs(v - base[i])), 4 * i, 4 * i + 3);
      shown.data[4 * i + 3] = 255;
    });
    context.putImageData(shown, 0, 0);
    return canvas.toDataURL();
  }

  async function show(side) {
    const pair = current();
    const entry = entries(pair).find((e) => e.key === side.choice.value);
    side.label.textContent = side.picture.alt = entry.label;
    const src = entry.kind === "difference" ? await difference(pair, entry.of) : pair.pictures[entry.of].src;
    if (pair !== current() || entry.key !== side.choice.value) return; // another choice was made meanwhile
    side.picture.src = src;
    await side.picture.decode().catch(() => undefined);
    place();
  }

  // Values of the two methods on this pair; of two that have a direction the better is bold.
  function tabulate() {
    const shown = sides.map((side) => {
      const [kind, label] = [side.choice.value.split(":", 1)[0], side.choice.value.slice(side.choice.value.indexOf(":") + 1)];
      const found = ["method", "difference"].includes(kind) && current().pictures.find((p) => p.kind === "method" && p.label === label);
      side.head.textContent = side.head.title = found ? found.label : "";
      return found ? found.values : null;
    });
    at("values").replaceChildren(...metrics.map((metric, i) => {
      const row = document.createElement("tr");
      row.className = metric.ranked ? "" : "grey";
      row.insertCell().textContent = metric.name;
      const losses = shown.map((values) => {
        const value = values ? Number(values[i].replace("inf", "Infinity")) : NaN;
        return metric.better === 0 ? Math.abs(value) : metric.better === null ? NaN : -metric.better * value;
      });
      shown.forEach((values, s) => {
        const cell = row.insertCell();
        cell.className = losses[s] < losses[1 - s] ? "n best" : "n";
        cell.textContent = values ? values[i] : "";
      });
      return row;
    }));
  }

  function place() {
    const percent = Number(split.value);
    at("right-layer").style.clipPath = `inset(0 0 0 ${percent}%)`;
    at("divider").style.left = `${percent}%`;
    const [width, height] = [stage.clientWidth, stage.clientHeight];
    view.x = Math.min(0, Math.max(view.x, width * (1 - view.zoom)));
    view.y = Math.min(0, Math.max(view.y, height * (1 - view.zoom)));
    for (const { picture } of sides) {
      picture.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.zoom})`;
      picture.classList.toggle("pixels", view.zoom > 1 || picture.naturalWidth < width);
    }
    stage.classList.toggle("zoomed", view.zoom > 1);
    at("zoom").textContent = `${Number(view.zoom.toPrecision(2))}×`;
  }

  function zoom(factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
    const next = Math.min(MOST, Math.max(1, view.zoom * factor));
    view.x = x - (x - view.x) * next / view.zoom;
    view.y = y - (y - view.y) * next / view.zoom;
    view.zoom = next;
    place();
  }

  async function choose(index) {
    pairChoice.value = (index + pairs.length) % pairs.length;
    const pair = current();
    const methods = pair.pictures.filter((p) => p.kind === "method").map((p) => `method:${p.label}`);
    const keys = entries(pair).map((e) => e.key);
    fill(sides[0].choice, pair, [sides[0].choice.value, keys[0]]);
    fill(sides[1].choice, pair, [sides[1].choice.value, methods[0] ?? keys[keys.length - 1]]);
    const first = await load(pair.pictures[0].src);
    stage.closest(".viewer").style.setProperty("--ratio", first.naturalWidth / first.naturalHeight);
    tabulate();
    await Promise.all(sides.map(show));
  }
  const swap = () => {
    const [left, right] = sides.map((side) => side.choice.value);
    [sides[0].choice.value, sides[1].choice.value] = [right, left];
    tabulate();
    sides.forEach(show);
  };
  const step = (by) => choose(Number(pairChoice.value) + by);
  const fit = () => zoom(1 / MOST);
  const divide = (by) => { split.value = Number(split.value) + by; place(); };
  const pan = (x, y) => { view.x += x; view.y += y; place(); };

  pairs.forEach((pair, i) => pairChoice.append(option(pair.name, i)));
  pairChoice.addEventListener("change", () => choose(Number(pairChoice.value)));
  for (const side of sides) side.choice.addEventListener("change", () => { tabulate(); show(side); });
  for (const [id, act] of Object.entries({
    previous: () => step(-1), next: () => step(1), swap, in: () => zoom(STEP), out: () => zoom(1 / STEP), fit,
  })) at(id).addEventListener("click", act);
  split.addEventListener("input", place);
  window.addEventListener("resize", place);

  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const far = event.shiftKey;
    const act = {
      ArrowLeft: () => (far ? pan(40, 0) : divide(-2)), ArrowRight: () => (far ? pan(-40, 0) : divide(2)),
      ArrowUp: () => far && pan(0, 40), ArrowDown: () => far && pan(0, -40),
      "+": () => zoom(STEP), "=": () => zoom(STEP), "-": () => zoom(1 / STEP), 0: fit,
      n: () => step(1), p: () => step(-1), x: swap,
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    act();
    event.preventDefault();
  });
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== stage) return; // else the page could not be scrolled past
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    zoom(Math.exp(-event.deltaY / 400), event.clientX - box.left, event.clientY - box.top);
  }, { passive: false });
  // Near the divider, or while the whole picture is seen, dragging moves the divider; else the picture.
  stage.addEventListener("pointerdown", (event) => {
    const box = stage.getBoundingClientRect();
    const near = Math.abs(event.clientX - box.left - box.width * split.value / 100) < 14;
    const dividing = view.zoom === 1 || near;
    const toPointer = (e) => { split.value = (e.clientX - box.left) / box.width * 100; place(); };
    const move = (e) => (dividing ? toPointer(e) : pan(e.movementX, e.movementY));
    stage.setPointerCapture(event.pointerId);
    stage.addEventListener("pointermove", move);
    stage.addEventListener("lostpointercapture", () => stage.removeEventListener("pointermove", move), { once: true });
    if (dividing) toPointer(event);
  });

  choose(0);
})();
