// Opens and closes the blocks of a picture. The layout of each body, its blocks closed, comes from
// netspec; how a body gives way to what is opened in it is that of netspec/draw/picture.py.
"use strict";
const net = JSON.parse(document.getElementById("net").textContent);
const { PAD, HEADER, ADAPTER, NEAR, LINE, SPACES } = net.sizes;
const open = new Set();
const editor = typeof acquireVsCodeApi === "function" ? acquireVsCodeApi() : null;

function movedApart(places, pairs) {
  const wanted = new Map();
  for (const [one, other, distance] of pairs) {
    if (!wanted.has(other)) wanted.set(other, []);
    wanted.get(other).push([one, distance]);
  }
  const moved = new Map();
  let last = places[0], place = places[0];
  for (const at of places) {
    place += at - last;
    last = at;
    for (const [other, distance] of wanted.get(at) || []) place = Math.max(place, moved.get(other) + distance);
    moved.set(at, place);
  }
  return moved;
}

function spread(places, left, right) {
  const once = movedApart(places, right), end = once.get(places[places.length - 1]);
  const mirrored = new Map([...once].map(([at, place]) => [end - place, at]));
  const pairs = left.map(([one, other, distance]) => [end - once.get(other), end - once.get(one), distance]);
  const twice = movedApart([...mirrored.keys()].sort((a, b) => a - b), pairs);
  const width = Math.max(...twice.values());
  return new Map([...mirrored].map(([place, at]) => [at, width - twice.get(place)]));
}

// The order of level pieces from the top in which none comes down on the end of another.
function uncovered(values, start, end) {
  const left = [...values], found = [];
  while (left.length) {
    const free = left.findIndex((value) => !left.some((other) => other !== value && Math.abs(start(other) - end(value)) < NEAR));
    found.push(...left.splice(Math.max(free, 0), 1));
  }
  return found;
}

function adapter(inner, outer, toBorder) {
  const places = new Map([...inner].map(([value, x]) => [value, [x, outer.has(value) ? outer.get(value) : x]]));
  const bent = [...places].filter(([, [one, other]]) => Math.abs(one - other) > 0.01).map(([value]) => value);
  const one = (value) => places.get(value)[0], other = (value) => places.get(value)[1];
  const order = toBorder ? uncovered(bent, one, other) : uncovered(bent, other, one);
  return { places, track: new Map(order.map((value, at) => [value, at])), height: bent.length ? ADAPTER * (bent.length + 1) : 0 };
}

class Opened {
  constructor(body, group, path) {
    Object.assign(this, { body, group, path, inner: new Map() });
    body.boxes.forEach((box, at) => {
      const way = `${path}/${at}`;
      if (box.body !== undefined && open.has(way)) this.inner.set(at, new Opened(net.bodies[box.body], box, way));
    });
    this.ports = body.boxes.map(() => new Set());
    for (const arrow of body.arrows) {
      this.ports[arrow.source].add(arrow.x[0]);
      this.ports[arrow.target].add(arrow.x[arrow.x.length - 1]);
    }
    const places = new Set([0, body.width]);
    for (const box of body.boxes) [box.x, box.middle, box.right].forEach((x) => places.add(x));
    for (const arrow of body.arrows) arrow.x.forEach((x) => places.add(x));
    for (const shape of body.shapes) places.add(shape.x);
    const left = [], right = [];
    for (const [at, inner] of this.inner) {
      const box = body.boxes[at];
      left.push([box.x, box.middle, inner.middle]);
      right.push([box.middle, box.right, inner.openWidth - inner.middle]);
    }
    this.x = spread([...places].sort((a, b) => a - b), left, right);
    this.crop();
    this.findAdapters();
    this.stack();
  }

  crop() {
    let left = Infinity, right = -Infinity;
    const see = (one, other) => { left = Math.min(left, one); right = Math.max(right, other); };
    this.body.boxes.forEach((_, at) => see(...this.sides(at)));
    for (const arrow of this.body.arrows) for (const x of arrow.x) see(this.x.get(x), this.x.get(x));
    for (const shape of this.body.shapes) right = Math.max(right, this.x.get(shape.x) + 5 + shape.width);
    if (left === Infinity) left = right = 0;
    left -= PAD;
    for (const [at, place] of this.x) this.x.set(at, place - left);
    this.width = right + PAD - left;
  }

  sides(at) {
    const box = this.body.boxes[at], inner = this.inner.get(at), middle = this.x.get(box.middle);
    let left = middle - box.width / 2, right = middle + box.width / 2;
    if (inner) {
      left = middle - inner.middle;
      right = left + inner.openWidth;
    }
    for (const x of this.ports[at]) {
      left = Math.min(left, this.x.get(x) - 4);
      right = Math.max(right, this.x.get(x) + 4);
    }
    return [left, right];
  }

  get middle() {
    const edge = this.body.boxes.find((box) => box.edge !== undefined);
    return edge ? this.x.get(edge.middle) : this.width / 2;
  }

  get openWidth() {
    const title = this.group.widths[0], ins = [...this.edges(true).values()];
    if (PAD + title + PAD <= Math.min(this.width, ...ins)) return this.width;
    return Math.max(this.width, Math.max(0, ...ins) + PAD + title + PAD);
  }

  edges(gives) {
    const found = new Map();
    this.body.boxes.forEach((box, at) => {
      if (box.edge !== undefined && this.body.arrows.some((a) => (gives ? a.source : a.target) === at)) {
        found.set(box.edge, this.x.get(box.middle));
      }
    });
    return found;
  }

  findAdapters() {
    this.adapters = new Map();
    for (const [at, inner] of this.inner) {
      const left = this.x.get(this.body.boxes[at].middle) - inner.middle, into = new Map(), out = new Map();
      for (const arrow of this.body.arrows) {
        if (arrow.target === at) into.set(arrow.value, this.x.get(arrow.x[arrow.x.length - 1]) - left);
        if (arrow.source === at) out.set(arrow.value, this.x.get(arrow.x[0]) - left);
      }
      this.adapters.set(at, [adapter(inner.edges(true), into, false), adapter(inner.edges(false), out, true)]);
    }
  }

  openHeight(at) {
    const inner = this.inner.get(at), [above, below] = this.adapters.get(at);
    const ends = inner.edges(false).size ? 0 : PAD, starts = inner.edges(true).size ? 0 : PAD;
    return HEADER + starts + above.height + inner.height + below.height + ends;
  }

  height_of(at) {
    return this.inner.has(at) ? this.openHeight(at) : this.body.boxes[at].height;
  }

  stack() {
    const level = new Map(), things = [];
    for (const arrow of this.body.arrows) {
      for (let i = 0; i + 1 < arrow.x.length; i++) {
        if (arrow.y[i] !== arrow.y[i + 1]) continue;
        const key = `${arrow.value} ${arrow.y[i]}`, ends = [this.x.get(arrow.x[i]), this.x.get(arrow.x[i + 1])];
        const before = level.get(key) || { left: ends[0], right: ends[0], y: arrow.y[i] };
        level.set(key, { left: Math.min(...ends, before.left), right: Math.max(...ends, before.right), y: arrow.y[i] });
      }
    }
    const labels = new Map(this.body.shapes.map((shape) => [shape.box, shape]));
    this.body.boxes.forEach((box, at) => {
      let [left, right] = this.sides(at);
      const label = labels.get(at);
      if (label) right = Math.max(right, this.x.get(label.x) + 5 + label.width);
      things.push({ key: at, left, right, top: box.y, bottom: box.y + box.height, height: this.height_of(at), box: 1 });
    });
    for (const [key, { left, right, y }] of level) things.push({ key, left, right, top: y, bottom: y, height: 0, box: 0 });
    things.sort((a, b) => a.top - b.top || a.box - b.box);
    this.y = new Map();
    this.height = 0;
    things.forEach((thing, count) => {
      let y = 0;
      for (let i = 0; i < count; i++) {
        const other = things[i];
        if (other.left < thing.right && thing.left < other.right && other.bottom <= thing.top) {
          const space = Math.min(thing.top - other.bottom, SPACES[other.box][thing.box]);
          y = Math.max(y, this.y.get(other.key) + other.height + space);
        }
      }
      this.y.set(thing.key, y);
      this.height = Math.max(this.height, y + thing.height);
    });
    this.body.boxes.forEach((box, at) => {
      if (box.edge !== undefined && this.body.arrows.some((a) => a.target === at)) this.y.set(at, this.height);
    });
  }

  addTo(picture, left, top, inside) {
    const number = [], frames = [];
    this.body.boxes.forEach((box, at) => {
      const [one, other] = this.sides(at);
      frames.push({ x: left + one, y: top + this.y.get(at), width: other - one, height: this.height_of(at) });
    });
    this.body.boxes.forEach((box, at) => {
      number[at] = inside;
      if (box.edge !== undefined) return;
      number[at] = picture.boxes.length;
      this.addBox(picture, at, box, frames[at], left, inside);
    });
    for (const arrow of this.body.arrows) {
      const levels = arrow.y.slice(1, -1).map((y) => top + this.y.get(`${arrow.value} ${y}`));
      const ys = [frames[arrow.source].y + frames[arrow.source].height, ...levels, frames[arrow.target].y];
      picture.lines.push({
        value: arrow.value, source: number[arrow.source], target: number[arrow.target],
        points: arrow.x.map((x, i) => [left + this.x.get(x), ys[i]]),
      });
    }
    for (const shape of this.body.shapes) {
      const frame = frames[shape.box];
      picture.shapes.push({ text: shape.text, x: left + this.x.get(shape.x) + 5, y: frame.y + frame.height + 11 });
    }
  }

  addBox(picture, at, box, frame, left, inside) {
    const inner = this.inner.get(at), path = `${this.path}/${at}`;
    picture.boxes.push({ ...frame, box, path, inside, isOpen: Boolean(inner) });
    if (!inner) return;
    const number = picture.boxes.length - 1, [above, below] = this.adapters.get(at);
    const start = left + this.x.get(box.middle) - inner.middle;
    picture.boxes[number].titleX = titleX(box, frame, [...above.places.values()].map(([, outer]) => start + outer));
    const top = frame.y + HEADER + above.height + (above.places.size ? 0 : PAD);
    const before = picture.lines.length;
    inner.addTo(picture, start, top, number);
    const bottom = top + inner.height, end = frame.y + frame.height;
    for (const line of picture.lines.slice(before)) {
      if (line.source === number && above.places.has(line.value)) {
        const [one, outer] = above.places.get(line.value), first = [[start + outer, frame.y]];
        if (above.track.has(line.value)) {
          const y = frame.y + HEADER + ADAPTER * (above.track.get(line.value) + 0.5);
          first.push([start + outer, y], [start + one, y]);
        }
        const upright = line.points.length > 1 && Math.abs(line.points[0][0] - line.points[1][0]) < 0.01;
        line.points = [...first, ...line.points.slice(upright ? 1 : 0)];
      }
      if (line.target === number && below.places.has(line.value)) {
        const [one, outer] = below.places.get(line.value), last = [[start + outer, end]];
        if (below.track.has(line.value)) {
          const y = bottom + ADAPTER * (below.track.get(line.value) + 0.5);
          last.unshift([start + one, y], [start + outer, y]);
        }
        line.points = [...line.points.slice(0, -1), ...last];
      }
    }
  }
}

function titleX(box, frame, lines) {
  const nearest = Math.min(frame.x + frame.width, ...lines.filter((x) => x > frame.x));
  return frame.x + PAD + box.widths[0] > nearest - 4 ? Math.max(...lines) + PAD : frame.x + PAD;
}

function layOut() {
  const outermost = new Opened(net.bodies[0], null, ""), picture = { boxes: [], lines: [], shapes: [] };
  outermost.addTo(picture, 0, 0, -1);
  return { ...picture, width: outermost.width, height: outermost.height };
}

// What is seen.

const svg = document.getElementById("picture"), about = document.getElementById("about");
let shown = null, chosen = null;

function make(parent, name, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const key in attributes) element.setAttribute(key, attributes[key]);
  if (text !== undefined) element.textContent = text;
  parent.appendChild(element);
  return element;
}

function show() {
  shown = layOut();
  svg.replaceChildren();
  svg.setAttribute("width", shown.width + 32);
  svg.setAttribute("height", shown.height + 32);
  svg.setAttribute("viewBox", `-16 -16 ${shown.width + 32} ${shown.height + 32}`);
  const shared = new Map();
  for (const box of shown.boxes) {
    if (box.isOpen || box.box.shared === undefined) continue;
    const first = shared.get(box.box.shared);
    if (!first) { shared.set(box.box.shared, box); continue; }
    const [a, b] = [first, box].map((one) => `${one.x + one.width / 2} ${one.y + one.height / 2}`);
    make(svg, "path", { class: "k", d: `M${a}L${b}` });
  }
  shown.boxes.filter((box) => box.isOpen).forEach(showBox);
  for (const line of shown.lines) {
    const wrong = shown.boxes[line.target].box.wrong ? " e" : "";
    make(svg, "path", { class: `l${wrong}`, d: "M" + line.points.map((point) => point.join(" ")).join("L") });
    const [x, y] = line.points[line.points.length - 1];
    if (!shown.boxes[line.target].isOpen) make(svg, "path", { class: wrong ? "f" : "a", d: `M${x} ${y}l-3.5 -7h7z` });
  }
  shown.boxes.filter((box) => !box.isOpen).forEach(showBox);
  for (const shape of shown.shapes) make(svg, "text", { class: "s", x: shape.x, y: shape.y, "font-size": 10 }, shape.text);
}

function showBox(placed) {
  const { box, path, x, y, width, height, isOpen } = placed;
  const group = make(svg, "g", { tabindex: 0, "data-path": path });
  if (box.body !== undefined) {
    group.setAttribute("role", "button");
    group.setAttribute("aria-expanded", isOpen);
  }
  make(group, "title", {}, box.about.join("\n"));
  const frame = { width, height, rx: isOpen ? 6 : 4, class: box.kind + (path === chosen ? " c" : "") };
  if (box.times > 1) make(group, "rect", { ...frame, x: x + 3, y: y + 3 });
  make(group, "rect", { ...frame, x, y });
  if (box.body !== undefined) sign(group, x + width, y, box.kind, isOpen);
  box.lines.forEach((text, at) => {
    if (isOpen && at) return;
    const style = { class: at ? "s" : "t", "font-size": at ? 10 : 12 };
    if (isOpen) make(group, "text", { ...style, x: placed.titleX, y: y + 15 }, text);
    else {
      const base = y + (height - LINE * box.lines.length) / 2 + LINE - 3.5 + at * LINE;
      make(group, "text", { ...style, x: x + width / 2, y: base, "text-anchor": "middle" }, text);
    }
  });
  group.addEventListener("click", () => choose(path, box, true));
  group.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose(path, box, true);
      find(path)?.focus();
    }
  });
}

// On the corner of a block, where it covers no text.
function sign(group, x, y, kind, isOpen) {
  make(group, "circle", { cx: x, cy: y, r: 6.5, class: kind });
  make(group, "path", { class: "l", d: `M${x - 3.5} ${y}h7${isOpen ? "" : `M${x} ${y - 3.5}v7`}` });
}

function find(path) {
  return svg.querySelector(`[data-path="${path}"]`);
}

function choose(path, box, turn) {
  chosen = path;
  if (turn && box.body !== undefined && !open.delete(path)) open.add(path);
  show();
  about.replaceChildren();
  for (const line of box.about) about.appendChild(document.createElement("p")).textContent = line;
  if (box.source !== undefined) {
    const { where, text } = net.source[box.source];
    about.appendChild(document.createElement("p")).textContent = where;
    about.appendChild(document.createElement("pre")).textContent = text;
    if (turn && editor) editor.postMessage({ where });
  }
}

function search(words) {
  const wanted = words.trim().toLowerCase(), note = document.getElementById("found");
  note.textContent = "";
  if (!wanted) return;
  const ways = [];
  (function look(body, path) {
    net.bodies[body].boxes.forEach((box, at) => {
      const way = `${path}/${at}`;
      if (box.edge === undefined && box.about.some((line, i) => i < 2 && line.toLowerCase().includes(wanted))) ways.push([way, box]);
      if (box.body !== undefined) look(box.body, way);
    });
  })(0, "");
  note.textContent = `${ways.length} found`;
  const at = ways.findIndex(([way]) => way === chosen), next = ways[(at + 1) % ways.length];
  if (next) reveal(...next);
}

function reveal(path, box) {
  const parts = path.split("/");
  for (let i = 2; i < parts.length; i++) open.add(parts.slice(0, i).join("/"));
  choose(path, box, false);
  find(path).scrollIntoView({ block: "center", inline: "center" });
}

// Shows the first box that comes from a line of the file.
function revealLine(line) {
  (function look(body, path) {
    return net.bodies[body].boxes.some((box, at) => {
      const way = `${path}/${at}`;
      if (box.source !== undefined && Number(net.source[box.source].where.split(":").pop()) === line) {
        reveal(way, box);
        return true;
      }
      return box.body !== undefined && look(box.body, way);
    });
  })(0, "");
}

function openTo(depth) {
  open.clear();
  (function look(body, path, left) {
    if (left < 1) return;
    net.bodies[body].boxes.forEach((box, at) => {
      if (box.body === undefined) return;
      open.add(`${path}/${at}`);
      look(box.body, `${path}/${at}`, left - 1);
    });
  })(0, "", depth);
  show();
}

document.getElementById("all").addEventListener("click", () => openTo(99));
document.getElementById("none").addEventListener("click", () => openTo(0));
document.getElementById("search").addEventListener("submit", (event) => {
  event.preventDefault();
  search(document.getElementById("words").value);
});
// An editor that shows the page beside the text says at which line the cursor is.
window.addEventListener("message", ({ data }) => {
  if (data && Number.isInteger(data.line)) revealLine(data.line);
});
openTo(net.depth);
