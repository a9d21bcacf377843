"use strict";

// Plots: a tooltip at the mark nearest to the pointer or selected with the arrow keys; the legend hides series.
const tooltip = document.getElementById("tooltip");

function deselect() {
  document.querySelectorAll(".mark.selected").forEach((mark) => mark.classList.remove("selected"));
  tooltip.hidden = true;
}

function select(mark) {
  deselect();
  mark.classList.add("selected");
  tooltip.textContent = mark.dataset.label;
  tooltip.hidden = false;
  const box = mark.getBoundingClientRect();
  const left = box.left + box.width / 2 - tooltip.offsetWidth / 2;
  const limit = document.documentElement.clientWidth - tooltip.offsetWidth - 8;
  tooltip.style.left = `${window.scrollX + Math.max(8, Math.min(left, limit))}px`;
  tooltip.style.top = `${window.scrollY + box.top - tooltip.offsetHeight - 6}px`;
}

function visibleMarks(plot) {
  return [...plot.querySelectorAll(".series:not(.hidden) .mark")];
}

for (const plot of document.querySelectorAll(".plot")) {
  plot.addEventListener("pointermove", (event) => {
    let nearest = null, smallest = 24; // pixels
    for (const mark of visibleMarks(plot)) {
      const box = mark.lastElementChild.getBoundingClientRect();
      const distance = Math.hypot(box.left + box.width / 2 - event.clientX, box.top + box.height / 2 - event.clientY);
      if (distance < smallest) [nearest, smallest] = [mark, distance];
    }
    if (nearest) select(nearest); else deselect();
  });
  plot.addEventListener("pointerdown", (event) => plot.dispatchEvent(new PointerEvent("pointermove", event)));
  plot.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") deselect(); });
  plot.addEventListener("blur", deselect);
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const marks = visibleMarks(plot);
    if (!step || !marks.length) return;
    event.preventDefault();
    const current = marks.findIndex((mark) => mark.classList.contains("selected"));
    select(marks[current < 0 ? (step > 0 ? 0 : marks.length - 1) : (current + step + marks.length) % marks.length]);
  });
}

for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", shown);
    for (const series of button.closest("ul").parentElement.querySelectorAll(".series[data-series]"))
      if (series.dataset.series === button.dataset.series) series.classList.toggle("hidden", !shown);
  });
}

// Tables: a click on a heading sorts by the column, a second one in reverse; empty cells stay last.
for (const button of document.querySelectorAll(".sortable thead button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), column = head.cellIndex, body = head.closest("table").tBodies[0];
    const descending = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.value;
    const rows = [...body.rows].sort((a, b) =>
      (value(a) === "") - (value(b) === "") || (descending ? -1 : 1) * (Number(value(a)) - Number(value(b))));
    body.append(...rows);
  });
}

// Players: one plays at a time; digits switch between the versions of an item at the same position. Of the videos of an
// item, which lie over each other, the selected one is shown as soon as it has the picture of that position.
let active = document.querySelector(".item:has(audio, video)");
const players = (item) => [...item.querySelectorAll("audio, video")];
const buttons = (item) => [...item.querySelectorAll(".versions button")];
const selected = (item) => players(item)[buttons(item).findIndex((button) => button.getAttribute("aria-pressed") === "true")];

function activate(item, player) {
  active = item;
  buttons(item).forEach((button, index) => button.setAttribute("aria-pressed", players(item)[index] === player));
  show(item);
}

function show(item) {
  const player = selected(item);
  if (!player.seeking) for (const other of players(item)) other.classList.toggle("shown", other === player);
}

function play(player) {
  player.play().catch(() => {}); // a pause before it has begun is no fault
}

function switchTo(item, player) {
  const before = selected(item);
  if (!player || player === before) return;
  const playing = !before.paused;
  player.currentTime = before.currentTime;
  before.pause();
  activate(item, player);
  if (playing) play(player);
}

for (const item of document.querySelectorAll(".item:has(audio, video)")) {
  buttons(item).forEach((button, index) => button.addEventListener("click", () => switchTo(item, players(item)[index])));
  item.addEventListener("focusin", () => { active = item; });
  item.addEventListener("seeked", () => show(item), true);
  item.addEventListener("play", (event) => {
    for (const other of document.querySelectorAll("audio, video")) if (other !== event.target) other.pause();
    activate(item, event.target);
  }, true);
}

document.addEventListener("keydown", (event) => {
  if (!active || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input")) return;
  if (/^[0-9]$/.test(event.key)) {
    active.open = true;
    switchTo(active, players(active)[Number(event.key)]);
  } else if (event.key === " " && !event.target.closest("a, button, summary, audio, video, .scroll, .plot")) {
    event.preventDefault();
    active.open = true;
    const player = selected(active);
    if (player.paused) play(player); else player.pause();
  }
});

// Images: the left one is clipped at the slider.
for (const compare of document.querySelectorAll(".compare")) {
  const stage = compare.querySelector(".stage"), slider = compare.querySelector("input");
  const images = [...stage.querySelectorAll("img")], edge = stage.querySelector(".edge");
  const sides = ["left", "right"].map((side) => compare.querySelector(`select.${side}`));

  function update() {
    const [left, right] = sides.map((side) => images[side.value]);
    for (const image of images) {
      image.classList.toggle("hidden", image !== left && image !== right);
      image.style.clipPath = image.style.zIndex = "";
    }
    left.style.zIndex = edge.style.zIndex = 1;
    if (left !== right) left.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
    edge.style.left = `${slider.value}%`;
    for (const side of sides) side.nextElementSibling.textContent = side.selectedOptions[0].dataset.values;
  }

  function moveSlider(event) {
    const box = stage.getBoundingClientRect();
    slider.value = (100 * (event.clientX - box.left)) / box.width;
    update();
  }

  stage.addEventListener("pointermove", (event) => { if (event.pointerType !== "mouse" || event.buttons) moveSlider(event); });
  stage.addEventListener("pointerdown", (event) => { event.preventDefault(); moveSlider(event); });
  slider.addEventListener("input", update);
  sides.forEach((side) => side.addEventListener("change", update));
  update();
}
