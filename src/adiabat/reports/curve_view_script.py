"""The script of :mod:`adiabat.reports.curve_view`: SVG drawn from the data in the page."""

from typing import Final

SCRIPT: Final = r"""
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("@name@-data").textContent);
  const root = document.getElementById("@name@"), svg = root.querySelector(".plot");
  const readout = document.getElementById("@name@-readout");
  const SPACE = "http://www.w3.org/2000/svg", LEFT = 62, RIGHT = 12, TOP = 10, BOTTOM = data.x.label ? 48 : 30;
  let width = 800, height = 520;
  const view = { x: data.x.range.slice(), y: data.y.range.slice() };
  const hidden = new Set();
  let cursor = null, pending = false, drag = null;

  const make = (name, attributes, parent) => {
    const element = document.createElementNS(SPACE, name);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    if (parent) parent.appendChild(element);
    return element;
  };
  const clip = make("rect", {}, make("clipPath", { id: "@name@-clip" }, make("defs", {}, svg)));
  const back = make("g", {}, svg), inside = make("g", { "clip-path": "url(#@name@-clip)" }, svg);
  const pointer = make("g", { "clip-path": "url(#@name@-clip)" }, svg);

  const plotWidth = () => width - LEFT - RIGHT, plotHeight = () => height - TOP - BOTTOM;
  const toX = x => LEFT + (x - view.x[0]) / (view.x[1] - view.x[0]) * plotWidth();
  const toY = y => TOP + (view.y[1] - y) / (view.y[1] - view.y[0]) * plotHeight();
  const fromX = px => view.x[0] + (px - LEFT) / plotWidth() * (view.x[1] - view.x[0]);
  const fromY = py => view.y[1] - (py - TOP) / plotHeight() * (view.y[1] - view.y[0]);
  const minus = text => text.replace("-", "\u2212");

  function roundTicks([low, high], most) {
    const raw = (high - low) / most, power = Math.pow(10, Math.floor(Math.log10(raw)));
    const step = [1, 2, 5, 10].map(f => f * power).find(s => s >= raw);
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9)), ticks = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) {
      ticks.push([k * step, minus((k === 0 ? 0 : k * step).toFixed(digits))]);
    }
    return ticks;
  }

  function text(x, y, content, attributes, parent) {
    const element = make("text", Object.assign({ x, y, fill: "var(--ink)", "font-size": 15 }, attributes), parent);
    // What follows an underscore stands lower: E_VBM.
    content.split(/_(\w+)/).forEach((part, k) => {
      const low = k % 2 === 1;
      make("tspan", low ? { dy: 4, "font-size": 11 } : k > 0 ? { dy: -4 } : {}, element).textContent = part;
    });
    return element;
  }

  function drawFrame() {
    back.replaceChildren();
    const bottom = TOP + plotHeight(), right = LEFT + plotWidth();
    if (data.y.range[0] < 0 && view.y[0] < 0 && view.y[1] > 0) {
      make("path", { d: `M${LEFT} ${toY(0)}H${right}`, stroke: "var(--muted)", "stroke-dasharray": "3 3" }, back);
    }
    for (const [at, label] of roundTicks(view.y, 9)) {
      make("path", { d: `M${LEFT} ${toY(at)}h6`, stroke: "var(--ink)" }, back);
      text(LEFT - 8, toY(at) + 5, label, { "text-anchor": "end" }, back);
    }
    for (const [at, label] of data.x.ticks || roundTicks(view.x, 9)) {
      if (at < view.x[0] - 1e-9 || at > view.x[1] + 1e-9) continue;
      const line = data.x.ticks ? `M${toX(at)} ${TOP}V${bottom}` : `M${toX(at)} ${bottom}v-6`;
      make("path", { d: line, stroke: data.x.ticks ? "var(--rule)" : "var(--ink)" }, back);
      text(toX(at), bottom + 20, label, { "text-anchor": "middle" }, back);
    }
    if (!data.x.ticks && view.x[0] < 0 && view.x[1] > 0) {
      make("path", { d: `M${toX(0)} ${TOP}V${bottom}`, stroke: "var(--muted)", "stroke-dasharray": "3 3" }, back);
    }
    const box = { x: LEFT, y: TOP, width: plotWidth(), height: plotHeight() };
    make("rect", Object.assign(box, { fill: "none", stroke: "var(--ink)" }), back);
    const middle = TOP + plotHeight() / 2;
    text(16, middle, data.y.label, { "text-anchor": "middle", transform: `rotate(-90 16 ${middle})` }, back);
    if (data.x.label) text(LEFT + plotWidth() / 2, height - 8, data.x.label, { "text-anchor": "middle" }, back);
  }

  function linePath(series, curve) {
    const breaks = new Set(series.breaks), y = series.y[curve];
    let path = "", on = false;
    for (let k = 0; k < y.length; k++) {
      if (y[k] === null) { on = false; continue; }
      path += (on && !breaks.has(k) ? "L" : "M") + toX(series.x[k]).toFixed(1) + " " + toY(y[k]).toFixed(1);
      on = true;
    }
    return path;
  }

  function markPath(marks, x, y, r) {
    const f = value => value.toFixed(1), d = f(2 * r);
    if (marks === "cross") return `M${f(x - r)} ${f(y - r)}l${d} ${d}M${f(x - r)} ${f(y + r)}l${d} -${d}`;
    if (marks === "square") return `M${f(x - r)} ${f(y - r)}h${d}v${d}h-${d}z`;
    if (marks === "triangle") return `M${f(x)} ${f(y - 1.2 * r)}l${f(1.1 * r)} ${d}h-${f(2.2 * r)}z`;
    return `M${f(x - r)} ${f(y)}a${f(r)} ${f(r)} 0 1 0 ${d} 0a${f(r)} ${f(r)} 0 1 0 -${d} 0`;
  }

  function marksPath(series, curve) {
    let path = "", last = -1e9;
    for (let k = 0; k < series.x.length; k++) {
      const y = series.y[curve][k], x = toX(series.x[k]);
      if (y === null || y < view.y[0] || y > view.y[1] || x < LEFT - 9 || x > width) continue;
      if (x - last < (series.sizes ? 9 : 7)) continue;
      const share = series.sizes ? series.sizes[curve][k] : 0.35;
      last = x;
      if (share > 0.02) path += markPath(series.marks, x, toY(y), 7 * Math.sqrt(share));
    }
    return path;
  }

  function draw() {
    pending = false;
    clip.setAttribute("x", LEFT); clip.setAttribute("y", TOP);
    clip.setAttribute("width", plotWidth()); clip.setAttribute("height", plotHeight());
    drawFrame();
    inside.replaceChildren();
    data.series.forEach((series, index) => {
      if (hidden.has(index)) return;
      const color = `var(${series.color})`, open = ["ring", "square", "cross"].includes(series.marks);
      const look = series.marks === "line"
        ? { fill: "none", stroke: color, "stroke-width": 1.6, "stroke-dasharray": series.dash }
        : open ? { fill: "none", stroke: color, "stroke-width": 1.3 } : { fill: color, "fill-opacity": 0.5 };
      series.y.forEach((values, curve) => {
        if (values.every(v => v === null || v < view.y[0] || v > view.y[1]) && series.marks !== "line") return;
        const d = series.marks === "line" ? linePath(series, curve) : marksPath(series, curve);
        if (d) make("path", Object.assign({ d }, look), inside);
      });
    });
    drawCursor();
  }

  function drawCursor() {
    pointer.replaceChildren();
    if (!cursor) return;
    const series = data.series[cursor.series], y = series.y[cursor.curve][cursor.point];
    if (y === null || hidden.has(cursor.series)) return;
    const px = toX(series.x[cursor.point]), py = toY(y);
    const cross = `M${px} ${TOP}V${TOP + plotHeight()}M${LEFT} ${py}H${LEFT + plotWidth()}`;
    make("path", { d: cross, stroke: "var(--muted)", "stroke-width": 0.7 }, pointer);
    make("circle", { cx: px, cy: py, r: 6, fill: "none", stroke: "var(--focus)", "stroke-width": 2.5 }, pointer);
  }

  const shown = (value, axis) =>
    (axis.symbol ? axis.symbol + " = " : "") + minus(value.toFixed(3)) + (axis.unit ? " " + axis.unit : "");

  function say() {
    const series = data.series[cursor.series], k = cursor.point;
    const names = series.x.length === data.x.names.length ? data.x.names : [];
    const parts = [names[k] || shown(series.x[k], data.x), shown(series.y[cursor.curve][k], data.y)];
    parts.unshift(series.names[cursor.curve] ? `${series.name}, ${series.names[cursor.curve]}` : series.name);
    for (const other of data.series) {
      if (!other.sizes || other.y.length !== series.y.length || other.x.length !== series.x.length) continue;
      parts.push(`${other.name} ${(100 * other.sizes[cursor.curve][k]).toFixed(0)} %`);
    }
    readout.textContent = parts.join(" · ");
  }

  function place(next) { cursor = next; drawCursor(); say(); }

  function nearest(px, py) {
    let best = null, distance = Infinity;
    data.series.forEach((series, index) => {
      if (hidden.has(index) || series.sizes) return;
      for (let k = 0; k < series.x.length; k++) {
        const dx = toX(series.x[k]) - px;
        if (Math.abs(dx) > 30) continue;
        for (let curve = 0; curve < series.y.length; curve++) {
          const y = series.y[curve][k];
          if (y === null) continue;
          const d = Math.hypot(dx, toY(y) - py);
          if (d < distance) { distance = d; best = { series: index, curve, point: k }; }
        }
      }
    });
    return distance < 60 ? best : null;
  }

  function first() {
    const index = data.series.findIndex((series, k) => !hidden.has(k) && !series.sizes);
    if (index < 0) return null;
    const series = data.series[index], point = Math.floor(series.x.length / 2);
    const level = Math.max(view.y[0], Math.min(view.y[1], 0));
    let curve = 0;
    series.y.forEach((values, k) => {
      const distance = Math.abs(values[point] - level), before = Math.abs((series.y[curve][point] ?? 1e9) - level);
      if (values[point] !== null && distance < before) curve = k;
    });
    return { series: index, curve, point };
  }

  function along(step) {
    if (!cursor) return first();
    const series = data.series[cursor.series], values = series.y[cursor.curve];
    let point = cursor.point + step;
    while (point > 0 && point < values.length - 1 && values[point] === null) point += step;
    return point < 0 || point >= values.length || values[point] === null ? cursor : { ...cursor, point };
  }

  function across(up) {
    if (!cursor) return first();
    const here = data.series[cursor.series], x = here.x[cursor.point], y = here.y[cursor.curve][cursor.point];
    let best = cursor, distance = Infinity;
    data.series.forEach((series, index) => {
      if (hidden.has(index) || series.sizes) return;
      const point = index === cursor.series ? cursor.point
        : series.x.reduce((best, at, k) => Math.abs(at - x) < Math.abs(series.x[best] - x) ? k : best, 0);
      series.y.forEach((values, curve) => {
        if (values[point] === null || (index === cursor.series && curve === cursor.curve)) return;
        const gap = up ? values[point] - y : y - values[point];
        const later = index > cursor.series || (index === cursor.series && curve > cursor.curve);
        if (gap < 0 || gap >= distance || (gap === 0 && later !== up)) return;
        distance = gap; best = { series: index, curve, point };
      });
    });
    return best;
  }

  function schedule() { if (!pending) { pending = true; requestAnimationFrame(draw); } }

  function zoom(axis, factor, about) {
    const [low, high] = view[axis], whole = data[axis].range, size = (high - low) * factor;
    if (size < 1e-3 * (whole[1] - whole[0]) || size > 4 * (whole[1] - whole[0])) return;
    view[axis] = [about - (about - low) * factor, about + (high - about) * factor];
    if (axis === "x" && view.x[1] - view.x[0] >= whole[1] - whole[0]) view.x = whole.slice();
    schedule();
  }

  function pan(axis, by) {
    let [low, high] = view[axis];
    if (axis === "x") by = Math.max(data.x.range[0] - low, Math.min(data.x.range[1] - high, by));
    view[axis] = [low + by, high + by];
    schedule();
  }

  function reset() { view.x = data.x.range.slice(); view.y = data.y.range.slice(); schedule(); }
  const middle = axis => (view[axis][0] + view[axis][1]) / 2;
  const centre = () => cursor ? data.series[cursor.series].y[cursor.curve][cursor.point] : middle("y");

  function keepVisible() {
    if (!cursor) return;
    const y = centre(), x = data.series[cursor.series].x[cursor.point];
    if (y < view.y[0] || y > view.y[1]) pan("y", y - middle("y"));
    if (x < view.x[0] || x > view.x[1]) pan("x", x - middle("x"));
  }

  svg.addEventListener("keydown", event => {
    const page = 0.3 * (view.y[1] - view.y[0]);
    const actions = {
      ArrowLeft: () => move(along(-1)), ArrowRight: () => move(along(1)),
      ArrowUp: () => move(across(true)), ArrowDown: () => move(across(false)),
      "+": () => zoom("y", 0.8, centre()), "=": () => zoom("y", 0.8, centre()), "-": () => zoom("y", 1.25, centre()),
      PageUp: () => pan("y", page), PageDown: () => pan("y", -page), "0": reset,
    };
    const move = next => { if (next) { place(next); keepVisible(); } };
    if (!actions[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[event.key]();
  });
  const local = event => {
    const box = svg.getBoundingClientRect();
    return [(event.clientX - box.left) * width / box.width, (event.clientY - box.top) * height / box.height];
  };
  svg.addEventListener("pointerdown", event => {
    svg.focus({ preventScroll: true });
    if (event.pointerType === "touch") return;
    drag = { at: local(event), x: view.x.slice(), y: view.y.slice() };
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", event => {
    const [px, py] = local(event);
    if (drag) {
      view.x = drag.x.slice(); view.y = drag.y.slice();
      pan("x", (drag.at[0] - px) / plotWidth() * (view.x[1] - view.x[0]));
      pan("y", (py - drag.at[1]) / plotHeight() * (view.y[1] - view.y[0]));
      return;
    }
    const found = nearest(px, py);
    if (found) place(found);
  });
  for (const name of ["pointerup", "pointercancel"]) svg.addEventListener(name, () => { drag = null; });
  svg.addEventListener("dblclick", reset);
  svg.addEventListener("wheel", event => {
    if (document.activeElement !== svg) return;
    event.preventDefault();
    const [px, py] = local(event), factor = Math.exp(0.0015 * (event.deltaY || event.deltaX));
    if (event.shiftKey) zoom("x", factor, fromX(px)); else zoom("y", factor, fromY(py));
  }, { passive: false });
  root.querySelectorAll("[data-series]").forEach(box => box.addEventListener("change", () => {
    const index = Number(box.dataset.series);
    if (box.checked) hidden.delete(index); else hidden.add(index);
    schedule();
  }));
  root.querySelectorAll("[data-zoom]").forEach(button => button.addEventListener("click", () => {
    if (button.dataset.zoom === "reset") reset();
    else zoom("y", button.dataset.zoom === "in" ? 0.7 : 1 / 0.7, centre());
  }));

  function resize() {
    width = Math.max(320, root.clientWidth - 32); height = Math.round(Math.min(620, Math.max(340, 0.66 * width)));
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.style.height = height + "px";
    schedule();
  }
  new ResizeObserver(resize).observe(root);
  resize();
})();
"""
