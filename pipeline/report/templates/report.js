"use strict";
// Runs are opened in the MLflow UI that shows this page (in a frame, from a blob of its own); from a file, in the one
// that `make ui` serves.
const shownBy = location.protocol === "blob:" ? new URL(location.href.slice("blob:".length)).origin : null;
const base = shownBy ?? document.body.dataset.ui;
const address = (run) => `${base}/#/experiments/${document.body.dataset.experiment}/runs/${run}`;
for (const link of document.querySelectorAll("a[data-run]")) link.href = address(link.dataset.run);

function themed(layout) {
  const style = getComputedStyle(document.documentElement);
  const [ink, grid] = ["--ink", "--grid"].map((name) => style.getPropertyValue(name).trim());
  const copy = structuredClone(layout);
  copy.font = { ...copy.font, color: ink };
  for (const axis of ["xaxis", "yaxis"]) {
    copy[axis] = { ...copy[axis], gridcolor: grid, linecolor: grid, zerolinecolor: grid };
  }
  return copy;
}

function follow(box, run) {
  const opened = window.open(address(run), "_blank");
  if (opened) opened.opener = null;
  // A frame may not open pages.
  else box.parentElement.querySelector("[role=status]").textContent = `The run: ${address(run)}`;
}

const options = { displayModeBar: false, responsive: true };
const drawings = new Map(); // box -> its figures by name
function draw(box, name) {
  const figure = drawings.get(box)[name];
  return Plotly.react(box, structuredClone(figure.data), themed(figure.layout), options);
}

function begin(box) {
  const figures = {};
  for (const holder of box.parentElement.querySelectorAll("script[type='application/json']")) {
    figures[holder.dataset.name] = JSON.parse(holder.textContent);
  }
  drawings.set(box, figures);
  draw(box, Object.keys(figures)[0]);
  box.on("plotly_click", (event) => {
    const run = event.points[0].customdata?.[0];
    if (typeof run === "string") follow(box, run);
  });
}

for (const choice of document.querySelectorAll(".switch input")) {
  choice.addEventListener("change", () => {
    const box = choice.closest("figure").querySelector(".plot");
    draw(box, choice.value);
  });
}

const redraw = () => {
  for (const [box, figures] of drawings) {
    const chosen = box.parentElement.querySelector(".switch input:checked");
    draw(box, chosen ? chosen.value : Object.keys(figures)[0]);
  }
};
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
matchMedia("print").addEventListener("change", redraw);
// The first figure can be used while the others are drawn, one after the other.
const waiting = [...document.querySelectorAll(".plot")];
function proceed() {
  if (waiting.length) begin(waiting.shift());
  document.documentElement.dataset.ready = "true";
  if (waiting.length) setTimeout(proceed);
  else document.documentElement.dataset.drawn = "true";
}
proceed();
addEventListener("beforeprint", () => waiting.splice(0).forEach(begin));
