"use strict";
// The explorer: decodes latents into a frame and into an agent's action.
// All its data is the JSON in #data; it opens no connection.

// Converts 16-bit floats to 32-bit floats.
function fromHalves(halves) {
  const out = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const bits = halves[i], exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const size = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
    out[i] = bits >> 15 ? -size : size;
  }
  return out;
}

const ACTIVATIONS = {
  none: (x) => x,
  relu: (x) => (x > 0 ? x : 0),
  tanh: Math.tanh,
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
};

// A network; rl_vae/analysis/report/program.py documents its layers.
class Program {
  constructor(program) {
    const bytes = Uint8Array.from(atob(program.numbers), (letter) => letter.charCodeAt(0));
    const numbers = program.half
      ? fromHalves(new Uint16Array(bytes.buffer)) : new Float32Array(bytes.buffer);
    let place = 0;
    const next = (size) => numbers.subarray(place, (place += size));
    this.layers = program.layers.map((layer) => {
      const [inputs, ...rest] = layer.weight;
      const channels = layer.weight.at(-1), kernel = rest.length === 3 ? rest[0] : 0;
      const weight = next(inputs * rest.reduce((a, b) => a * b)), bias = next(layer.bias);
      const [, , height, width] = layer.window;
      const prepared = { ...layer, inputs, channels, kernel, weight, bias };
      prepared.out = new Float32Array(kernel ? height * width * channels : channels);
      if (kernel) {
        prepared.rowLength = ((layer.grid[1] - 1) * layer.stride + kernel) * channels;
        prepared.sum = new Float32Array(((layer.grid[0] - 1) * layer.stride + kernel) * prepared.rowLength);
      }
      return prepared;
    });
  }

  // Output of the last layer, in an array that the next run overwrites.
  run(code) {
    let values = code;
    for (const layer of this.layers) {
      values = layer.kernel ? spread(layer, values) : linear(layer, values);
    }
    return values;
  }

  // Sums of the first layer before its activation, in a new array.
  begin(code) {
    const sums = Float32Array.from(this.layers[0].bias);
    addRows(this.layers[0], code, sums);
    return sums;
  }

  // Output if the first layer has these sums and one latent is moved by an amount.
  finish(sums, latent, moved) {
    const first = this.layers[0], { out, channels, weight } = first;
    for (let o = 0; o < channels; o++) out[o] = sums[o] + moved * weight[latent * channels + o];
    activate(first.activation, out);
    let values = out;
    for (const layer of this.layers.slice(1)) values = linear(layer, values);
    return values;
  }
}

function activate(name, values) {
  if (name === "none") return;
  const apply = ACTIVATIONS[name];
  for (let i = 0; i < values.length; i++) values[i] = apply(values[i]);
}

function addRows({ inputs, channels, weight }, x, sums) {
  for (let i = 0; i < inputs; i++) {
    const value = x[i];
    if (value === 0) continue;  // after a ReLU, about half of the values
    for (let o = 0, w = i * channels; o < channels; o++, w++) sums[o] += value * weight[w];
  }
}

function linear(layer, x) {
  layer.out.set(layer.bias);
  addRows(layer, x, layer.out);
  activate(layer.activation, layer.out);
  return layer.out;
}

function spread(layer, x) {
  const { inputs, channels, kernel, stride, weight, bias, sum, out, rowLength } = layer;
  const [rows, columns] = layer.grid, run = kernel * channels;
  sum.fill(0);
  for (let y = 0, p = 0; y < rows; y++) {
    for (let c = 0; c < columns; c++) {
      const corner = y * stride * rowLength + c * stride * channels;
      for (let i = 0; i < inputs; i++, p++) {
        const value = x[p];
        if (value === 0) continue;
        let w = i * kernel * run;
        for (let k = 0; k < kernel; k++) {
          const from = corner + k * rowLength;
          for (let o = from; o < from + run; o++, w++) sum[o] += value * weight[w];
        }
      }
    }
  }
  const [top, left, height, width] = layer.window, length = width * channels;
  const each = bias.length === out.length;  // otherwise one for each channel
  for (let y = 0, o = 0; y < height; y++) {
    let s = (top + y) * rowLength + left * channels;
    for (let c = 0; c < length; c++, o++, s++) out[o] = sum[s] + bias[each ? o : c % channels];
  }
  activate(layer.activation, out);
  return out;
}

// Actions of an agent, or shares of actions, from the outputs of its policy.
class Policy {
  constructor(policy) {
    Object.assign(this, policy);
    this.program = new Program(policy.program);
  }

  acts(values) {
    if (this.kind === "clipped") {
      return Array.from(values, (v, k) => Math.min(Math.max(v, this.low[k]), this.high[k]));
    }
    if (this.kind === "squashed") {
      return Array.from(values, (v, k) =>
        this.low[k] + 0.5 * (Math.tanh(v) + 1) * (this.high[k] - this.low[k]));
    }
    if (this.kind === "values") return Array.from(values);
    const top = Math.max(...values), powers = Array.from(values, (v) => Math.exp(v - top));
    const total = powers.reduce((a, b) => a + b);
    return powers.map((power) => power / total);
  }
}

// Draws from N(0, 1) (Box and Muller 1958).
function normal() {
  const turn = 2 * Math.PI * Math.random();
  return Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(turn);
}

class Explorer {
  constructor(root, report) {
    this.models = report.models;
    this.pictures = report.frames;  // real frames to start from
    this.decoders = new Map();
    this.find = (name) => root.querySelector(`[data-is="${name}"]`);
    this.canvas = this.find("canvas");
    this.speed = 0;
    this.find("model").addEventListener("change", (event) => this.choose(+event.target.value));
    this.find("back").addEventListener("click", () => this.start(this.frame));
    this.find("centre").addEventListener("click", () => this.move(this.model.mean));
    this.find("draw").addEventListener("click", () =>
      this.move(this.model.mean.map((mean, k) => mean + this.model.std[k] * normal())));
    this.find("numbers").addEventListener("toggle", () => this.table());
    root.hidden = false;
    this.choose(0);
  }

  decoder(which) {
    if (!this.decoders.has(which)) {
      this.decoders.set(which, new Program(this.models[which].program));
    }
    return this.decoders.get(which);
  }

  choose(which) {
    this.which = which;
    this.model = this.models[which];
    this.program = this.decoder(which);
    this.policy = this.model.policy ? new Policy(this.model.policy) : null;
    [this.canvas.height, this.canvas.width] = this.model.shape;
    this.context = this.canvas.getContext("2d");
    this.image = this.context.createImageData(this.canvas.width, this.canvas.height);
    this.code = new Float32Array(this.model.mean.length);
    this.frames();
    this.sliders();
    this.find("action").hidden = !this.policy;
    if (this.policy) this.bars();
    this.start(0);
  }

  frames() {
    this.find("frames").replaceChildren(...this.pictures.map((start, i) => {
      const picture = new Image();
      picture.src = start.picture;
      picture.alt = `Frame ${start.frame}`;
      const button = document.createElement("button");
      button.type = "button";
      button.append(picture);
      button.addEventListener("click", () => this.start(i));
      return button;
    }));
  }

  sliders() {
    this.rows = [];
    const list = this.model.order.map((latent) => {
      const item = this.find("latent").content.cloneNode(true).firstElementChild;
      const part = (name) => item.querySelector(`[data-part="${name}"]`);
      const reach = this.model.reach[latent], slider = part("slider"), name = `z${latent}`;
      const mean = this.model.mean[latent], std = this.model.std[latent];
      [slider.min, slider.max, slider.step] = [-reach, reach, "any"];
      slider.id = `latent-${latent}`;
      part("name").textContent = name;
      part("name").htmlFor = slider.id;
      part("note").textContent = std < 0.1 ? "inactive" : `σ ${std.toFixed(2)}`;
      const share = (value) =>
        `${(100 * Math.min(Math.max((value + reach) / (2 * reach), 0), 1)).toFixed(1)}%`;
      slider.style.setProperty("--from", share(mean - 2 * std));
      slider.style.setProperty("--to", share(mean + 2 * std));
      slider.addEventListener("input", () => {
        this.code[latent] = slider.valueAsNumber;
        this.changed(latent);
      });
      const chart = part("chart");
      if (!this.policy) chart.remove();
      const row = { latent, slider, reach, value: part("value"), chart, lines: [], dots: [] };
      if (this.policy) this.curves(row);
      this.rows.push(row);
      return item;
    });
    this.find("latents").replaceChildren(...list);
  }

  // Fills an SVG of 100 x 40: each action has a line, and a dot at the current value.
  curves(row) {
    const make = (name, kind) => {
      const line = document.createElementNS("http://www.w3.org/2000/svg", name);
      line.setAttribute("class", kind);
      row.chart.append(line);
      return line;
    };
    row.present = make("path", "present");
    this.policy.names.forEach((_, k) => {
      row.lines.push(make("path", `line c${k % 8} d${Math.floor(k / 8) % 3}`));
    });
    this.policy.names.forEach((_, k) => row.dots.push(make("path", `dot c${k % 8}`)));
    row.stale = true;
  }

  bars() {
    const [lows, highs] = this.policy.shown;
    this.find("action-bars").replaceChildren(...this.policy.names.map((name, k) => {
      const bar = document.createElement("li"), label = document.createElement("span");
      const mark = document.createElement("i"), value = document.createElement("output");
      const range = document.createElement("small");
      range.textContent = ` (${lows[k].toPrecision(2)} to ${highs[k].toPrecision(2)})`;
      mark.className = `c${k % 8} d${Math.floor(k / 8) % 3}`;
      label.append(mark, name, range);
      bar.append(label, value);
      return bar;
    }));
  }

  start(i) {
    this.frame = i;
    const start = this.pictures[i];
    this.find("real").src = start.picture;
    this.find("real").alt = `Real frame ${start.frame}`;
    [...this.find("frames").children].forEach((button, k) =>
      button.setAttribute("aria-pressed", k === i));
    this.move(this.model.codes[i]);
  }

  move(code) {
    this.code.set(code);
    for (const row of this.rows) {
      row.slider.value = code[row.latent];
      this.code[row.latent] = row.slider.valueAsNumber;  // rounded by the slider
    }
    this.changed(null);
  }

  // Draws once per frame of the screen.
  changed(latent) {
    for (const row of this.rows) row.stale ||= row.latent !== latent;
    if (this.asked) return;
    this.asked = requestAnimationFrame(() => {
      this.asked = 0;
      this.draw();
    });
  }

  draw() {
    const began = performance.now();
    this.paint(this.program.run(this.code));
    const took = performance.now() - began;
    this.speed = this.speed ? 0.8 * this.speed + 0.2 * took : took;
    this.find("speed").textContent = `decoded here in ${this.speed.toFixed(1)} ms`;
    for (const row of this.rows) row.value.textContent = this.code[row.latent].toFixed(2);
    if (this.policy) this.act();
    this.table();
  }

  paint(pixels) {
    const data = this.image.data, gray = this.model.shape[2] === 1;
    for (let p = 0, i = 0; p < data.length; p += 4) {
      for (let c = 0; c < 3; c++) data[p + c] = 255 * pixels[gray ? i : i++];
      if (gray) i++;
      data[p + 3] = 255;
    }
    this.context.putImageData(this.image, 0, 0);
  }

  act() {
    const { program } = this.policy;
    this.sums = program.begin(this.code);
    const now = this.policy.acts(program.finish(this.sums, 0, 0));
    [...this.find("action-bars").children].forEach((bar, k) => {
      bar.lastElementChild.textContent = now[k].toFixed(2);
    });
    const best = now.indexOf(Math.max(...now));
    this.find("choice").textContent = this.policy.discrete ? `chooses ${this.policy.names[best]}` : "";
    for (const row of this.rows) {
      const x = this.place(row, this.code[row.latent]);
      row.present.setAttribute("d", `M${x} 0V40`);
      row.dots.forEach((dot, k) => dot.setAttribute("d", `M${x} ${this.height(now[k], k)}h0`));
    }
    this.refresh();
  }

  place(row, value) { return (50 + (50 * value) / row.reach).toFixed(2); }

  // Vertical place of an action in a chart: 38 for the lowest value, 2 for the highest.
  height(action, k) {
    const low = this.policy.shown[0][k], high = this.policy.shown[1][k];
    return (38 - 36 * Math.min(Math.max((action - low) / (high - low || 1), 0), 1)).toFixed(2);
  }

  sweep(row, steps) {
    const points = [];
    for (let s = 0; s <= steps; s++) {
      const value = row.reach * ((2 * s) / steps - 1), { program } = this.policy;
      const moved = value - this.code[row.latent];
      points.push([value, this.policy.acts(program.finish(this.sums, row.latent, moved))]);
    }
    return points;
  }

  // Draws curves that other latents have changed, for 8 ms per frame, so that the image stays fast.
  refresh() {
    const until = performance.now() + 8;
    let left = false;
    for (const row of this.rows) {
      if (!row.stale) continue;
      if (performance.now() > until) {
        left = true;
        break;
      }
      const points = this.sweep(row, 24);
      row.lines.forEach((line, k) => line.setAttribute("d", "M" + points.map(([value, action]) =>
        `${this.place(row, value)} ${this.height(action[k], k)}`).join("L")));
      row.stale = false;
    }
    // The next frame starts with the rows that were not drawn.
    if (left) this.rows.push(...this.rows.splice(0, this.rows.findIndex((row) => row.stale)));
    if (left && !this.waiting) {
      this.waiting = requestAnimationFrame(() => {
        this.waiting = 0;
        if (this.policy) this.refresh();
      });
    }
  }

  // Writes the numbers of sliders and curves into the table if it is open.
  table() {
    if (!this.find("numbers").open) return;
    const names = this.policy ? this.policy.names : [];
    const head = ["latent", "value", "mean", "σ"];
    for (const name of names) {
      for (const at of ["−", "0", "+"]) head.push(`${name} at ${at}`);
    }
    const rows = this.rows.toSorted((a, b) => a.latent - b.latent).map((row) => {
      const { latent } = row, { mean, std } = this.model;
      const cells = [this.code[latent], mean[latent], std[latent]].map((v) => v.toFixed(3));
      if (names.length) {
        const points = this.sweep(row, 2);
        names.forEach((_, k) => points.forEach(([, action]) => cells.push(action[k].toFixed(3))));
      }
      return [`z${latent} (±${row.reach})`, ...cells];
    });
    const cell = (kind, text) => Object.assign(document.createElement(kind), { textContent: text });
    const line = (kind, texts) => {
      const row = document.createElement("tr");
      row.append(...texts.map((text, i) => cell(i ? kind : "th", text)));
      return row;
    };
    this.find("table").replaceChildren(line("th", head), ...rows.map((row) => line("td", row)));
  }
}

const root = document.getElementById("explorer");
if (root) {
  const report = JSON.parse(document.getElementById("data").textContent);
  const explorer = new Explorer(root, report);
  // For the console: decodes a code by the number of the model to (H, W, C) from 0 to 1.
  globalThis.rlVae = { explorer, decode: (code, which = 0) => explorer.decoder(which).run(code) };
}

// Says below a table or chart that it goes on, if it is wider than its place.
function noteOverflow() {
  for (const note of document.querySelectorAll(".more")) {
    const place = note.previousElementSibling;
    note.hidden = place.scrollWidth <= place.clientWidth + 1;
  }
}
addEventListener("resize", noteOverflow);
for (const part of document.querySelectorAll("details")) part.addEventListener("toggle", noteOverflow);
noteOverflow();
