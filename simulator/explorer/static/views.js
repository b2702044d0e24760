// How things look: colours, grids of maps, the matrix. Draws what it is told on canvases.
import { address } from "./core.js";

const BLUE_GREY_RED = ["#053061", "#2166ac", "#4393c3", "#c8c8c8", "#d6604d", "#b2182b", "#67001f"].map(rgb);
export const MARK = "#d62728";

export function rgb(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

// From blue over grey to red.
export function byValue(value, most) {
  const at = (Math.max(-1, Math.min(1, most ? value / most : 0)) + 1) / 2 * (BLUE_GREY_RED.length - 1);
  const low = Math.min(Math.floor(at), BLUE_GREY_RED.length - 2), share = at - low;
  return BLUE_GREY_RED[low].map((c, k) => Math.round(c + share * (BLUE_GREY_RED[low + 1][k] - c)));
}

export const css = ([r, g, b]) => `rgb(${r},${g},${b})`;

export function inkOn(colour) {
  const [r, g, b] = colour.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  const light = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return 1.05 / (light + 0.05) > (light + 0.05) / 0.05 ? "#fff" : "#000";
}

// Three significant digits.
export const short = (x) => (x === 0 ? "0" : Math.abs(x) >= 1e5 || Math.abs(x) < 1e-3 ? x.toExponential(1) : String(+x.toPrecision(3)));

// Where the cells of an array (channels, *space) stand in a picture: a grid of maps, a line, or a square of units.
export function grid(shape) {
  const [channels, ...space] = shape;
  let high = 1, wide = 1, tiles = channels;
  if (space.length === 0) { wide = Math.min(channels, Math.ceil(Math.sqrt(channels * 3))); high = Math.ceil(channels / wide); tiles = 1; }
  else if (space.length === 1) wide = space[0];
  else { wide = space[space.length - 1]; high = space.slice(0, -1).reduce((a, b) => a * b, 1); }
  const across = space.length === 1 ? 1 : tiles <= 4 ? tiles : Math.ceil(Math.sqrt(tiles)), gap = tiles > 1 ? 1 : 0;
  const down = Math.ceil(tiles / across), sites = space.length ? high * wide : channels;
  return {
    width: across * (wide + gap) - gap, height: down * (high + gap) - gap,
    place(unit) {
      const tile = Math.floor(unit / sites), at = unit % sites;
      return [(tile % across) * (wide + gap) + (at % wide), Math.floor(tile / across) * (high + gap) + Math.floor(at / wide)];
    },
    unit(x, y) {
      const column = Math.floor(x / (wide + gap)), row = Math.floor(y / (high + gap));
      const inX = x - column * (wide + gap), inY = y - row * (high + gap), tile = row * across + column;
      if (x < 0 || y < 0 || inX >= wide || inY >= high || tile >= tiles || inY * wide + inX >= sites) return -1;
      return tile * sites + inY * wide + inX;
    },
  };
}

// A canvas as sharp as the screen; its context counts in cells of a picture of this size.
export function fitted(canvas, width, height, limit = 1e9) {
  const ratio = window.devicePixelRatio || 1, room = canvas.clientWidth || 200;
  const cell = Math.max(1, Math.min(room / width, limit / height));
  canvas.style.height = `${cell * height}px`;
  canvas.width = Math.round(room * ratio); canvas.height = Math.round(cell * height * ratio);
  canvas.cell = cell;
  const context = canvas.getContext("2d");
  context.setTransform(cell * ratio, 0, 0, cell * ratio, 0, 0);
  return context;
}

// Maps of activations: grey from 0 to the largest, or blue-grey-red where there are negative ones.
export function drawMaps(canvas, shape, values, marks = [], limit = 260) {
  const g = grid(shape), context = fitted(canvas, g.width, g.height, limit), image = new ImageData(g.width, g.height);
  let most = 0, least = 0;
  for (const v of values) { if (v > most) most = v; if (v < least) least = v; }
  const scale = Math.max(most, -least) || 1;
  for (let unit = 0; unit < values.length; unit++) {
    const [x, y] = g.place(unit), grey = Math.round(255 * Math.max(0, values[unit]) / scale);
    image.data.set(least < 0 ? [...byValue(values[unit], scale), 255] : [grey, grey, grey, 255], 4 * (y * g.width + x));
  }
  const cells = new OffscreenCanvas(g.width, g.height);
  cells.getContext("2d").putImageData(image, 0, 0);
  context.clearRect(0, 0, g.width, g.height);
  context.imageSmoothingEnabled = false;
  context.drawImage(cells, 0, 0);
  for (const { units, colour, width } of marks) outline(context, g, units, colour, width / canvas.cell);
  canvas.grid = g;
}

// The border of some units.
function outline(context, g, units, colour, width) {
  const inside = new Set(units.map((unit) => g.place(unit).join()));
  context.strokeStyle = colour; context.lineWidth = width; context.beginPath();
  for (const unit of units) {
    const [x, y] = g.place(unit);
    for (const [dx, dy, ax, ay, bx, by] of [[0, -1, 0, 0, 1, 0], [0, 1, 0, 1, 1, 1], [-1, 0, 0, 0, 0, 1], [1, 0, 1, 0, 1, 1]])
      if (!inside.has(`${x + dx},${y + dy}`)) { context.moveTo(x + ax, y + ay); context.lineTo(x + bx, y + by); }
  }
  context.stroke();
}

// The unit of a map under the mouse, -1 for none.
export function unitAt(canvas, event) {
  const box = canvas.getBoundingClientRect();
  return canvas.grid ? canvas.grid.unit(Math.floor((event.clientX - box.left) / canvas.cell), Math.floor((event.clientY - box.top) / canvas.cell)) : -1;
}

// The matrix, seen through {row, column, cell}: cells in their colours, from afar the density of what a pixel covers.
export function drawMatrix(canvas, m, view, colourOf, { key, row, column, along, tie, weights }) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight, { cell } = view;
  const right = Math.min(m.columns, view.column + width / cell), bottom = Math.min(m.rows, view.row + height / cell);
  const X = (c) => (c - view.column) * cell, Y = (r) => (r - view.row) * cell, left = Math.max(0, X(0)), top = Math.max(0, Y(0));
  const now = [key, view.row, view.column, cell, tie, width, height, ratio].join();
  if (canvas.kept?.now !== now) {  // a hovered row or column is drawn over what is there
    const cells = new OffscreenCanvas(Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio)));
    const context = cells.getContext("2d"), first = Math.max(0, Math.floor(view.row)), last = Math.min(m.rows, Math.ceil(bottom));
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = "#fff";
    context.fillRect(left, top, X(right) - left, Y(bottom) - top);
    const note = cell >= 2 ? drawCells(context, m, view, { first, last, right }, colourOf, tie, weights) : drawDensity(context, m, view, { first, last, right }, tie);
    canvas.kept = { now, cells, note };
  }
  canvas.width = canvas.kept.cells.width; canvas.height = canvas.kept.cells.height;
  const context = canvas.getContext("2d");
  context.drawImage(canvas.kept.cells, 0, 0);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.strokeStyle = MARK;
  const thick = along === "column" ? [1, 2] : [2, 1];  // the row or the column that the page speaks of is thicker
  if (row >= 0) { context.lineWidth = thick[0]; context.strokeRect(left, Y(row) - 1, X(right) - left, Math.max(3, cell + 1)); }
  if (column >= 0) { context.lineWidth = thick[1]; context.strokeRect(X(column) - 0.5, top, Math.max(2, cell), Y(bottom) - top); }
  return canvas.kept.note;
}

function drawCells(context, m, view, { first, last, right }, colourOf, tie, weights) {
  const { cell } = view, gap = cell >= 6 ? 1 : 0;
  for (let i = first; i < last; i++)
    for (let k = m.start[i]; k < m.start[i + 1]; k++) {
      const c = m.cols[k], x = (c - view.column) * cell, y = (i - view.row) * cell;
      if (c + 1 < view.column || c > right) continue;
      const colour = colourOf(m.ties[k]), dim = tie >= 0 && m.ties[k] !== tie;
      context.fillStyle = dim ? css(colour.map((part) => Math.round(255 - (255 - part) * 0.2))) : css(colour);
      context.fillRect(x, y, cell - gap, cell - gap);
      if (cell >= 34) {
        context.fillStyle = dim ? "#888" : inkOn(colour);
        context.font = `${Math.min(13, cell / 3.4)}px system-ui`; context.textAlign = "center"; context.textBaseline = "middle";
        context.fillText(short(weights[m.ties[k]]), x + cell / 2, y + cell / 2, cell - 4);
      }
    }
  return "";
}

function drawDensity(context, m, view, { first, last, right }, tie) {
  const { cell } = view, wide = Math.ceil(Math.min((right - Math.max(0, view.column)) * cell + 1, context.canvas.width)), high = Math.ceil((last - first) * cell) + 1;
  const counts = new Uint32Array(wide * high), lit = new Uint8Array(wide * high), left = Math.max(0, view.column);
  for (let i = first; i < last; i++)
    for (let k = m.start[i]; k < m.start[i + 1]; k++) {
      const x = Math.floor((m.cols[k] - left) * cell), y = Math.floor((i - first) * cell);
      if (x < 0 || x >= wide) continue;
      counts[y * wide + x]++;
      if (m.ties[k] === tie) lit[y * wide + x] = 1;
    }
  const most = counts.reduce((a, b) => Math.max(a, b), 0) || 1, image = new ImageData(wide, high), [r, g, b] = rgb(MARK);
  for (let p = 0; p < counts.length; p++) {
    const grey = Math.round(255 * (1 - counts[p] / most)), pale = tie >= 0 ? 255 - (255 - grey) * 0.35 : grey;
    image.data.set(lit[p] ? [r, g, b, 255] : [pale, pale, pale, 255], 4 * p);
  }
  const off = new OffscreenCanvas(wide, high);
  off.getContext("2d").putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(off, (left - view.column) * cell, (first - view.row) * cell);
  return `from afar: the darker, the more connections; black is ${Math.min(100, +((100 * most) * cell * cell).toPrecision(3))} % of the cells`;
}

// What a row reads, as a picture of its weights.
export function drawRow(canvas, m, i, shape, colourOf, weights, tie) {
  const [channels, ...space] = shape, sites = space.reduce((a, b) => a * b, 1);
  const boxes = [[Infinity, -1], ...space.map(() => [Infinity, -1])], places = [];
  for (let k = m.start[i]; k < m.start[i + 1]; k++) {
    let at = m.cols[k] % sites;
    const place = [Math.floor(m.cols[k] / sites)];
    for (let axis = space.length - 1; axis >= 0; axis--) { place.splice(1, 0, at % space[axis]); at = Math.floor(at / space[axis]); }
    place.forEach((p, axis) => { boxes[axis][0] = Math.min(boxes[axis][0], p); boxes[axis][1] = Math.max(boxes[axis][1], p); });
    places.push([place, m.ties[k]]);
  }
  if (!places.length) { fitted(canvas, 1, 1, 20).clearRect(0, 0, 1, 1); canvas.grid = null; return; }
  const inner = boxes.map(([low, high]) => high - low + 1), g = grid(inner), context = fitted(canvas, g.width, g.height, 220);
  context.clearRect(0, 0, g.width, g.height);
  const ties = new Map();
  for (const [place, t] of places) {
    const unit = place.reduce((sum, p, axis) => sum * inner[axis] + p - boxes[axis][0], 0), [x, y] = g.place(unit), colour = colourOf(t);
    ties.set(unit, t);
    context.globalAlpha = tie >= 0 && t !== tie ? 0.25 : 1;
    context.fillStyle = css(colour);
    context.fillRect(x, y, 1.02, 1.02);
    if (canvas.cell >= 30) {
      context.fillStyle = inkOn(colour); context.font = "0.23px system-ui"; context.textAlign = "center"; context.textBaseline = "middle";
      context.fillText(short(weights[t]), x + 0.5, y + 0.5, 0.9);
    }
  }
  context.globalAlpha = 1;
  canvas.grid = g; canvas.ties = ties;
}

export { address };
