// State, events, and what the views show of it.
import { address, byColumn, decoded, forward, gradients, loosens, oneRow, paths, sample, share, softmax, step, trainable, weightAddress } from "./core.js";
import { byValue, css, drawMaps, drawMatrix, drawRow, inkOn, MARK, rgb, short, unitAt } from "./views.js";

const $ = (id) => document.getElementById(id);
const counted = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

async function main() {
  const told = JSON.parse($("payload").textContent), net = await decoded(told);
  const start = net.nodes.map((node) => [node.weight?.slice(), node.bias?.slice()]);
  const layers = net.nodes.filter((node) => node.matrix && (node.does === "matrix" || node.does === "max"));
  const computes = trainable(net);
  const labels = net.labels && net.classes?.length === net.by.get(net.output).size ? net.labels.map((label) => net.classes.indexOf(label)) : null;
  let state = { layer: told.layer ?? (layers.find((node) => node.trained) ?? layers[0]).name, sample: 0, unit: -1, tie: -1, mode: "identity", way: "forward", source: -1, output: -1, field: false, dark: told.dark || matchMedia("(prefers-color-scheme: dark)").matches };
  let view = null, hover = {}, x = null, run = null, timer = 0, steps = 0, version = 0, changed = false, colours = null, kept = {}, back = null;

  try { state = { ...state, ...JSON.parse(decodeURIComponent(location.hash.slice(1) || "%7B%7D")) }; } catch { /* a foreign link */ }
  const node = () => net.by.get(state.layer), source = () => net.by.get(node().inputs[0]);

  function remember() {
    try { history.replaceState(null, "", `#${encodeURIComponent(JSON.stringify(state))}`); } catch { /* a frame in a notebook has no link */ }
  }

  // The colour of a weight: its own while eyes can tell them apart, else that of its value.
  function colourOf(tie) {
    return colours ? colours[tie % colours.length] : byValue(node().weight[tie], kept.most);
  }

  function recolour() {
    version++;
    const { weight, does } = node();
    kept.most = weight.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    const table = net.palettes.find((each) => weight.length <= each.length);
    colours = state.mode === "identity" && does !== "max" && table ? table.map(rgb) : null;
  }

  function compute() {
    run = forward(net, x, state.sample); back = null;
    for (const [name, at] of run.chosen) {  // a maximum is the matrix that it chooses: one 1 in each row
      const { matrix: m, weight } = net.by.get(name);
      weight.fill(0);
      at.forEach((column, i) => { for (let k = m.start[i]; k < m.start[i + 1]; k++) if (m.cols[k] === column) { weight[m.ties[k]] = 1; break; } });
    }
    if (node().does === "max") recolour();
  }

  // Gradients of the loss at this input: for its own class, or for the likeliest where it has none.
  const target = () => {
    const logits = run.found.get(net.output);
    return state.sample >= 0 && labels && labels[state.sample] >= 0 ? labels[state.sample] : logits.indexOf(Math.max(...logits));
  };
  const backwards = () => (back ??= gradients(net, run, target()));
  const backward = () => state.way === "backward" && computes;

  function choose(layer) {
    state.layer = layer; state.unit = -1; state.tie = -1; state.source = -1; view = null;
    open();
  }

  // A layer as it is first shown: a unit in the middle pinned, the matrix from afar or as large as there is room.
  function open() {
    const each = node(), m = each.matrix;
    if (!(state.unit >= 0 && state.unit < each.size)) {
      const [channels, ...space] = each.shape;
      state.unit = space.reduce((sum, n) => sum * n + Math.floor(n / 2), space.length ? 0 : Math.floor(channels / 2));
    }
    const read = m.cols.subarray(m.start[state.unit], m.start[state.unit + 1]);
    if (!(state.source >= 0 && state.source < m.columns)) state.source = read.length ? read[Math.floor(read.length / 2)] : 0;
    recolour();
    const canvas = $("matrix"), wide = canvas.clientWidth, high = canvas.clientHeight;
    const cols = read.length ? read : [0], low = Math.min(...cols), span = Math.max(...cols) - low + 1;
    const cell = Math.min(40, Math.max(Math.min(wide / m.columns, high / m.rows), wide / (1.3 * span)));
    const from = (middle, room, all) => (all <= room ? 0 : Math.max(0, Math.min(all - room, middle - room / 2)));
    view = { cell, row: from(state.unit, high / cell, m.rows), column: from(low + span / 2, wide / cell, m.columns) };
    paint();
  }

  function paint() {
    document.documentElement.classList.toggle("dark", state.dark);
    const each = node(), from = source(), m = each.matrix, tie = hover.tie ?? state.tie, way = backward();
    const unit = hover.unit ?? state.unit, column = hover.input ?? state.source, name = address(each, unit), read = address(from, column);
    const lit = tie < 0 ? [] : Array.from(new Set(m.uses.cols.subarray(m.uses.start[tie], m.uses.start[tie + 1])));
    const reads = Array.from(m.cols.subarray(m.start[unit], m.start[unit + 1]));
    const { start: first, rows } = way ? byColumn(m) : { start: [], rows: [] }, readers = way ? Array.from(rows.subarray(first[column], first[column + 1])) : hover.readers ?? [];
    const marks = [{ units: lit, colour: "#ff9f1c", width: 1 }, { units: way ? [column] : reads, colour: MARK, width: 2 }];
    const whole = from.name === net.input, values = (of) => (way ? backwards().grads.get(of) ?? new Float64Array(net.by.get(of).size) : run.found.get(of));
    const ofLoss = (word) => (way ? `∂loss/∂${word}` : word);
    $("title").textContent = net.title;
    $("sample").textContent = state.sample < 0 ? "your drawing" : `sample ${net.numbers[state.sample]}${net.labels ? `, a ${net.labels[state.sample]}` : ""}`;
    const here = way ? `∂loss/∂${read} = ${short(values(from.name)[column])}` : `what ${name} reads in red`;
    $("input-name").textContent = whole ? `${ofLoss(net.input)}: ${here}` : `${net.input}: the input`;
    const fields = state.field ? fieldOf(each) : null, seen = fields && [...fields[0].get(net.input) ?? []].flatMap((n, k) => (n ? [k] : []));
    drawMaps($("input"), net.by.get(net.input).shape, whole ? values(net.input) : x, [...(seen ? [{ units: seen, colour: "#2a9d8f", width: 2 }] : []), ...(whole ? marks : [])]);
    $("reads-name").hidden = $("reads").hidden = whole;
    if (!whole && values(from.name)) {
      $("reads-name").textContent = `${ofLoss(from.name)}: ${here}`;
      drawMaps($("reads"), from.shape, values(from.name), marks);
    }
    const y = values(each.name), value = y?.[unit];
    $("map-name").textContent = way ? `${ofLoss(each.name)}: in red what reads ${read}` : `${each.name}: ${name} = ${value === undefined ? "not computed" : short(value)}`;
    const two = [{ units: readers, colour: way ? MARK : "#ff9f1c", width: way ? 2 : 1 }, { units: way ? [] : [unit], colour: MARK, width: 2 }];
    if (y) drawMaps($("map"), each.shape, y, two);
    $("matrix-name").textContent = `${each.name}: the matrix, ${m.rows.toLocaleString("en")} × ${m.columns.toLocaleString("en")}; in red ${way ? `the column of ${read}, a row of its transpose` : `the row of ${name}`}`;
    const note = drawMatrix($("matrix"), m, view, colourOf, {
      key: [each.name, each.sharing, state.mode, version].join(), row: way ? hover.unit ?? -1 : unit, column: way ? column : hover.input ?? -1, along: way ? "column" : "row", tie, weights: each.weight });
    const told = each.does === "max" ? "dark red: 1, what the maximum chose for this input; grey: 0" : colours ? "equal colours are equal weights" : `colours are values, red above 0 and blue below${state.mode === "identity" ? `: ${each.weight.length.toLocaleString("en")} weights are more than colours can tell apart` : ""}`;
    $("legend").textContent = [note || told, "white: no connection", "wheel: zoom, drag: move, click: pin a unit and a weight"].join(" · ");
    $("kernel-name").textContent = way ? "weights of this column, where they are read" : "weights of this row";
    if (way) drawRow($("kernel"), { start: first, cols: rows, ties: byColumn(m).ties }, column, each.shape, colourOf, each.weight, tie);
    else drawRow($("kernel"), m, unit, from.shape, colourOf, each.weight, tie);
    $("formula-name").textContent = way ? "the column as a sum: back through this layer" : "the row as a sum";
    if (way) formulaBack(each, from, column, tie, first, rows);
    else formula(each, from, unit, tie, value);
    weightText(each, tie);
    numbers(each);
    answer();
    oneMatrix();
    document.querySelectorAll("#strip button").forEach((button) => button.setAttribute("aria-pressed", button.dataset.layer === state.layer));
    $("said").textContent = `${way ? `${read} is read by ${counted(readers.length, "unit")} of ${each.name}` : `${name} reads ${counted(reads.length, "unit")} of ${from.name}`}${fields ? `; ${fieldTold(fields)}` : ""}${tie < 0 ? "" : `; ${weightAddress(each, tie)} = ${short(each.weight[tie])} is used ${counted(m.uses.start[tie + 1] - m.uses.start[tie], "time")}`}.`;
    remember();
  }

  // The unit as the sum of its products, the largest first.
  function formula(each, from, unit, tie, value) {
    const m = each.matrix, input = run.found.get(from.name), terms = [];
    $("formula").replaceChildren(`${address(each, unit)} = `);
    if (!input) { $("formula").append("not computed by this page"); return; }
    for (let k = m.start[unit]; k < m.start[unit + 1]; k++) terms.push([m.ties[k], m.cols[k], each.weight[m.ties[k]] * input[m.cols[k]]]);
    products(each, terms, tie, (at) => address(from, at), (at) => input[at]);
    if (each.bias) $("formula").append(` + ${short(each.bias[Math.floor(unit / (each.size / each.bias.length))])} (bias)`);
    $("formula").append(` = ${short(value)}`);
  }

  // The gradient of what is read, as far as it comes back through this layer: a row of the transpose times the gradient.
  function formulaBack(each, from, column, tie, first, rows) {
    const { ties } = byColumn(each.matrix), dy = backwards().grads.get(each.name) ?? new Float64Array(each.size), terms = [];
    $("formula").replaceChildren(`∂loss/∂${address(from, column)} = `);
    for (let k = first[column]; k < first[column + 1]; k++) terms.push([ties[k], rows[k], each.weight[ties[k]] * dy[rows[k]]]);
    products(each, terms, tie, (at) => `∂loss/∂${address(each, at)}`, (at) => dy[at]);
    $("formula").append(` = ${short(terms.reduce((sum, term) => sum + term[2], 0))}`);
  }

  function products(each, terms, tie, called, times) {
    const into = $("formula");
    if (!terms.length) into.append("0");
    terms.sort((a, b) => Math.abs(b[2]) - Math.abs(a[2]));
    terms.slice(0, 9).forEach(([t, at], k) => {
      const chip = document.createElement("b"), colour = colourOf(t);
      chip.textContent = short(each.weight[t]); chip.title = `${weightAddress(each, t)} × ${called(at)}`;
      chip.style.background = css(colour); chip.style.color = inkOn(colour);
      chip.style.outline = t === tie ? `2px solid ${MARK}` : "";
      chip.onmouseenter = () => { hover = { ...hover, tie: t }; requestAnimationFrame(paintKeepingFormula); };
      chip.onclick = () => { state.tie = state.tie === t ? -1 : t; paint(); };
      into.append(k ? " + " : "", chip, ` × ${short(times(at))}`);
    });
    const rest = terms.slice(9).reduce((sum, term) => sum + term[2], 0);
    if (terms.length > 9) into.append(` + ${short(rest)} (${terms.length - 9} more)`);
  }

  // Of the pinned unit: paths from every unit before it and to every unit after it; null where the page does not know.
  function fieldOf(each) {
    const key = [each.name, state.unit, version].join();
    if (kept.field?.key !== key) {
      kept.field = { key, ways: [true, false].map((way) => paths(net, each.name, state.unit, way)) };
      requestAnimationFrame(strip);
    }
    return kept.field.ways.includes(null) ? null : kept.field.ways;
  }

  function fieldTold([before, after]) {
    const many = (of, name) => { const found = of.get(name) ?? []; return [found.filter((n) => n).length, found.reduce((a, b) => a + b, 0)]; };
    const [seen, ways] = many(before, net.input), [reached] = many(after, net.output);
    return `${address(node(), state.unit)} sees ${seen.toLocaleString("en")} of ${counted(net.by.get(net.input).size, "unit")} of ${net.input} along ${ways > Number.MAX_SAFE_INTEGER ? `about ${ways.toPrecision(3)} paths` : counted(ways, "path")} and reaches ${reached} of ${counted(net.by.get(net.output).size, "unit")} of ${net.output}`;
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
    if (backward() && each.trained) into.append(`; ${gradientTold(each, tie)}`);
  }

  // The gradient of a shared weight: a sum over all places where it is used.
  function gradientTold(each, tie) {
    const { uses } = each.matrix, dy = backwards().grads.get(each.name), input = run.found.get(each.inputs[0]), terms = [];
    for (let k = uses.start[tie]; k < uses.start[tie + 1]; k++) terms.push([uses.rows[k], uses.cols[k], (dy?.[uses.rows[k]] ?? 0) * input[uses.cols[k]]]);
    const sum = terms.reduce((total, term) => total + term[2], 0), [row, column] = terms.reduce((a, b) => (Math.abs(b[2]) > Math.abs(a[2]) ? b : a), terms[0] ?? [0, 0, 0]);
    return `∂loss/∂weight = ${short(sum)}, the sum of ${counted(terms.length, "product")}; the largest: ${short(dy?.[row] ?? 0)} × ${short(input[column])} at ${address(each, row)}`;
  }

  function numbers(each) {
    const m = each.matrix, nonzeros = m.cols.length, weights = each.weight.length;
    const chosen = each.does === "max" ? weights && each.weight.reduce((a, b) => a + b, 0) : 0;
    const sharing = each.does === "max" ? `, of which the maximum chose ${chosen.toLocaleString("en")}` : !each.trained ? ", fixed" : weights === nonzeros ? `, ${counted(weights, "weight")}, none shared` : ` share ${counted(weights, "weight")}`;
    const lines = [`${counted(nonzeros, "connection")}${sharing}`, `${short(100 * nonzeros / (m.rows * m.columns))} % of ${(m.rows * m.columns).toLocaleString("en")} cells`];
    if (state.sample >= 0 && !changed) {
      const size = net.by.get(net.output).size, theirs = net.logits.subarray(state.sample * size, (state.sample + 1) * size), ours = run.found.get(net.output);
      const most = theirs.reduce((a, b) => Math.max(a, Math.abs(b)), 0) || 1;
      lines.push(`this page and Python differ by ${(ours.reduce((a, b, k) => Math.max(a, Math.abs(b - theirs[k])), 0) / most).toExponential(1)} of the largest output`);
    }
    const params = net.nodes.reduce((sum, other) => sum + (other.trained && other.owner === other.name ? other.weight.length + (other.bias?.length ?? 0) : 0), 0);
    lines.push(`the network has ${counted(params, "param")}`);
    $("numbers").textContent = lines.join("; ");
    $("sharing").hidden = !loosens(net, each, "untied");
    document.querySelectorAll("#sharing button").forEach((button) => {
      button.setAttribute("aria-pressed", button.value === (each.sharing ?? "shared"));
      button.disabled = !loosens(net, each, button.value);
    });
  }

  function answer() {
    const logits = run.found.get(net.output), into = $("answer");
    into.replaceChildren();
    if (!logits || !net.classes) return;
    softmax(logits).forEach((p, k) => {
      const row = document.createElement("div"), bar = document.createElement("i"), name = document.createElement("span"), text = document.createElement("span");
      row.className = "bar"; row.title = computes ? `click: ${net.classes[k]} as a row of the whole network's matrix` : "";
      if (computes) row.onclick = () => { state.output = state.output === k ? -1 : k; paint(); };
      name.textContent = net.classes[k]; bar.style.width = `${100 * p}%`; text.textContent = `${(100 * p).toFixed(1)} %`;
      row.append(name, bar, text); into.append(row);
    });
  }

  // An output as a row of the whole network's matrix at this input: all layers multiplied.
  function oneMatrix() {
    const shown = computes && state.output >= 0 && state.output < net.by.get(net.output).size;
    $("row-name").hidden = $("row").hidden = !shown;
    if (!shown) return;
    const { row, y, b } = oneRow(net, run, state.output), name = net.classes?.[state.output] ?? state.output;
    $("row-name").textContent = `the row of ‘${name}’ in A, for this input: A x + b = ${short(y - b)} + ${short(b)} = ${short(y)}`;
    drawMaps($("row"), net.by.get(net.input).shape, row);
  }

  // All layers in a row, each with its activations; with the field of the pinned unit, if that is asked for.
  function strip() {
    $("strip").replaceChildren(...net.nodes.map((each) => {
      const button = document.createElement("button"), canvas = document.createElement("canvas"), values = run.found.get(each.name);
      button.dataset.layer = each.name; button.title = each.told; button.disabled = !layers.includes(each);
      canvas.style.width = "64px"; button.append(canvas, each.name);
      button.onclick = () => choose(each.name);
      const counts = state.field && kept.field?.ways.map((way) => way?.get(each.name)).find(Boolean);
      const marks = counts ? [{ units: [...counts].flatMap((n, k) => (n ? [k] : [])), colour: "#2a9d8f", width: 2 }] : [];
      if (values) requestAnimationFrame(() => drawMaps(canvas, each.shape, values, marks, 56));
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
  $("way").onchange = (event) => { state.way = event.target.value; paint(); };
  $("field").onclick = () => { state.field = !state.field; kept.field = null; strip(); paint(); };
  $("save").onclick = () => {
    const link = document.createElement("a"), sheet = matrixSheet();
    link.href = sheet.toDataURL("image/png"); link.download = `${state.layer}-matrix.png`;
    link.click();
  };
  document.querySelectorAll("#sharing button").forEach((button) => {
    button.onclick = () => { share(node(), button.value); state.tie = -1; hover = {}; recolour(); compute(); paint(); };
  });
  $("dark").onclick = () => { state.dark = !state.dark; paint(); };

  // The matrix as it is in view, with its title and its legend, for a slide.
  function matrixSheet() {
    const from = $("matrix"), sheet = document.createElement("canvas"), scale = 1920 / from.width, style = getComputedStyle(document.documentElement);
    sheet.width = 1920; sheet.height = Math.round(from.height * scale) + 110;
    const context = sheet.getContext("2d"), text = (words, size, y, ink) => { context.font = `${size}px system-ui`; context.fillStyle = style.getPropertyValue(ink); context.fillText(words, 20, y, 1880); };
    context.fillStyle = style.getPropertyValue("--paper"); context.fillRect(0, 0, sheet.width, sheet.height);
    context.imageSmoothingEnabled = false;
    context.drawImage(from, 0, 60, 1920, Math.round(from.height * scale));
    text(`${net.title}, ${$("matrix-name").textContent}`, 28, 40, "--ink");
    text($("legend").textContent.split(" · ").slice(0, 2).join(" · "), 24, sheet.height - 16, "--quiet");
    return sheet;
  }

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
    const { start, rows } = byColumn(node().matrix);
    return { input, readers: Array.from(rows.subarray(start[input], start[input + 1])) };
  }

  overMap($("map"), (unit) => ({ unit }), (unit) => { if (unit >= 0) { state.unit = unit; paint(); } });
  const pinSource = (unit) => { if (unit >= 0 && backward()) { state.source = unit; paint(); } };
  overMap($("reads"), readersOf, pinSource);
  overMap($("input"), (unit) => (source().name === net.input ? readersOf(unit) : {}), (unit) => {
    if (source().name === net.input) pinSource(unit);
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
    state.unit = at.unit; state.source = at.input; state.tie = at.tie === undefined || at.tie === state.tie ? -1 : at.tie;
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
  $("training").hidden = !(labels && labels.every((label) => label >= 0) && computes);
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
    net.nodes.forEach((each) => { if (each.sharing) share(each, "shared"); });
    net.nodes.forEach((each, k) => { start[k][0] && each.weight.set(start[k][0]); start[k][1] && each.bias.set(start[k][1]); });
    recolour(); compute(); strip(); paint();
  };

  $("mode").value = state.mode; $("layer").value = state.layer; $("way").value = state.way; $("way").disabled = !computes;
  x = sample(net, Math.max(0, Math.min(state.sample, net.count - 1))); state.sample = Math.max(0, state.sample);
  compute(); strip(); open();
  window.explorer = { net, state: () => state, run: () => run, view: () => view, choose, show };
}

main().catch((error) => { document.body.textContent = `This page cannot be shown: ${error.message}`; });
