// Curves that can be pointed at, zoomed, smoothed and compared. Without this file a page shows the
// drawings that came with it; with it, each of them is drawn by uPlot instead.
"use strict";

const RUNS = 8; // colours
const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [12, 5], [4, 2], [1, 4], [9, 2, 2, 2, 2, 2]];
const HEIGHT = 190;
// As in `assay.charts.smoothing`, by which drawings without this file are smoothed.
const [WEIGHT, POINTS, WEIGHT_OF_MANY, MANY] = [0.6, 8, 0.9, 60];
const look = { smoothing: null, log: false, hidden: new Set() }; // null: by the number of points
const plots = new Map(); // a figure's id → its plot and what it shows
const KINDS = ["line", "raw", "low", "high"]; // columns of each part of a run

function color(box, name) {
  return getComputedStyle(box).getPropertyValue(name).trim();
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  if (text) element.textContent = text;
  return element;
}

const isEstimate = (points) => points[0].low !== undefined && points[0].low !== null;

// A run's points of one part: no line connects those of two.
function listParts(curve) {
  return curve.series.flatMap((run, n) => {
    const parts = new Map();
    for (const point of run.points) {
      const part = point.part ?? 0;
      parts.set(part, [...(parts.get(part) ?? []), point]);
    }
    return [...parts.values()].map((points) => ({ n, run: run.run, points }));
  });
}

const getWeight = (points) => look.smoothing ?? (points.length < MANY ? WEIGHT : WEIGHT_OF_MANY);

function smooth(points) {
  let mean = 0;
  let total = 0;
  const weight = getWeight(points);
  return points.map(({ y }) => {
    mean = weight * mean + (1 - weight) * y;
    total = weight * total + (1 - weight);
    return mean / total;
  });
}

const isSmoothed = (points) => getWeight(points) > 0 && points.length >= POINTS && !isEstimate(points);

// uPlot's columns: x, then of each part the line, the raw line behind it, and its band's ends.
function arrange(parts) {
  const xs = [...new Set(parts.flatMap(({ points }) => points.map((p) => p.x)))].sort((a, b) => a - b);
  const shown = (value) => (value === undefined || value === null || (look.log && value <= 0) ? null : value);
  const columns = parts.flatMap(({ points }) => {
    const smoothed = isSmoothed(points);
    const means = smoothed ? smooth(points) : points.map((p) => p.y);
    const at = new Map(points.map((p, i) => [p.x, { line: means[i], raw: smoothed ? p.y : null, low: p.low, high: p.high }]));
    return KINDS.map((kind) => xs.map((x) => shown(at.get(x)?.[kind])));
  });
  return [xs, ...columns];
}

function write(curve, value) {
  if (curve.unit === "percent") return `${(100 * value).toFixed(1)} %`;
  if (curve.unit === "points") return `${value > 0 ? "+" : ""}${(100 * value).toFixed(1)} points`.replace("-", "−");
  if (curve.top === 1 && !curve.bottom) return value.toFixed(3);
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential(2);
  return value.toLocaleString("en");
}

function writeTick(curve, value) {
  if (curve.unit === "percent") return `${Number((100 * value).toFixed(1))} %`;
  if (curve.unit === "points") return `${value > 0 ? "+" : ""}${Number((100 * value).toFixed(1))}`.replace("-", "−");
  if (value !== 0 && Math.abs(value) < 0.001) return value.toExponential().replace("e-", "e−");
  return value.toLocaleString("en");
}

// What a curve has at x, by all runs that are shown.
function describe({ curve }, x) {
  const said = curve.series.flatMap((run) => {
    const point = look.hidden.has(run.run) ? undefined : run.points.find((p) => p.x === x);
    if (!point) return [];
    const span = point.low === undefined || point.low === null ? "" : ` (${write(curve, point.low).replace(" points", "")} to ${write(curve, point.high)})`;
    return [`${curve.series.length > 1 ? `${run.run} ` : ""}${write(curve, point.y)}${span}`];
  });
  return said.length ? `${curve.along} ${x.toLocaleString("en")}: ${said.join("; ")}` : "";
}

function describeNewest(kept) {
  const last = Math.max(...kept.curve.series[0].points.map((p) => p.x));
  return describe(kept, last);
}

function listSeries(box, kept) {
  const none = { paths: () => null, points: { show: false } };
  return [{}, ...kept.parts.flatMap(({ n, run, points }) => {
    const stroke = () => color(box, `--run-${n % RUNS}`);
    const dots = points.length === 1 || (points.length < 60 && !isSmoothed(points));
    const dash = DASHES[n % RUNS];
    const show = !look.hidden.has(run);
    return [
      { show, stroke, width: 2, dash, spanGaps: true, points: { show: dots, size: 5, stroke, fill: stroke } },
      { show, stroke, width: 1, alpha: 0.4, spanGaps: true, points: { show: false } },
      { ...none, show }, { ...none, show },
    ];
  })];
}

// The band of estimates, or the bar of one alone, behind the lines.
function drawBands(u, box, kept) {
  const { ctx } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  ctx.clip();
  kept.parts.forEach(({ n, run, points }, k) => {
    if (look.hidden.has(run)) return;
    const [low, high] = [3, 4].map((kind) => u.data[4 * k + kind]);
    const at = u.data[0].map((x, i) => i).filter((i) => low[i] !== null && high[i] !== null);
    const place = (i, ends) => [u.valToPos(u.data[0][i], "x", true), u.valToPos(ends[i], "y", true)];
    ctx.fillStyle = ctx.strokeStyle = color(box, `--run-${n % RUNS}`);
    ctx.beginPath();
    if (at.length === 1 && points.length === 1) {
      ctx.lineWidth = 2 * devicePixelRatio;
      ctx.moveTo(...place(at[0], low));
      ctx.lineTo(...place(at[0], high));
      ctx.stroke();
    } else if (at.length > 1) {
      ctx.globalAlpha = 0.18;
      at.forEach((i) => ctx.lineTo(...place(i, high)));
      at.toReversed().forEach((i) => ctx.lineTo(...place(i, low)));
      ctx.fill();
      ctx.globalAlpha = 1;
    }
  });
  drawBreaks(u, box, kept);
  ctx.restore();
}

// Where another part begins: what is other from there on.
function drawBreaks(u, box, { curve }) {
  const { ctx } = u;
  const points = curve.series[0].points;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([5 * devicePixelRatio, 3 * devicePixelRatio]);
  ctx.font = `${12 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.strokeStyle = color(box, "--dim");
  ctx.fillStyle = color(box, "--ink");
  ctx.textAlign = "left";
  ctx.textBaseline = "alphabetic";
  points.forEach((point, i) => {
    if (!i || points[i - 1].part === point.part) return;
    const x = u.valToPos(point.x, "x", true);
    ctx.beginPath();
    ctx.moveTo(x, u.bbox.top);
    ctx.lineTo(x, u.bbox.top + u.bbox.height);
    ctx.stroke();
    ctx.save();
    ctx.translate(x - 5 * devicePixelRatio, u.bbox.top + u.bbox.height - 6 * devicePixelRatio);
    ctx.rotate(-Math.PI / 2);
    ctx.fillText(curve.breaks ?? "", 0, 0);
    ctx.restore();
  });
  ctx.setLineDash([]);
}

function getRange(u, kept) {
  if (!look.log) return [kept.curve.bottom ?? 0, kept.curve.top];
  const positive = kept.data.slice(1).flat().filter((value) => value !== null);
  if (!positive.length) return [1, 10];
  return [10 ** Math.floor(Math.log10(Math.min(...positive))), 10 ** Math.ceil(Math.log10(Math.max(...positive) * 1.0001))];
}

function draw(box, kept) {
  const line = () => ({ stroke: () => color(box, "--dim"), grid: { stroke: () => color(box, "--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" });
  const plot = new uPlot({
    width: box.clientWidth,
    height: HEIGHT,
    padding: [10, 12, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: true, y: false, dist: 4 }, points: { size: 8 } },
    scales: {
      x: { time: false, range: (u, low, high) => (low === high ? [low - 1, high + 1] : [low, high]) },
      y: { distr: look.log ? 3 : 1, range: (u) => getRange(u, kept) },
    },
    axes: [
      { ...line(), size: 26, label: kept.curve.along, labelSize: 18, labelFont: "12px system-ui, sans-serif", incrs: [1, 2, 5].concat(...[1, 2, 3, 4, 5, 6].map((e) => [10 ** e, 2 * 10 ** e, 5 * 10 ** e])), values: (u, ticks) => ticks.map((t) => t.toLocaleString("en")) },
      { ...line(), size: 56, ...(look.log ? {} : { splits: () => kept.curve.ticks }), values: (u, ticks) => ticks.map((t) => (t === null ? "" : writeTick(kept.curve, t))) },
    ],
    series: listSeries(box, kept),
    hooks: {
      drawAxes: [(u) => drawBands(u, box, kept)],
      setCursor: [(u) => follow(u, kept)],
      setScale: [(u, key) => {
        if (key !== "x") return;
        const xs = u.data[0];
        const { min, max } = u.scales.x;
        kept.zoomed = min > xs[0] || max < xs[xs.length - 1];
        kept.whole.disabled = !kept.zoomed;
        box.dataset.shown = `${min}..${max}`;
      }],
    },
  }, kept.data, box);
  plot.root.querySelectorAll("canvas").forEach((canvas) => canvas.setAttribute("aria-hidden", "true"));
  return plot;
}

// The cursor of one curve is that of all along the same axis, and each tells its value there. Only
// the one that is pointed at is read aloud.
let leading = false;
function follow(u, kept) {
  const { idx } = u.cursor;
  const x = idx === null || idx === undefined ? null : u.data[0][idx];
  kept.said.textContent = x === null ? describeNewest(kept) : describe(kept, x);
  if (leading) return;
  leading = true;
  for (const [id, other] of plots) {
    const is = other.kept === kept;
    other.kept.said.setAttribute("aria-live", is ? "polite" : "off");
    if (is || other.kept.curve.along !== kept.curve.along) continue;
    const { min, max } = other.plot.scales.x;
    const inside = x !== null && x >= min && x <= max;
    other.plot.setCursor({ left: inside ? other.plot.valToPos(x, "x") : -10, top: inside ? 10 : -10 });
    if (inside) other.kept.said.textContent = describe(other.kept, x) || describeNewest(other.kept);
  }
  leading = false;
}

// A part of the x axis: factor 0.5 shows half of what is shown, around the cursor as far as it can.
function zoom(plot, factor) {
  const { min, max } = plot.scales.x;
  const xs = plot.data[0];
  const at = plot.cursor.idx === null || plot.cursor.idx === undefined ? (min + max) / 2 : xs[plot.cursor.idx];
  const [first, last] = [xs[0], xs[xs.length - 1]];
  const length = Math.min(last - first, Math.max(1, (max - min) * factor));
  const low = Math.min(Math.max(first, at - length / 2), last - length);
  if (length > 0) plot.setScale("x", { min: low, max: low + length });
}

function showAll(plot) {
  const xs = plot.data[0];
  plot.setScale("x", { min: xs[0], max: xs[xs.length - 1] });
}

// The cursor goes to a neighbour of the point that it is at, within what is shown.
function step(plot, by) {
  const xs = plot.data[0];
  const { min, max } = plot.scales.x;
  const shown = xs.map((x, i) => i).filter((i) => xs[i] >= min && xs[i] <= max);
  if (!shown.length) return;
  const now = shown.indexOf(plot.cursor.idx);
  const at = now < 0 ? (by > 0 ? 0 : shown.length - 1) : Math.min(shown.length - 1, Math.max(0, now + by));
  plot.setCursor({ left: plot.valToPos(xs[shown[at]], "x"), top: 10 });
}

function press(plot, event) {
  const keys = {
    ArrowLeft: () => step(plot, -1),
    ArrowRight: () => step(plot, 1),
    "+": () => zoom(plot, 0.5),
    "-": () => zoom(plot, 2),
    0: () => showAll(plot),
  };
  if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
  event.preventDefault();
  keys[event.key]();
}

// The drawing as a file, with its title and the names of its runs.
function save(id) {
  const { plot, kept, box } = plots.get(id);
  const [source, ratio] = [plot.ctx.canvas, devicePixelRatio];
  const head = (kept.curve.series.length > 1 ? 54 : 30) * ratio;
  const canvas = make("canvas", "");
  [canvas.width, canvas.height] = [source.width, source.height + head];
  const ctx = canvas.getContext("2d");
  ctx.fillStyle = color(box, "--surface");
  ctx.fillRect(0, 0, canvas.width, canvas.height);
  ctx.fillStyle = color(box, "--ink");
  ctx.font = `600 ${14 * ratio}px system-ui, sans-serif`;
  ctx.fillText(kept.curve.title, 10 * ratio, 20 * ratio);
  ctx.font = `${12 * ratio}px system-ui, sans-serif`;
  let left = 10 * ratio;
  kept.curve.series.forEach((run, n) => {
    if (kept.curve.series.length < 2 || look.hidden.has(run.run)) return;
    ctx.fillStyle = color(box, `--run-${n % RUNS}`);
    ctx.fillText(`— ${run.run}`, left, 42 * ratio);
    left += ctx.measureText(`— ${run.run}`).width + 16 * ratio;
  });
  ctx.drawImage(source, 0, head);
  canvas.toBlob((blob) => {
    const link = make("a", "");
    link.href = URL.createObjectURL(blob);
    link.download = `${kept.curve.name}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}

function enhance(figure) {
  const curve = JSON.parse(figure.dataset.curve);
  const svg = figure.querySelector("svg");
  const box = make("div", "plot");
  const said = make("p", "reading");
  const head = make("div", "head");
  const names = [["+", "Zoom in"], ["−", "Zoom out"], ["⤢", "Reset zoom"], ["PNG", "PNG"]];
  const buttons = names.map(([text, name]) => {
    const button = make("button", "", text);
    button.type = "button";
    button.title = name;
    button.setAttribute("aria-label", name === "PNG" ? `PNG of ${curve.title}` : name);
    return button;
  });
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", `${svg.getAttribute("aria-label")}. Arrow keys read values, plus and minus zoom, 0 shows the whole.`);
  said.setAttribute("role", "status");
  said.setAttribute("aria-live", "off");
  const parts = listParts(curve);
  const kept = { curve, parts, data: arrange(parts), zoomed: false, text: figure.dataset.curve, said, whole: buttons[2] };
  const title = figure.querySelector("h3");
  figure.querySelectorAll(".chart, figcaption").forEach((one) => one.remove());
  head.append(...(title ? [title] : []), ...buttons);
  figure.append(head, said, box);
  const entry = { kept, box, plot: draw(box, kept) };
  plots.set(figure.id, entry);
  said.textContent = describeNewest(kept);
  const acts = [() => zoom(entry.plot, 0.5), () => zoom(entry.plot, 2), () => showAll(entry.plot), () => save(figure.id)];
  buttons.forEach((button, n) => button.addEventListener("click", acts[n]));
  box.addEventListener("keydown", (event) => press(entry.plot, event));
  box.addEventListener("blur", () => entry.plot.setCursor({ left: -10, top: -10 }));
  new ResizeObserver(() => {
    if (box.clientWidth) entry.plot.setSize({ width: box.clientWidth, height: HEIGHT });
  }).observe(box);
}

// The same curve with other points, or another look; what is zoomed stays.
function redraw(entry) {
  const { kept, box, plot } = entry;
  const { min, max } = plot.scales.x;
  const zoomed = kept.zoomed;
  kept.parts = listParts(kept.curve);
  kept.data = arrange(kept.parts);
  plot.destroy();
  entry.plot = draw(box, kept);
  if (zoomed) entry.plot.setScale("x", { min, max });
  kept.said.textContent = describeNewest(kept);
}

// One box of tools for all curves of a page.
function addTools() {
  const tools = document.getElementById("curve-tools");
  if (!tools || !plots.size) return;
  const again = () => plots.forEach(redraw);
  const add = (name, type, change) => {
    const [label, input] = [make("label", ""), make("input", "")];
    input.type = type;
    input.addEventListener("input", () => { change(input); again(); });
    label.append(...(type === "range" ? [name, input] : [input, name]));
    return [label, input];
  };
  const [smoothing, range] = add("Smoothing", "range", (input) => { look.smoothing = Number(input.value); });
  const weights = [...plots.values()].flatMap(({ kept }) => kept.parts.map(({ points }) => getWeight(points)));
  [range.min, range.max, range.step, range.value] = [0, 0.95, 0.05, Math.max(...weights)];
  const [log] = add("Logarithmic axis", "checkbox", (input) => { look.log = input.checked; });
  const runs = [...plots.values()].map(({ kept }) => kept.curve.series.map((run) => run.run)).sort((a, b) => b.length - a.length)[0];
  const legend = runs.length < 2 ? [] : runs.map((run, n) => {
    const [label, input] = add("", "checkbox", (box) => look.hidden[box.checked ? "delete" : "add"](run));
    label.className = `run run-${n % RUNS}`;
    input.checked = !look.hidden.has(run);
    label.append(make("i", "mark"), run);
    return label;
  });
  tools.replaceChildren(smoothing, log, ...legend, make("span", "hint", "Point at a curve, or use the arrow keys on it; drag to zoom."));
}

function enhanceAll(root) {
  root.querySelectorAll("figure[data-curve]").forEach(enhance);
  addTools();
}

// A page that was renewed: the same curves keep their zoom, others are drawn anew.
function renewCurves(fresh) {
  for (const box of document.querySelectorAll("[data-curves]")) {
    const other = fresh.getElementById(box.id);
    if (!other) continue;
    const figures = [...other.querySelectorAll("figure[data-curve]")];
    const runs = (curve) => curve.series.map((run) => run.run).join("\n");
    const same = figures.length === box.querySelectorAll("figure[data-curve]").length
      && figures.every((figure) => {
        const known = plots.get(figure.id);
        return known && runs(known.kept.curve) === runs(JSON.parse(figure.dataset.curve));
      });
    if (!same) {
      box.querySelectorAll("figure[data-curve]").forEach((figure) => plots.delete(figure.id));
      box.replaceChildren(...[...other.childNodes].map((one) => document.importNode(one, true)));
      enhanceAll(box);
      continue;
    }
    for (const figure of figures) {
      const entry = plots.get(figure.id);
      if (entry.kept.text === figure.dataset.curve) continue;
      entry.kept.text = figure.dataset.curve;
      entry.kept.curve = JSON.parse(entry.kept.text);
      redraw(entry);
    }
  }
}

// On a telephone the first subjects are open, and the others a touch away.
if (matchMedia("(max-width: 560px)").matches) {
  document.querySelectorAll("details.subject").forEach((one, n) => { one.open = n < 2; });
}
enhanceAll(document);
document.addEventListener("renewed", (event) => renewCurves(event.detail));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  plots.forEach(({ plot }) => plot.redraw());
});
