"""A small three-dimensional view of a trajectory: our own canvas drawing, no library and no network.

The view turns with mouse, touch and keyboard, plays the trajectory, and shows beside each frame the numbers that
belong to it. Atoms carry their symbols, so that nothing is said by color alone.
"""

import json
from collections.abc import Sequence
from html import escape
from typing import Final

import numpy as np
import numpy.typing as npt
from ase.data import covalent_radii
from ase.data.colors import jmol_colors

BOND_TOLERANCE: Final = 1.25
"""A bond is drawn where two atoms of the first frame are nearer than this many sums of covalent radii."""


def bonds(atomic_numbers: npt.NDArray[np.int64], positions: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of atoms to draw a bond between, for one frame of positions (n_atoms, 3) [Å]."""
    radii = covalent_radii[atomic_numbers]
    distances = np.linalg.norm(positions[:, None] - positions[None, :], axis=-1)
    i, j = np.nonzero(np.triu(distances < BOND_TOLERANCE * (radii[:, None] + radii[None, :]), k=1))
    return list(zip(i.tolist(), j.tolist(), strict=True))


def molecule_view(
    symbols: Sequence[str],
    atomic_numbers: npt.NDArray[np.int64],
    positions: npt.NDArray[np.float64],
    time: npt.NDArray[np.float64],
    series: dict[str, tuple[str, npt.NDArray[np.float64]]],
    *,
    description: str,
) -> str:
    """HTML of the viewer with its data and its script.

    Args:
        symbols: one per atom.
        atomic_numbers: (n_atoms,).
        positions: (n_frames, n_atoms, 3) [Å].
        time: (n_frames,) [fs].
        series: for each line of the readout its unit and its values (n_frames,); the first one is also drawn as a
            curve under the molecule.
        description: what the view shows, for readers who cannot see it.
    """
    centred = positions - positions.mean(axis=1, keepdims=True)
    data = {
        "symbols": list(symbols),
        "colors": [[round(255 * float(channel)) for channel in jmol_colors[z]] for z in atomic_numbers],
        "radii": [round(float(covalent_radii[z]), 3) for z in atomic_numbers],
        "bonds": bonds(atomic_numbers, positions[0]),
        "time": np.round(time, 2).tolist(),
        "positions": np.round(centred, 3).reshape(len(time), -1).tolist(),
        "series": [
            {"name": name, "unit": unit, "values": np.round(values, 4).tolist()}
            for name, (unit, values) in series.items()
        ],
    }
    payload = json.dumps(data, separators=(",", ":")).replace("</", "<\\/")
    return (
        _MARKUP.replace("@description@", escape(description, quote=True)).replace("@last@", str(len(time) - 1))
        + f'<script type="application/json" id="view-data">{payload}</script>\n<script>{_SCRIPT}</script>'
    )


_MARKUP: Final = """
<div class="viewer">
  <canvas id="view" tabindex="0" role="img" aria-label="@description@" aria-describedby="view-keys"></canvas>
  <div class="controls">
    <button type="button" id="view-play">Play</button>
    <label for="view-frame">Time</label>
    <input type="range" id="view-frame" min="0" max="@last@" value="0" step="1">
    <label for="view-speed">Speed</label>
    <select id="view-speed">
      <option value="10">10 fs/s</option><option value="25" selected>25 fs/s</option>
      <option value="100">100 fs/s</option><option value="400">400 fs/s</option>
    </select>
    <button type="button" id="view-reset">Reset view</button>
  </div>
  <dl class="readout" id="view-readout"></dl>
  <p class="note screen-only" id="view-keys">Drag to turn. With the picture in focus: <kbd>←</kbd> <kbd>→</kbd>
  <kbd>↑</kbd> <kbd>↓</kbd> turn, <kbd>+</kbd> <kbd>−</kbd> zoom, <kbd>space</kbd> plays, <kbd>,</kbd> and
  <kbd>.</kbd> step through the frames, <kbd>0</kbd> resets.</p>
  <noscript><p>The view needs JavaScript; its numbers are also in the figures and tables of this page.</p></noscript>
</div>
"""

_SCRIPT: Final = r"""
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("view-data").textContent);
  const canvas = document.getElementById("view"), pen = canvas.getContext("2d");
  const slider = document.getElementById("view-frame"), play = document.getElementById("view-play");
  const speed = document.getElementById("view-speed"), readout = document.getElementById("view-readout");
  const nAtoms = data.symbols.length, nFrames = data.time.length, last = data.time[nFrames - 1];
  const reach = Math.max(...data.positions.flat().map(Math.abs)) + 0.6;
  const WINDOW = 200;
  const START = [[0.83, 0.0, 0.56], [-0.2, 0.93, 0.3], [-0.52, -0.36, 0.77]];
  let turn = START, zoom = 1, clock = data.time[0], frame = 0, playing = false, before = 0;

  const multiply = (a, b) => a.map(row => b[0].map((_, k) => row.reduce((sum, x, m) => sum + x * b[m][k], 0)));
  const apply = (m, x, y, z) => m.map(row => row[0] * x + row[1] * y + row[2] * z);
  const aboutX = t => [[1, 0, 0], [0, Math.cos(t), -Math.sin(t)], [0, Math.sin(t), Math.cos(t)]];
  const aboutY = t => [[Math.cos(t), 0, Math.sin(t)], [0, 1, 0], [-Math.sin(t), 0, Math.cos(t)]];
  const orthonormal = m => {
    const norm = v => { const n = Math.hypot(...v); return v.map(x => x / n); };
    const a = norm(m[0]), d = a.reduce((sum, x, k) => sum + x * m[1][k], 0);
    const b = norm(m[1].map((x, k) => x - d * a[k]));
    return [a, b, [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]];
  };
  const rotate = (right, down) => {
    turn = orthonormal(multiply(aboutX(down), multiply(aboutY(right), turn))); draw();
  };
  const shade = (rgb, f) => "rgb(" + rgb.map(c => Math.round(f < 1 ? c * f : c + (255 - c) * (f - 1))).join(",") + ")";

  function project(width, height) {
    const scale = zoom * Math.min(width, height) / (2 * reach), eye = 6 * reach, xyz = data.positions[frame], out = [];
    for (let i = 0; i < nAtoms; i++) {
      const [x, y, z] = apply(turn, xyz[3 * i], xyz[3 * i + 1], xyz[3 * i + 2]);
      const near = eye / (eye - z);
      out.push({ x: width / 2 + scale * near * x, y: height / 2 - scale * near * y, z, scale: scale * near });
    }
    return out;
  }

  const ballRadius = i => 0.22 + 0.28 * data.radii[i];
  const between = (a, b, t) => ({ x: a.x + t * (b.x - a.x), y: a.y + t * (b.y - a.y) });

  // A bond is seen from the surface of one ball to that of the other; inside a ball it would cover the symbol.
  function halfBond(points, i, j) {
    const from = points[i], to = points[j], depth = (to.z - from.z);
    const length = Math.hypot((to.x - from.x) / from.scale, (to.y - from.y) / from.scale, depth);
    const begin = between(from, to, 0.93 * ballRadius(i) / length);
    const end = between(from, to, (1 + (ballRadius(i) - ballRadius(j)) / length) / 2), thick = 0.2 * from.scale;
    [[1, 0.6], [0.72, 0.9], [0.25, 1.35]].forEach(([part, light]) => {
      pen.strokeStyle = shade(data.colors[i], light); pen.lineWidth = part * thick; pen.lineCap = "butt";
      pen.beginPath(); pen.moveTo(begin.x, begin.y); pen.lineTo(end.x, end.y); pen.stroke();
    });
  }

  function ball(point, i) {
    const r = ballRadius(i) * point.scale, rgb = data.colors[i];
    const light = pen.createRadialGradient(point.x - 0.35 * r, point.y - 0.4 * r, 0.05 * r, point.x, point.y, r);
    [[0, 1.75], [0.45, 1], [1, 0.55]].forEach(([stop, factor]) => light.addColorStop(stop, shade(rgb, factor)));
    pen.fillStyle = light; pen.beginPath(); pen.arc(point.x, point.y, r, 0, 2 * Math.PI); pen.fill();
    const [red, green, blue] = rgb;
    pen.fillStyle = 0.3 * red + 0.59 * green + 0.11 * blue > 140 ? "#1b1f24" : "#ffffff";
    pen.font = "600 " + Math.max(11, 0.85 * r) + "px sans-serif"; pen.textAlign = "center"; pen.textBaseline = "middle";
    pen.fillText(data.symbols[i], point.x, point.y);
  }

  // Vibrations are too fast to be seen over the whole run, so the curve shows a window that moves along.
  function curve(style, width, top, height) {
    const { name, unit, values } = data.series[0], low = Math.min(...values), high = Math.max(...values);
    const left = 12, right = width - 12, now = data.time[frame], span = Math.min(WINDOW, last - data.time[0]) || 1;
    const begin = Math.max(data.time[0], Math.min(now - span / 2, last - span));
    const across = t => left + (right - left) * (t - begin) / span;
    const up = v => top + height - 8 - (height - 34) * (v - low) / (high - low || 1);
    pen.font = "13px sans-serif"; pen.textAlign = "left"; pen.textBaseline = "alphabetic";
    pen.fillStyle = style.getPropertyValue("--muted");
    pen.fillText(name + ", between " + low.toFixed(2) + " and " + high.toFixed(2) + " " + unit
      + "; " + begin.toFixed(0) + " to " + (begin + span).toFixed(0) + " fs", left, top + 12);
    pen.strokeStyle = style.getPropertyValue("--rule"); pen.lineWidth = 1;
    pen.beginPath(); pen.moveTo(left, top + height - 2); pen.lineTo(right, top + height - 2); pen.stroke();
    pen.save(); pen.beginPath(); pen.rect(left, top, right - left, height); pen.clip();
    pen.strokeStyle = style.getPropertyValue("--first"); pen.lineWidth = 1.3; pen.lineJoin = "round"; pen.beginPath();
    values.forEach((v, k) => k ? pen.lineTo(across(data.time[k]), up(v)) : pen.moveTo(across(data.time[k]), up(v)));
    pen.stroke(); pen.restore();
    pen.strokeStyle = style.getPropertyValue("--muted"); pen.lineWidth = 1;
    pen.beginPath(); pen.moveTo(across(now), top + 20); pen.lineTo(across(now), top + height - 2); pen.stroke();
    pen.fillStyle = style.getPropertyValue("--ink");
    pen.beginPath(); pen.arc(across(now), up(values[frame]), 4.5, 0, 2 * Math.PI); pen.fill();
  }

  function draw() {
    const style = getComputedStyle(document.documentElement), width = canvas.clientWidth, strip = 96;
    const height = Math.min(400, Math.max(220, 0.6 * width)), dots = window.devicePixelRatio || 1;
    const pixels = [Math.round(width * dots), Math.round((height + strip) * dots)];
    if (canvas.width !== pixels[0] || canvas.height !== pixels[1]) { [canvas.width, canvas.height] = pixels; }
    canvas.style.height = height + strip + "px";
    pen.setTransform(dots, 0, 0, dots, 0, 0); pen.clearRect(0, 0, width, height + strip);
    pen.save(); pen.beginPath(); pen.rect(0, 0, width, height); pen.clip();
    const points = project(width, height), jobs = points.map((p, i) => [p.z, () => ball(p, i)]);
    data.bonds.forEach(([i, j]) => [[i, j], [j, i]].forEach(([a, b]) => {
      jobs.push([points[a].z + (points[b].z > points[a].z ? 0.01 : -0.01), () => halfBond(points, a, b)]);
    }));
    jobs.sort((a, b) => a[0] - b[0]).forEach(job => job[1]());
    pen.restore();
    curve(style, width, height, strip);
    slider.value = frame;
    slider.setAttribute("aria-valuetext", data.time[frame].toFixed(1) + " femtoseconds");
    readout.innerHTML = "";
    [{ name: "Time", unit: "fs", values: data.time }, ...data.series].forEach(({ name, unit, values }) => {
      const [row, term, value] = ["div", "dt", "dd"].map(tag => document.createElement(tag));
      const digits = unit === "eV" || unit === "Å" ? 3 : 1;
      term.textContent = name; value.textContent = values[frame].toFixed(digits).replace("-", "−") + " " + unit;
      row.append(term, value); readout.append(row);
    });
  }

  function show(index) { frame = Math.min(nFrames - 1, Math.max(0, index)); clock = data.time[frame]; draw(); }
  function tick(now) {
    if (!playing) return;
    // The first animation frame may be dated before the click that asked for it.
    clock += Math.min(0.1, Math.max(0, (now - before) / 1000)) * Number(speed.value); before = now;
    if (clock > last) { clock = data.time[0]; frame = 0; }
    while (frame + 1 < nFrames && data.time[frame + 1] <= clock) frame++;
    draw(); requestAnimationFrame(tick);
  }
  function toggle() {
    playing = !playing; play.textContent = playing ? "Pause" : "Play";
    if (playing) { before = performance.now(); requestAnimationFrame(tick); }
  }
  function reset() { turn = START; zoom = 1; draw(); }

  play.addEventListener("click", toggle);
  document.getElementById("view-reset").addEventListener("click", reset);
  slider.addEventListener("input", () => show(Number(slider.value)));
  const scale = factor => { zoom *= factor; draw(); };
  const KEYS = {
    ArrowLeft: () => rotate(-0.12, 0), ArrowRight: () => rotate(0.12, 0),
    ArrowUp: () => rotate(0, -0.12), ArrowDown: () => rotate(0, 0.12),
    "+": () => scale(1.1), "=": () => scale(1.1), "-": () => scale(1 / 1.1), " ": toggle,
    ",": () => show(frame - 1), ".": () => show(frame + 1), "0": reset,
  };
  canvas.addEventListener("keydown", event => {
    if (!KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault(); KEYS[event.key]();
  });
  let grip = null;
  canvas.addEventListener("pointerdown", event => {
    grip = [event.clientX, event.clientY]; canvas.setPointerCapture(event.pointerId); canvas.classList.add("dragging");
  });
  canvas.addEventListener("pointermove", event => {
    if (!grip) return;
    rotate((event.clientX - grip[0]) / 120, (event.clientY - grip[1]) / 120); grip = [event.clientX, event.clientY];
  });
  ["pointerup", "pointercancel"].forEach(name => canvas.addEventListener(name, () => {
    grip = null; canvas.classList.remove("dragging");
  }));
  canvas.addEventListener("wheel", event => {
    if (document.activeElement !== canvas) return;
    event.preventDefault(); scale(Math.exp(-event.deltaY / 600));
  }, { passive: false });
  window.addEventListener("resize", draw);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
"""
