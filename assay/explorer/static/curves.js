// Curves that can be pointed at, zoomed and compared. Without this file a page shows the drawings
// that came with it; with it, each of them is drawn by uPlot instead.
"use strict";

const RUNS = 8; // colours
const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [12, 5], [4, 2], [1, 4], [9, 2, 2, 2, 2, 2]];
const plots = new Map(); // a figure's box → its plot and what it shows

function color(box, name) {
  return getComputedStyle(box).getPropertyValue(name).trim();
}

// uPlot's columns: x, then of each run its values and the ends of their intervals.
function arrange(curve) {
  const xs = [...new Set(curve.series.flatMap((run) => run.points.map((p) => p.x)))];
  xs.sort((a, b) => a - b);
  const columns = curve.series.flatMap((run) => {
    const at = new Map(run.points.map((p) => [p.x, p]));
    return ["y", "low", "high"].map((key) => xs.map((x) => at.get(x)?.[key] ?? null));
  });
  return [xs, ...columns];
}

function write(curve, value) {
  if (curve.name === "held-out") return `${(100 * value).toFixed(1)} %`;
  return curve.top === 1 ? value.toFixed(3) : value.toLocaleString("en");
}

function describe(curve, data, index) {
  const said = curve.series.flatMap((run, n) => {
    const [y, low, high] = [1, 2, 3].map((k) => data[3 * n + k][index]);
    if (y === null) return [];
    const span = low === null || high === null ? "" : ` (${write(curve, low)} to ${write(curve, high)})`;
    return [`${curve.series.length > 1 ? `${run.run} ` : ""}${write(curve, y)}${span}`];
  });
  return `${curve.along} ${data[0][index].toLocaleString("en")}: ${said.join("; ")}`;
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  element.className = className;
  if (text) element.textContent = text;
  return element;
}

// Nothing is drawn between estimates: what was not tried there is not known.
const isEstimate = (run) => run.points[0].low !== undefined;

function listSeries(box, curve) {
  const series = [{}];
  curve.series.forEach((run, n) => {
    const stroke = () => color(box, `--run-${n % RUNS}`);
    const paths = isEstimate(run) ? { paths: () => null } : {};
    series.push({ stroke, width: 2, dash: DASHES[n % RUNS], spanGaps: true, points: { show: true, size: isEstimate(run) ? 4 : 6, stroke, fill: stroke }, ...paths });
    series.push({ paths: () => null, points: { show: false } }, { paths: () => null, points: { show: false } });
  });
  return series;
}

// The interval of each estimate, as a line through its point.
function drawIntervals(u, box, curve) {
  const { ctx } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(u.bbox.left, u.bbox.top, u.bbox.width, u.bbox.height);
  ctx.clip();
  ctx.lineWidth = 2 * devicePixelRatio;
  curve.series.forEach((run, n) => {
    if (!isEstimate(run) || !u.series[3 * n + 1].show) return;
    ctx.strokeStyle = color(box, `--run-${n % RUNS}`);
    ctx.beginPath();
    u.data[0].forEach((x, i) => {
      if (u.data[3 * n + 2][i] === null || u.data[3 * n + 3][i] === null) return;
      const at = u.valToPos(x, "x", true);
      ctx.moveTo(at, u.valToPos(u.data[3 * n + 2][i], "y", true));
      ctx.lineTo(at, u.valToPos(u.data[3 * n + 3][i], "y", true));
    });
    ctx.stroke();
  });
  ctx.restore();
}

function draw(box, kept, said, whole) {
  const { curve, data } = kept;
  const line = () => ({ stroke: () => color(box, "--dim"), grid: { stroke: () => color(box, "--line"), width: 1 }, ticks: { show: false }, font: "13px system-ui, sans-serif" });
  const plot = new uPlot({
    width: box.clientWidth,
    height: 250,
    padding: [10, 12, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: true, y: false, dist: 4 }, points: { size: 9 } },
    scales: {
      x: { time: false, range: (u, low, high) => (low === high ? [low - 1, high + 1] : [low, high]) },
      y: { range: () => [0, kept.curve.top] },
    },
    axes: [
      { ...line(), size: 30, label: curve.along, labelSize: 22, labelFont: "13px system-ui, sans-serif", incrs: [1, 2, 5].concat(...[1, 2, 3, 4, 5, 6].map((e) => [10 ** e, 2 * 10 ** e, 5 * 10 ** e])), values: (u, ticks) => ticks.map((t) => t.toLocaleString("en")) },
      { ...line(), size: 64, splits: () => kept.curve.ticks, values: (u, ticks) => ticks.map((t) => t.toLocaleString("en")) },
    ],
    series: listSeries(box, curve),
    hooks: {
      draw: [(u) => drawIntervals(u, box, kept.curve)],
      setCursor: [(u) => {
        if (u.cursor.idx !== null && u.cursor.idx !== undefined) said.textContent = describe(kept.curve, u.data, u.cursor.idx);
      }],
      setScale: [(u, key) => {
        if (key !== "x") return;
        const xs = u.data[0];
        const { min, max } = u.scales.x;
        kept.zoomed = min > xs[0] || max < xs[xs.length - 1];
        whole.disabled = !kept.zoomed;
        box.dataset.shown = `${min}..${max}`;
      }],
    },
  }, data, box);
  plot.root.querySelectorAll("canvas").forEach((canvas) => canvas.setAttribute("aria-hidden", "true"));
  return plot;
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

function enhance(figure) {
  const curve = JSON.parse(figure.dataset.curve);
  const svg = figure.querySelector("svg");
  const box = make("div", "plot");
  const said = make("p", "said", "Point at the curve, or use the arrow keys; drag to zoom.");
  const tools = make("div", "tools");
  const [closer, wider, whole] = ["Zoom in", "Zoom out", "Whole"].map((name) => make("button", "", name));
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", `${svg.getAttribute("aria-label")}. Arrow keys read values, plus and minus zoom, 0 shows the whole.`);
  said.setAttribute("role", "status");
  tools.append(closer, wider, whole);
  figure.querySelectorAll(".chart, figcaption").forEach((one) => one.remove());
  figure.append(box, said, tools);
  const kept = { curve, data: arrange(curve), zoomed: false, text: figure.dataset.curve };
  const plot = draw(box, kept, said, whole);
  [closer, wider, whole].forEach((button) => { button.type = "button"; });
  closer.addEventListener("click", () => zoom(plot, 0.5));
  wider.addEventListener("click", () => zoom(plot, 2));
  whole.addEventListener("click", () => showAll(plot));
  box.addEventListener("keydown", (event) => press(plot, event));
  if (curve.series.length > 1) choose(tools, plot, curve);
  new ResizeObserver(() => plot.setSize({ width: box.clientWidth, height: 250 })).observe(box);
  plots.set(figure.id, { plot, kept });
}

// A box to tick for each run.
function choose(tools, plot, curve) {
  curve.series.forEach((run, n) => {
    const label = make("label", `run run-${n % RUNS}`);
    const box = make("input", "");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => {
      [1, 2, 3].forEach((k) => plot.setSeries(3 * n + k, { show: box.checked }));
    });
    label.append(box, make("i", "mark"), run.run);
    tools.append(label);
  });
}

function enhanceAll(root) {
  root.querySelectorAll("figure[data-curve]").forEach(enhance);
}

// A page that was renewed: the same runs keep their zoom, others are drawn anew.
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
      box.replaceChildren(...figures.map((figure) => document.importNode(figure, true)));
      enhanceAll(box);
      continue;
    }
    for (const figure of figures) {
      const { plot, kept } = plots.get(figure.id);
      if (kept.text === figure.dataset.curve) continue;
      const { min, max } = plot.scales.x;
      kept.text = figure.dataset.curve;
      kept.curve = JSON.parse(kept.text);
      const zoomed = kept.zoomed;
      plot.setData(arrange(kept.curve));
      if (zoomed) plot.setScale("x", { min, max });
    }
  }
}

enhanceAll(document);
document.addEventListener("renewed", (event) => renewCurves(event.detail));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  plots.forEach(({ plot }) => plot.redraw());
});
