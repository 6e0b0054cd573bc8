"""The one stylesheet of all pages: light, dark and print, with no font or file from elsewhere."""

from typing import Final

STYLESHEET: Final = """
:root {
  color-scheme: light dark;
  --ink: #1b1f24; --muted: #5b6571; --rule: #d8dde3; --surface: #fefefe; --panel: #f4f6f8;
  --first: #0072b2; --second: #c65300; --third: #00805d; --focus: #0b57d0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ink: #e8ebef; --muted: #a5afba; --rule: #373e47; --surface: #15181c; --panel: #1e2329;
    --first: #63b8ee; --second: #f29650; --third: #45c9a0; --focus: #8ab4f8;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--surface); color: var(--ink);
  font: 17px/1.6 "Source Sans 3", "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif;
}
main, header, footer { max-width: 68rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 3.5rem; }
p, li, dd { max-width: 44rem; }
h1 { font-size: 2.3rem; font-weight: 300; line-height: 1.2; margin: 0 0 .6rem; letter-spacing: -.01em; }
h2 { font-size: 1.55rem; font-weight: 400; line-height: 1.3; margin: 3.6rem 0 .6rem; padding-top: 1.2rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1.1rem; font-weight: 600; margin: 1.8rem 0 .3rem; }
a { color: var(--first); }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; border-radius: 2px; }
.lead { font-size: 1.15rem; color: var(--ink); }
.note { color: var(--muted); font-size: .93rem; }
.skip { position: absolute; left: -999rem; }
.skip:focus { left: 1rem; top: 1rem; background: var(--surface); padding: .4rem .8rem; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.4rem; padding: 0; margin: 1.2rem 0 0;
  max-width: none; font-size: .95rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); gap: 1rem; margin: 1.8rem 0;
  padding: 0; }
.tiles div { background: var(--panel); border-radius: 6px; padding: .9rem 1.1rem; }
.tiles dt { font-size: .88rem; color: var(--muted); line-height: 1.35; }
.tiles dd { margin: .15rem 0 0; font-size: 1.65rem; font-weight: 300; line-height: 1.25; white-space: nowrap; }
.tiles dd small { font-size: .95rem; color: var(--muted); }
.tiles dd.detail { font-size: .85rem; font-weight: 400; color: var(--muted); white-space: normal; line-height: 1.4; }
.panels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: 1.2rem 1.6rem; }
figure { margin: 1.4rem 0; break-inside: avoid; }
.panels figure { margin: .6rem 0; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { font-size: .93rem; color: var(--muted); max-width: 44rem; margin-top: .4rem; }
figcaption strong { color: var(--ink); font-weight: 600; }
.scroll { overflow-x: auto; }
table { min-width: min(26rem, 100%); border-collapse: collapse; font-size: .95rem; margin: 1rem 0;
  font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); font-size: .93rem; padding-bottom: .5rem; max-width: 44rem; }
th, td { padding: .38rem 1.1rem .38rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }
thead th { font-weight: 600; white-space: nowrap; line-height: 1.3; border-bottom: 1px solid var(--muted); }
tbody th { font-weight: 400; }
td.number, th.number { text-align: right; padding-right: 0; padding-left: 1.6rem; white-space: nowrap; }
code { font-family: ui-monospace, "SFMono-Regular", Menlo, Consolas, "Liberation Mono", monospace; font-size: .9em; }
pre { background: var(--panel); padding: .9rem 1.1rem; border-radius: 6px; overflow-x: auto; font-size: .85rem;
  line-height: 1.5; }
summary { cursor: pointer; margin: .6rem 0; }
.viewer { background: var(--panel); border-radius: 6px; padding: 1rem; max-width: 48rem; }
.viewer canvas { display: block; width: 100%; touch-action: pan-y; cursor: grab; border-radius: 4px; }
.viewer canvas.dragging { cursor: grabbing; }
.controls { display: flex; flex-wrap: wrap; align-items: center; gap: .6rem .9rem; margin-top: .7rem;
  font-size: .95rem; }
.controls input[type=range] { flex: 1 1 12rem; accent-color: var(--first); min-height: 1.6rem; }
.controls button, .controls select { font: inherit; color: inherit; background: var(--surface); cursor: pointer;
  border: 1px solid var(--muted); border-radius: 4px; padding: .25rem .9rem; min-height: 2.2rem; }
.controls button { min-width: 5.2rem; }
.readout { font-variant-numeric: tabular-nums; margin: .7rem 0 0; display: grid; gap: .2rem 1.4rem;
  grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); }
.readout div { white-space: nowrap; }
.readout dt { display: inline; color: var(--muted); }
.readout dd { display: inline; margin: 0 0 0 .4rem; }
.curve-view { background: var(--panel); border-radius: 6px; padding: 1rem; }
.curve-view .plot { display: block; width: 100%; cursor: crosshair; touch-action: pan-y; background: var(--surface); }
.curve-view .controls label { display: inline-flex; align-items: center; gap: .35rem; cursor: pointer; }
.curve-view .sample { width: 34px; height: 12px; }
.curve-view .controls button { min-width: 2.4rem; }
.readout-line { font-variant-numeric: tabular-nums; min-height: 1.6em; margin: .6rem 0 0; max-width: none; }
kbd { font: inherit; font-size: .9em; border: 1px solid var(--rule); border-radius: 3px; padding: 0 .35em; }
footer { margin-top: 4rem; padding-top: 1.2rem; padding-bottom: 3rem; color: var(--muted); font-size: .93rem; }
@media print {
  :root { --ink: #000; --muted: #444; --rule: #d5d5d5; --surface: #fff; --panel: #fff; color-scheme: light;
    --first: #0072b2; --second: #c65300; --third: #00805d; }
  body { font-size: 10.5pt; }
  h2 { break-after: avoid; margin-top: 2rem; }
  nav, .controls, .skip, .screen-only { display: none; }
  .tiles div, .viewer, .curve-view { border: 1px solid var(--rule); }
  .panels { grid-template-columns: repeat(3, 1fr); gap: .6rem; }
  .scroll { overflow: visible; }
  table { font-size: .85rem; min-width: 0; }
  tr { break-inside: avoid; }
  thead th, td.number, th.number { white-space: normal; padding-left: .7rem; padding-right: 0; }
  thead th:first-child { padding-left: 0; }
}
"""
