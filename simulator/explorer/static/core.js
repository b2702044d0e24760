// What the page computes: rows and columns of patterns, forward and backward, training. Knows no document.

const KINDS = { f4: Float32Array, f8: Float64Array, i4: Int32Array };

// An array that Python packed: {data, shape}; data are doubles, or integers.
export async function unpacked(told) {
  const bytes = Uint8Array.from(atob(told.data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = new KINDS[told.kind](await new Response(stream).arrayBuffer());
  return told.kind === "i4" ? raw : Float64Array.from(raw);
}

const product = (numbers) => numbers.reduce((a, b) => a * b, 1);

// Table of input sites, (out_sites, taps), -1 for none, of a window along each axis.
function table(space, axes) {
  let sites = new Int32Array([0]), windows = 1, taps = 1;
  axes.forEach((axis, k) => {
    const n = axis.sites.length / axis.taps, next = new Int32Array(windows * n * taps * axis.taps);
    let at = 0;
    for (let w = 0; w < windows; w++)
      for (let i = 0; i < n; i++)
        for (let t = 0; t < taps; t++)
          for (let u = 0; u < axis.taps; u++) {
            const first = sites[w * taps + t], second = axis.sites[i * axis.taps + u];
            next[at++] = first < 0 || second < 0 ? -1 : first * space[k] + second;
          }
    sites = next; windows *= n; taps *= axis.taps;
  });
  return { sites, taps };
}

// All connections of a pattern, row by row: {start, cols, ties}, as a CSR matrix keeps them.
export async function connections(told) {
  const [rows, columns] = told.shape;
  if (told.kind === "identity") {
    const cols = Int32Array.from({ length: rows }, (_, i) => i);
    return { rows, columns, start: Int32Array.from({ length: rows + 1 }, (_, i) => i), cols, ties: new Int32Array(rows) };
  }
  if (told.kind === "list") {
    const [row, col, tie] = await Promise.all([told.rows, told.cols, told.tie].map(unpacked));
    return sorted(rows, columns, row, col, tie);
  }
  if (told.kind === "transposed") {
    const base = await connections(told.of), row = new Int32Array(base.cols.length);
    for (let i = 0; i < base.rows; i++) row.fill(i, base.start[i], base.start[i + 1]);
    return sorted(rows, columns, base.cols, row, base.ties);
  }
  const inputs = await unpacked(told.inputs);
  let sites, taps;
  if (told.axes) {
    const axes = await Promise.all(told.axes.map(async (a) => ({ taps: a.taps, sites: await unpacked(a.sites) })));
    ({ sites, taps } = table(told.space, axes));
  } else {
    sites = await unpacked(told.sites); taps = told.taps;
  }
  const outSites = sites.length / taps, [ofPair, ofSite, ofTap] = told.strides;
  const start = new Int32Array(rows + 1), cols = [], ties = [];
  let pair = 0, row = 0;
  for (let g = 0; g + 1 < told.outs.length; g++) {
    const first = told.ins[g], fan = told.ins[g + 1] - first;
    for (let o = told.outs[g]; o < told.outs[g + 1]; o++, pair += fan)
      for (let s = 0; s < outSites; s++) {
        for (let k = 0; k < fan; k++)
          for (let t = 0; t < taps; t++) {
            const site = sites[s * taps + t];
            if (site < 0) continue;
            cols.push(inputs[first + k] * told.in_sites + site);
            ties.push((pair + k) * ofPair + s * ofSite + t * ofTap);
          }
        start[++row] = cols.length;
      }
  }
  return { rows, columns, start, cols: Int32Array.from(cols), ties: Int32Array.from(ties) };
}

// Connections in any order, row by row; those of a row keep their order.
function sorted(rows, columns, row, col, tie) {
  const start = new Int32Array(rows + 1), cols = new Int32Array(row.length), ties = new Int32Array(row.length);
  for (const i of row) start[i + 1]++;
  for (let i = 0; i < rows; i++) start[i + 1] += start[i];
  const next = start.slice();
  for (let k = 0; k < row.length; k++) {
    const at = next[row[k]]++;
    cols[at] = col[k]; ties[at] = tie[k];
  }
  return { rows, columns, start, cols, ties };
}

// The same connections by their weight: {start, rows, cols}.
export function byTie(c, count) {
  const start = new Int32Array(count + 1), rows = new Int32Array(c.cols.length), cols = new Int32Array(c.cols.length);
  for (const tie of c.ties) start[tie + 1]++;
  for (let i = 0; i < count; i++) start[i + 1] += start[i];
  const next = start.slice();
  for (let i = 0; i < c.rows; i++)
    for (let k = c.start[i]; k < c.start[i + 1]; k++) {
      const at = next[c.ties[k]]++;
      rows[at] = i; cols[at] = c.cols[k];
    }
  return { start, rows, cols };
}

// The same connections by their column: {start, rows, ties}; made when it is first asked for.
export function byColumn(c) {
  if (c.columnwise) return c.columnwise;
  const start = new Int32Array(c.columns + 1), rows = new Int32Array(c.cols.length), ties = new Int32Array(c.cols.length);
  for (const column of c.cols) start[column + 1]++;
  for (let i = 0; i < c.columns; i++) start[i + 1] += start[i];
  const next = start.slice();
  for (let i = 0; i < c.rows; i++)
    for (let k = c.start[i]; k < c.start[i + 1]; k++) {
      const at = next[c.cols[k]]++;
      rows[at] = i; ties[at] = c.ties[k];
    }
  return (c.columnwise = { start, rows, ties });
}

// A matrix with the connections of another and other ties.
function withTies(c, ties, count) {
  const other = { ...c, ties, columnwise: undefined };
  return Object.assign(other, { uses: byTie(other, count) });
}

const upTo = (n) => Int32Array.from({ length: n }, (_, k) => k);

// Loosen or tighten the sharing of a layer: "shared", "untied" (a weight for each connection) or "dense" (one for each
// cell). The matrix stays what it is, but that shared weights are the mean of what they were (see TiedMatrix.retied).
export function share(node, how) {
  node.tied ??= { matrix: node.matrix, weight: node.weight, shape: node.weight_shape };
  const { matrix: m, weight: w } = node, tied = node.tied.matrix, cells = tied.rows * tied.columns;
  const at = (c, i, k) => (how === "dense" ? i * c.columns + c.cols[k] : k);
  if (how === "shared") {
    const now = new Map(), sums = new Float64Array(node.tied.weight.length), counts = new Float64Array(sums.length);
    for (let i = 0; i < m.rows; i++) for (let k = m.start[i]; k < m.start[i + 1]; k++) now.set(i * m.columns + m.cols[k], w[m.ties[k]]);
    for (let i = 0; i < tied.rows; i++)
      for (let k = tied.start[i]; k < tied.start[i + 1]; k++) { sums[tied.ties[k]] += now.get(i * tied.columns + tied.cols[k]); counts[tied.ties[k]]++; }
    node.weight = node.tied.weight;
    sums.forEach((sum, k) => { if (counts[k]) node.weight[k] = sum / counts[k]; });
    Object.assign(node, { matrix: tied, weight_shape: node.tied.shape, sharing: how });
    return;
  }
  const weight = new Float64Array(how === "dense" ? cells : tied.cols.length);
  const next = how === "untied" ? withTies(tied, upTo(tied.cols.length), tied.cols.length) : {
    rows: tied.rows, columns: tied.columns, start: Int32Array.from({ length: tied.rows + 1 }, (_, i) => i * tied.columns),
    cols: Int32Array.from({ length: cells }, (_, k) => k % tied.columns), ties: upTo(cells) };
  if (how === "dense") next.uses = byTie(next, cells);
  const into = how === "untied" ? new Map() : null;
  if (into) for (let i = 0; i < tied.rows; i++) for (let k = tied.start[i]; k < tied.start[i + 1]; k++) into.set(i * tied.columns + tied.cols[k], k);
  for (let i = 0; i < m.rows; i++)
    for (let k = m.start[i]; k < m.start[i + 1]; k++) {
      const cell = i * m.columns + m.cols[k], place = into ? into.get(cell) : cell;
      if (place !== undefined) weight[place] = w[m.ties[k]];
    }
  Object.assign(node, { matrix: next, weight, weight_shape: how === "dense" ? [tied.rows, tied.columns] : [weight.length], sharing: how });
}

// Whether a layer's sharing can be loosened here: trained, its weights its own, no cell with two weights; dense if small.
export function loosens(net, node, how, most = 1e6) {
  const m = (node.tied ?? node).matrix;
  if (!node.trained || node.does !== "matrix" || net.nodes.some((other) => other !== node && other.owner === node.owner)) return false;
  if (node.simple === undefined) {
    node.simple = true;
    for (let i = 0; i < m.rows && node.simple; i++) node.simple = new Set(m.cols.subarray(m.start[i], m.start[i + 1])).size === m.start[i + 1] - m.start[i];
  }
  return node.simple && (how !== "dense" || m.rows * m.columns <= most);
}

// The network of a payload, ready to compute.
export async function decoded(told) {
  if (told.version !== 1) throw new Error(`expected a page of version 1, got ${told.version}`);
  const nodes = [], by = new Map(), shared = new Map();
  for (const each of told.nodes) {
    const node = { ...each, size: product(each.shape), number: nodes.length };
    if (each.pattern) {
      const key = JSON.stringify(each.pattern);
      if (!shared.has(key)) {
        const found = await connections(each.pattern);
        shared.set(key, { ...found, uses: byTie(found, each.pattern.ties) });
      }
      node.matrix = shared.get(key);
    }
    if (each.does === "max") {  // each connection is chosen or not: 1 or 0
      const n = node.matrix.cols.length;
      Object.assign(node, { matrix: withTies(node.matrix, upTo(n), n), weight: new Float64Array(n), weight_shape: [n] });
    }
    if (each.weight) node.weight = await unpacked(each.weight);
    if (each.bias) node.bias = await unpacked(each.bias);
    if (each.values) node.values = await unpacked(each.values);
    const first = by.get(each.owner);  // whose weights these are, too
    if (first) { node.weight = first.weight; node.bias = first.bias; }
    nodes.push(node); by.set(node.name, node);
  }
  const samples = await unpacked(told.samples), logits = await unpacked(told.logits);
  return { ...told, nodes, by, samples, logits, count: told.samples.shape[0] };
}

export const sample = (net, k) => {
  const size = net.by.get(net.input).size;
  return net.samples.slice(k * size, (k + 1) * size);
};

// Activations of every node for one input; `number` says which sample it is, -1 for none.
export function forward(net, x, number = -1) {
  const found = new Map([[net.input, x]]), chosen = new Map();
  for (const node of net.nodes) {
    if (!node.inputs.length) continue;
    const from = node.inputs.map((name) => found.get(name));
    found.set(node.name, from.includes(undefined) ? undefined : computed(node, from, number, chosen));
  }
  return { found, chosen };
}

function computed(node, [x, ...others], number, chosen) {
  const y = new Float64Array(node.size), m = node.matrix;
  if (node.does === "matrix") {
    const per = node.bias ? node.size / node.bias.length : 1;
    for (let i = 0; i < m.rows; i++) {
      let sum = node.bias ? node.bias[Math.floor(i / per)] : 0;
      for (let k = m.start[i]; k < m.start[i + 1]; k++) sum += node.weight[m.ties[k]] * x[m.cols[k]];
      y[i] = sum;
    }
  } else if (node.does === "max") {
    const at = new Int32Array(node.size);
    for (let i = 0; i < m.rows; i++) {
      let best = m.start[i];
      for (let k = best + 1; k < m.start[i + 1]; k++) if (x[m.cols[k]] > x[m.cols[best]]) best = k;
      at[i] = m.cols[best]; y[i] = x[at[i]];
    }
    chosen.set(node.name, at);
  } else if (node.does === "relu") {
    for (let i = 0; i < y.length; i++) y[i] = x[i] > 0 ? x[i] : node.slope * x[i];
  } else if (node.does === "add") {
    for (const each of [x, ...others]) for (let i = 0; i < y.length; i++) y[i] += each[i];
  } else if (node.does === "join") {
    let at = 0;
    for (const each of [x, ...others]) { y.set(each, at); at += each.length; }
  } else {
    return number < 0 ? undefined : node.values.slice(number * node.size, (number + 1) * node.size);
  }
  return y;
}

export function softmax(logits) {
  const most = Math.max(...logits), powers = logits.map((z) => Math.exp(z - most));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / sum);
}

// Whether the page can train the network: it computes every layer itself.
export const trainable = (net) => net.nodes.every((node) => !node.inputs.length || node.does !== "shown");

// Gradients of every node's activation and of weights and biases, from that of the output.
export function backward(net, { found, chosen }, dy, sums = new Map()) {
  const grads = new Map([[net.output, dy]]);
  for (const node of [...net.nodes].reverse()) {
    const g = grads.get(node.name);
    if (!g || !node.inputs.length) continue;
    const from = node.inputs.map((name) => found.get(name)), into = node.inputs.map((name) => {
      if (!grads.has(name)) grads.set(name, new Float64Array(found.get(name).length));
      return grads.get(name);
    });
    const [x] = from, [dx] = into, m = node.matrix;
    if (node.does === "matrix") {
      if (!sums.has(node.owner))
        sums.set(node.owner, { weight: new Float64Array(node.weight.length), bias: node.bias && new Float64Array(node.bias.length) });
      const { weight, bias } = sums.get(node.owner), per = bias ? node.size / bias.length : 1;
      for (let i = 0; i < m.rows; i++) {
        if (g[i] === 0) continue;
        if (bias) bias[Math.floor(i / per)] += g[i];
        for (let k = m.start[i]; k < m.start[i + 1]; k++) {
          weight[m.ties[k]] += g[i] * x[m.cols[k]];
          dx[m.cols[k]] += g[i] * node.weight[m.ties[k]];
        }
      }
    } else if (node.does === "max") {
      const at = chosen.get(node.name);
      for (let i = 0; i < g.length; i++) dx[at[i]] += g[i];
    } else if (node.does === "relu") {
      for (let i = 0; i < g.length; i++) dx[i] += x[i] > 0 ? g[i] : node.slope * g[i];
    } else if (node.does === "add") {
      for (const each of into) for (let i = 0; i < g.length; i++) each[i] += g[i];
    } else if (node.does === "join") {
      let at = 0;
      for (const each of into) { for (let i = 0; i < each.length; i++) each[i] += g[at + i]; at += each.length; }
    } else throw new Error(`${node.name}: a layer that the page does not compute has no gradient here`);
  }
  return { grads, sums };
}

// Mean cross-entropy and its gradients over some samples; labels are numbers of output units.
export function objective(net, numbers, labels) {
  const sums = new Map();
  let loss = 0, right = 0;
  for (const k of numbers) {
    const run = forward(net, sample(net, k)), p = softmax(run.found.get(net.output));
    loss -= Math.log(Math.max(p[labels[k]], Number.MIN_VALUE)) / numbers.length;
    right += p.indexOf(Math.max(...p)) === labels[k] ? 1 : 0;
    const dy = p.map((each, i) => (each - (i === labels[k] ? 1 : 0)) / numbers.length);
    backward(net, run, dy, sums);
  }
  return { loss, accuracy: right / numbers.length, sums };
}

// One step of gradient descent; what is fixed stays.
export function step(net, numbers, labels, rate) {
  const { loss, accuracy, sums } = objective(net, numbers, labels);
  for (const node of net.nodes) {
    const found = sums.get(node.name);
    if (!found || !node.trained) continue;
    for (let i = 0; i < found.weight.length; i++) node.weight[i] -= rate * found.weight[i];
    if (node.bias) for (let i = 0; i < node.bias.length; i++) node.bias[i] -= rate * found.bias[i];
  }
  return { loss, accuracy };
}

// How many paths lead from each unit of each node to one unit (`back`), or from that unit to each: Map by node.
export function paths(net, name, unit, back = true) {
  const counts = new Map([[name, Float64Array.from({ length: net.by.get(name).size }, (_, k) => (k === unit ? 1 : 0))]]);
  const of = (other) => { if (!counts.has(other)) counts.set(other, new Float64Array(net.by.get(other).size)); return counts.get(other); };
  for (const node of back ? [...net.nodes].reverse() : net.nodes) {
    if (!node.inputs.length || (back && !counts.has(node.name)) || (!back && node.name === name)) continue;
    let offset = 0;
    for (const input of node.inputs) {
      const size = net.by.get(input).size, m = node.matrix, at = node.does === "join" ? offset : 0;
      offset += size;
      if (!back && !counts.has(input)) continue;
      const here = of(node.name), there = of(input), [from, to] = back ? [here, there] : [there, here];
      if (m) {
        for (let i = 0; i < m.rows; i++)
          for (let k = m.start[i]; k < m.start[i + 1]; k++) to[back ? m.cols[k] : i] += from[back ? i : m.cols[k]];
      } else if (node.does === "shown") return null;  // how it connects is not known here
      else for (let k = 0; k < size; k++) to[back ? k : at + k] += from[back ? at + k : k];
    }
  }
  return counts;
}

// One output as a row of the whole network's matrix at an input: y = A x + b, with A as an array like the input.
export function oneRow(net, run, output) {
  const y = run.found.get(net.output), x = run.found.get(net.input), dy = new Float64Array(y.length);
  dy[output] = 1;
  const row = backward(net, run, dy).grads.get(net.input) ?? new Float64Array(x.length);
  return { row, y: y[output], b: y[output] - row.reduce((sum, a, k) => sum + a * x[k], 0) };
}

// The gradient of cross-entropy at one input: that of every activation, and of every weight as the sum over its uses.
export function gradients(net, run, label) {
  const p = softmax(run.found.get(net.output));
  return { ...backward(net, run, p.map((each, k) => each - (k === label ? 1 : 0))), loss: -Math.log(Math.max(p[label], Number.MIN_VALUE)) };
}

// conv1[2, 9, 14]
export function address(node, number) {
  const places = [];
  for (let k = node.shape.length - 1; k >= 0; k--) { places.unshift(number % node.shape[k]); number = Math.floor(number / node.shape[k]); }
  return `${node.name}[${places.join(", ")}]`;
}

// conv1.weight[0, 0, 2, 1]
export function weightAddress(node, tie) {
  const shape = node.weight_shape, places = [];
  for (let k = shape.length - 1; k >= 0; k--) { places.unshift(tie % shape[k]); tie = Math.floor(tie / shape[k]); }
  return `${node.name}.weight[${places.join(", ")}]`;
}
