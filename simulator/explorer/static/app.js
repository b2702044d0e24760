// State, events, and what the views show of it.
import { address, decoded, forward, sample, softmax, step, trainable, weightAddress } from "./core.js";
import { byValue, css, drawMaps, drawMatrix, drawRow, inkOn, MARK, rgb, short, unitAt } from "./views.js";

const $ = (id) => document.getElementById(id);
const counted = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

async function main() {
  const told = JSON.parse($("payload").textContent), net = await decoded(told);
  const start = net.nodes.map((node) => [node.weight?.slice(), node.bias?.slice()]);
  const shownLayers = net.nodes.filter((node) => node.matrix && node.does === "matrix" || node.does === "max");
  const layers = net.nodes.filter((node) => node.does === "matrix" && node.matrix);
  const labels = net.labels && net.classes ? net.labels.map((label) => net.classes.indexOf(label)) : null;
  let state = { layer: (layers.find((node) => node.trained) ?? layers[0]).name, sample: 0, unit: -1, tie: -1, mode: "identity", dark: told.dark || matchMedia("(prefers-color-scheme: dark)").matches };
  let view = null, hover = {}, x = null, run = null, timer = 0, steps = 0, version = 0, changed = false, colours = null, kept = {};

  try { state = { ...state, ...JSON.parse(decodeURIComponent(location.hash.slice(1) || "%7B%7D")) }; } catch { /* a foreign link */ }
  const node = () => net.by.get(state.layer), source = () => net.by.get(node().inputs[0]);

  function remember() {
    history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(state))}`);
  }

  // The colour of a weight: its own while eyes can tell them apart, else that of its value.
  function colourOf(tie) {
    return colours ? colours[tie % colours.length] : byValue(node().weight[tie], kept.most);
  }

  function recolour() {
    version++;
    const { weight } = node();
    kept.most = weight.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    const table = net.palettes.find((each) => weight.length <= each.length);
    colours = state.mode === "identity" && table ? table.map(rgb) : null;
  }

  function compute() {
    run = forward(net, x, state.sample);
  }

  function choose(layer) {
    state.layer = layer; state.unit = -1; state.tie = -1; view = null;
    open();
  }

  // A layer as it is first shown: a unit in the middle pinned, the matrix from afar or as large as there is room.
  function open() {
    const each = node(), m = each.matrix;
    if (!(state.unit >= 0 && state.unit < each.size)) {
      const [channels, ...space] = each.shape;
      state.unit = space.reduce((sum, n) => sum * n + Math.floor(n / 2), space.length ? 0 : Math.floor(channels / 2));
    }
    recolour();
    const canvas = $("matrix"), wide = canvas.clientWidth, high = canvas.clientHeight;
    const cols = m.cols.subarray(m.start[state.unit], m.start[state.unit + 1]), low = Math.min(...cols), span = Math.max(...cols) - low + 1;
    const cell = Math.min(40, Math.max(Math.min(wide / m.columns, high / m.rows), wide / (1.3 * span)));
    const from = (middle, room, all) => (all <= room ? 0 : Math.max(0, Math.min(all - room, middle - room / 2)));
    view = { cell, row: from(state.unit, high / cell, m.rows), column: from(low + span / 2, wide / cell, m.columns) };
    paint();
  }

  function paint() {
    document.documentElement.classList.toggle("dark", state.dark);
    const each = node(), from = source(), m = each.matrix, unit = hover.unit ?? state.unit, tie = hover.tie ?? state.tie;
    const reads = Array.from(m.cols.subarray(m.start[unit], m.start[unit + 1]));
    const lit = tie < 0 ? [] : Array.from(m.uses.cols.subarray(m.uses.start[tie], m.uses.start[tie + 1]));
    const marks = [{ units: [...new Set(lit)], colour: "#ff9f1c", width: 1 }, { units: reads, colour: MARK, width: 2 }];
    const whole = from.name === net.input;
    $("title").textContent = net.title;
    $("sample").textContent = state.sample < 0 ? "your drawing" : `sample ${net.numbers[state.sample]}${net.labels ? `, a ${net.labels[state.sample]}` : ""}`;
    $("input-name").textContent = `${net.input}: ${whole ? `what ${address(each, unit)} reads in red` : "the input"}`;
    drawMaps($("input"), net.by.get(net.input).shape, x, whole ? marks : []);
    $("reads-name").hidden = $("reads").hidden = whole;
    if (!whole && run.found.get(from.name)) {
      $("reads-name").textContent = `${from.name}: what ${address(each, unit)} reads in red`;
      drawMaps($("reads"), from.shape, run.found.get(from.name), marks);
    }
    const y = run.found.get(each.name), value = y?.[unit];
    $("map-name").textContent = `${each.name}: ${address(each, unit)} = ${value === undefined ? "not computed" : short(value)}`;
    const readers = hover.input === undefined ? [] : hover.readers;
    if (y) drawMaps($("map"), each.shape, y, [{ units: readers, colour: "#ff9f1c", width: 1 }, { units: [unit], colour: MARK, width: 2 }]);
    $("matrix-name").textContent = `${each.name}: the matrix, ${m.rows.toLocaleString("en")} × ${m.columns.toLocaleString("en")}; in red the row of ${address(each, unit)}`;
    const note = drawMatrix($("matrix"), m, view, colourOf, {
      key: [each.name, state.mode, version].join(), row: unit, column: hover.input ?? -1, tie, weights: each.weight });
    const told = colours ? "equal colours are equal weights" : `colours are values, red above 0 and blue below${state.mode === "identity" ? `: ${each.weight.length.toLocaleString("en")} weights are more than colours can tell apart` : ""}`;
    $("legend").textContent = [note || told, "white: no connection", "wheel: zoom, drag: move, click: pin a unit and a weight"].join(" · ");
    drawRow($("kernel"), m, unit, from.shape, colourOf, each.weight, tie);
    formula(each, from, unit, tie, value);
    weightText(each, tie);
    numbers(each);
    answer();
    document.querySelectorAll("#strip button").forEach((button) => button.setAttribute("aria-pressed", button.dataset.layer === state.layer));
    $("said").textContent = `${address(each, unit)} reads ${counted(reads.length, "unit")} of ${from.name}${tie < 0 ? "" : `; ${weightAddress(each, tie)} = ${short(each.weight[tie])} is used ${counted(m.uses.start[tie + 1] - m.uses.start[tie], "time")}`}.`;
    remember();
  }

  // The unit as the sum of its products, the largest first.
  function formula(each, from, unit, tie, value) {
    const m = each.matrix, input = run.found.get(from.name), terms = [], into = $("formula");
    into.replaceChildren(`${address(each, unit)} = `);
    if (!input) { into.append("not computed by this page"); return; }
    for (let k = m.start[unit]; k < m.start[unit + 1]; k++) terms.push([m.ties[k], m.cols[k], each.weight[m.ties[k]] * input[m.cols[k]]]);
    terms.sort((a, b) => Math.abs(b[2]) - Math.abs(a[2]));
    terms.slice(0, 9).forEach(([t, column], k) => {
      const chip = document.createElement("b"), colour = colourOf(t);
      chip.textContent = short(each.weight[t]); chip.title = `${weightAddress(each, t)} × ${address(from, column)}`;
      chip.style.background = css(colour); chip.style.color = inkOn(colour);
      chip.style.outline = t === tie ? `2px solid ${MARK}` : "";
      chip.onmouseenter = () => { hover = { ...hover, tie: t }; requestAnimationFrame(paintKeepingFormula); };
      chip.onclick = () => { state.tie = state.tie === t ? -1 : t; paint(); };
      into.append(k ? " + " : "", chip, ` × ${short(input[column])}`);
    });
    const rest = terms.slice(9).reduce((sum, term) => sum + term[2], 0);
    if (terms.length > 9) into.append(` + ${short(rest)} (${terms.length - 9} more)`);
    if (each.bias) into.append(` + ${short(each.bias[Math.floor(unit / (each.size / each.bias.length))])} (bias)`);
    into.append(` = ${short(value)}`);
  }

  // Chips stay where they are while the mouse is on one.
  function paintKeepingFormula() {
    const chips = [...$("formula").childNodes];
    paint();
    $("formula").replaceChildren(...chips);
  }

  function weightText(each, tie) {
    const into = $("weight"), m = each.matrix;
    if (tie < 0) { into.textContent = "none pinned: click a cell of the matrix or of the weights"; return; }
    const box = document.createElement("input"), uses = m.uses.start[tie + 1] - m.uses.start[tie];
    box.type = "number"; box.step = "any"; box.value = +each.weight[tie].toPrecision(6); box.disabled = !each.trained; box.setAttribute("aria-label", weightAddress(each, tie));
    box.onchange = () => { each.weight[tie] = +box.value; changed = true; recolour(); compute(); strip(); paint(); };
    into.replaceChildren(`${weightAddress(each, tie)} = `, box, ` used ${counted(uses, "time")}`);
  }

  function numbers(each) {
    const m = each.matrix, nonzeros = m.cols.length, weights = each.weight.length;
    const sharing = !each.trained ? "fixed" : weights === nonzeros ? `${counted(weights, "weight")}, none shared` : `share ${counted(weights, "weight")}`;
    const lines = [`${counted(nonzeros, "connection")} ${sharing}`, `${short(100 * nonzeros / (m.rows * m.columns))} % of ${(m.rows * m.columns).toLocaleString("en")} cells`];
    if (state.sample >= 0 && !changed) {
      const size = net.by.get(net.output).size, theirs = net.logits.subarray(state.sample * size, (state.sample + 1) * size), ours = run.found.get(net.output);
      const most = theirs.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
      lines.push(`this page and Python differ by ${(ours.reduce((a, b, k) => Math.max(a, Math.abs(b - theirs[k])), 0) / most).toExponential(1)} of the largest output`);
    }
    $("numbers").textContent = lines.join("; ");
  }

  function answer() {
    const logits = run.found.get(net.output), into = $("answer");
    into.replaceChildren();
    if (!logits || !net.classes) return;
    softmax(logits).forEach((p, k) => {
      const row = document.createElement("div"), bar = document.createElement("i"), name = document.createElement("span"), text = document.createElement("span");
      row.className = "bar"; name.textContent = net.classes[k]; bar.style.width = `${100 * p}%`; text.textContent = `${(100 * p).toFixed(1)} %`;
      row.append(name, bar, text); into.append(row);
    });
  }

  // All layers in a row, each with its activations.
  function strip() {
    $("strip").replaceChildren(...net.nodes.map((each) => {
      const button = document.createElement("button"), canvas = document.createElement("canvas"), values = run.found.get(each.name);
      button.dataset.layer = each.name; button.title = each.told; button.disabled = !layers.includes(each);
      canvas.style.width = "64px"; button.append(canvas, each.name);
      button.onclick = () => choose(each.name);
      if (values) requestAnimationFrame(() => drawMaps(canvas, each.shape, values, [], 56));
      return button;
    }));
  }

  function show(number) {
    state.sample = number;
    x = number < 0 ? new Float64Array(net.by.get(net.input).size) : sample(net, number);
    compute(); strip(); paint();
  }

  // ------------------------------------------------------------------ events
  layers.forEach((each) => $("layer").append(new Option(each.name, each.name)));
  $("layer").onchange = (event) => choose(event.target.value);
  $("before").onclick = () => show((Math.max(state.sample, 0) + net.count - 1) % net.count);
  $("after").onclick = () => show((state.sample + 1) % net.count);
  $("clear").onclick = () => show(-1);
  $("mode").onchange = (event) => { state.mode = event.target.value; recolour(); paint(); };
  $("dark").onclick = () => { state.dark = !state.dark; paint(); };

  function overMap(canvas, of, pin) {
    canvas.addEventListener("mousemove", (event) => {
      const unit = unitAt(canvas, event);
      hover = unit < 0 ? {} : of(unit);
      if (event.buttons && pin) pin(unit, event);
      requestAnimationFrame(paint);
    });
    canvas.addEventListener("mouseleave", () => { hover = {}; paint(); });
    if (pin) canvas.addEventListener("mousedown", (event) => pin(unitAt(canvas, event), event));
  }

  function readersOf(input) {
    const m = node().matrix, found = [];
    for (let i = 0; i < m.rows; i++)
      for (let k = m.start[i]; k < m.start[i + 1]; k++) if (m.cols[k] === input) { found.push(i); break; }
    return { input, readers: found };
  }

  overMap($("map"), (unit) => ({ unit }), (unit) => { if (unit >= 0) { state.unit = unit; paint(); } });
  overMap($("reads"), readersOf);
  overMap($("input"), (unit) => (source().name === net.input ? readersOf(unit) : {}), (unit) => {
    if (unit < 0 || state.sample >= 0) return;
    const g = $("input").grid, [px, py] = g.place(unit);
    for (let dx = -1; dx <= 1; dx++)
      for (let dy = -1; dy <= 1; dy++) {
        const near = g.unit(px + dx, py + dy);
        if (near >= 0) x[near] = Math.max(x[near], dx || dy ? 0.45 : 1);
      }
    compute(); strip(); requestAnimationFrame(paint);
  });
  $("kernel").addEventListener("mousemove", (event) => { const tie = $("kernel").ties?.get(unitAt($("kernel"), event)); hover = tie === undefined ? {} : { tie }; requestAnimationFrame(paint); });
  $("kernel").addEventListener("mouseleave", () => { hover = {}; paint(); });
  $("kernel").addEventListener("mousedown", (event) => { const tie = $("kernel").ties?.get(unitAt($("kernel"), event)); state.tie = tie === undefined || tie === state.tie ? -1 : tie; paint(); });

  const matrix = $("matrix");
  let dragged = null;
  const under = (event) => {
    const box = matrix.getBoundingClientRect();
    return [view.row + (event.clientY - box.top) / view.cell, view.column + (event.clientX - box.left) / view.cell];
  };
  function connectionAt(event) {
    const [r, c] = under(event).map(Math.floor), m = node().matrix;
    if (r < 0 || c < 0 || r >= m.rows || c >= m.columns) return {};
    for (let k = m.start[r]; k < m.start[r + 1]; k++) if (m.cols[k] === c) return { unit: r, input: c, readers: [], tie: m.ties[k] };
    return { unit: r, input: c, readers: [] };
  }
  matrix.addEventListener("wheel", (event) => {
    event.preventDefault();
    const [r, c] = under(event), cell = Math.max(0.02, Math.min(80, view.cell * Math.exp(-event.deltaY / 400)));
    view = { cell, row: r - (r - view.row) * view.cell / cell, column: c - (c - view.column) * view.cell / cell };
    requestAnimationFrame(paint);
  }, { passive: false });
  matrix.addEventListener("mousedown", (event) => { dragged = { event, view: { ...view }, moved: false }; });
  window.addEventListener("mouseup", () => { dragged = null; });
  matrix.addEventListener("mousemove", (event) => {
    if (dragged) {
      const dx = event.clientX - dragged.event.clientX, dy = event.clientY - dragged.event.clientY;
      dragged.moved ||= Math.abs(dx) + Math.abs(dy) > 3;
      view = { ...view, row: dragged.view.row - dy / view.cell, column: dragged.view.column - dx / view.cell };
    } else hover = view.cell >= 2 ? connectionAt(event) : {};
    requestAnimationFrame(paint);
  });
  matrix.addEventListener("mouseleave", () => { hover = {}; paint(); });
  matrix.addEventListener("click", (event) => {
    const at = connectionAt(event);
    if (at.unit === undefined) return;
    state.unit = at.unit; state.tie = at.tie === undefined || at.tie === state.tie ? -1 : at.tie;
    paint();
  });
  window.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select")) return;
    const each = node(), wide = each.shape.at(-1), moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: each.shape.length > 2 ? -wide : -1, ArrowDown: each.shape.length > 2 ? wide : 1 };
    if (event.key === "Escape") { state.tie = -1; hover = {}; view = null; open(); return; }
    const move = moves[event.key];
    if (move === undefined || state.unit + move < 0 || state.unit + move >= each.size) return;
    event.preventDefault();
    state.unit += move; paint();
  });
  window.addEventListener("resize", () => open());

  // ------------------------------------------------------------------ training
  $("training").hidden = !(labels && labels.every((label) => label >= 0) && trainable(net));
  function oneStep() {
    const numbers = Array.from({ length: Math.min(16, net.count) }, (_, k) => (steps * 16 + k) % net.count);
    const { loss, accuracy } = step(net, numbers, labels, +$("rate").value);
    steps++; changed = true;
    $("loss").textContent = `step ${steps}: loss ${short(loss)}, ${Math.round(100 * accuracy)} % of ${numbers.length} right`;
    recolour(); compute(); strip(); paint();
  }
  const halt = () => { clearTimeout(timer); timer = 0; $("play").textContent = "▶ train"; };
  $("step").onclick = () => { halt(); oneStep(); };
  $("play").onclick = () => {
    if (timer) { halt(); return; }
    $("play").textContent = "⏸ pause";
    const next = () => { oneStep(); timer = setTimeout(next, 30); };
    timer = setTimeout(next, 0);
  };
  $("reset").onclick = () => {
    halt(); steps = 0; changed = false; $("loss").textContent = "";
    net.nodes.forEach((each, k) => { start[k][0] && each.weight.set(start[k][0]); start[k][1] && each.bias.set(start[k][1]); });
    recolour(); compute(); strip(); paint();
  };

  $("mode").value = state.mode; $("layer").value = state.layer;
  x = sample(net, Math.max(0, Math.min(state.sample, net.count - 1))); state.sample = Math.max(0, state.sample);
  compute(); strip(); open();
  window.explorer = { net, state: () => state, run: () => run, shownLayers, view: () => view, choose, show };
}

main().catch((error) => { document.body.textContent = `This page cannot be shown: ${error.message}`; });
