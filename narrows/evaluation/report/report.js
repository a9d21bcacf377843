"use strict";

// Plots: a tip at the mark nearest to the pointer, or chosen with the arrow keys; the legend hides series.
const tip = document.getElementById("tip");

function unmark() {
  document.querySelectorAll(".mark.on").forEach((mark) => mark.classList.remove("on"));
  tip.hidden = true;
}

function point(mark) {
  unmark();
  mark.classList.add("on");
  tip.textContent = mark.dataset.label;
  tip.hidden = false;
  const box = mark.getBoundingClientRect();
  const left = box.left + box.width / 2 - tip.offsetWidth / 2;
  const most = document.documentElement.clientWidth - tip.offsetWidth - 8;
  tip.style.left = `${window.scrollX + Math.max(8, Math.min(left, most))}px`;
  tip.style.top = `${window.scrollY + box.top - tip.offsetHeight - 6}px`;
}

function visibleMarks(plot) {
  return [...plot.querySelectorAll(".series:not(.off) .mark")];
}

for (const plot of document.querySelectorAll(".plot")) {
  plot.addEventListener("pointermove", (event) => {
    let nearest = null, least = 24;
    for (const mark of visibleMarks(plot)) {
      const box = mark.lastElementChild.getBoundingClientRect();
      const away = Math.hypot(box.left + box.width / 2 - event.clientX, box.top + box.height / 2 - event.clientY);
      if (away < least) [nearest, least] = [mark, away];
    }
    if (nearest) point(nearest); else unmark();
  });
  plot.addEventListener("pointerdown", (event) => plot.dispatchEvent(new PointerEvent("pointermove", event)));
  plot.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") unmark(); });
  plot.addEventListener("blur", unmark);
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const marks = visibleMarks(plot);
    if (!step || !marks.length) return;
    event.preventDefault();
    const now = marks.findIndex((mark) => mark.classList.contains("on"));
    point(marks[now < 0 ? (step > 0 ? 0 : marks.length - 1) : (now + step + marks.length) % marks.length]);
  });
}

for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", shown);
    for (const series of button.closest("ul").parentElement.querySelectorAll(".series[data-series]"))
      if (series.dataset.series === button.dataset.series) series.classList.toggle("off", !shown);
  });
}

// Tables: a click sorts by the column, a second one the other way round; empty cells stay last.
for (const button of document.querySelectorAll(".sorts thead button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), column = head.cellIndex, body = head.closest("table").tBodies[0];
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of head.parentElement.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.value;
    const rows = [...body.rows].sort((a, b) =>
      (value(a) === "") - (value(b) === "") || (down ? -1 : 1) * (Number(value(a)) - Number(value(b))));
    body.append(...rows);
  });
}

// Listening: one player sounds at a time; digits switch between the versions of an item at the same position.
let active = document.querySelector(".item:has(audio, video)");
const players = (item) => [...item.querySelectorAll("audio, video")];
const buttons = (item) => [...item.querySelectorAll(".versions button")];
const chosen = (item) => players(item)[buttons(item).findIndex((one) => one.getAttribute("aria-pressed") === "true")];

function mark(item, player) {
  active = item;
  buttons(item).forEach((button, index) => button.setAttribute("aria-pressed", players(item)[index] === player));
}

function switchTo(item, player) {
  const before = chosen(item);
  if (!player || player === before) return;
  const playing = !before.paused;
  player.currentTime = before.currentTime;
  before.pause();
  mark(item, player);
  if (playing) player.play();
}

for (const item of document.querySelectorAll(".item:has(audio, video)")) {
  buttons(item).forEach((button, index) => button.addEventListener("click", () => switchTo(item, players(item)[index])));
  item.addEventListener("focusin", () => { active = item; });
  item.addEventListener("play", (event) => {
    for (const other of document.querySelectorAll("audio, video")) if (other !== event.target) other.pause();
    mark(item, event.target);
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
    const player = chosen(active);
    if (player.paused) player.play(); else player.pause();
  }
});

// Pictures: the left one is cut off where the slider stands.
for (const compare of document.querySelectorAll(".compare")) {
  const stage = compare.querySelector(".stage"), slider = compare.querySelector("input");
  const pictures = [...stage.querySelectorAll("img")], edge = stage.querySelector(".edge");
  const sides = ["left", "right"].map((side) => compare.querySelector(`select.${side}`));

  function show() {
    const [left, right] = sides.map((side) => pictures[side.value]);
    for (const picture of pictures) {
      picture.classList.toggle("off", picture !== left && picture !== right);
      picture.style.clipPath = picture.style.zIndex = "";
    }
    left.style.zIndex = edge.style.zIndex = 1;
    if (left !== right) left.style.clipPath = `inset(0 ${100 - slider.value}% 0 0)`;
    edge.style.left = `${slider.value}%`;
    for (const side of sides) side.nextElementSibling.textContent = side.selectedOptions[0].dataset.facts;
  }

  function follow(event) {
    const box = stage.getBoundingClientRect();
    slider.value = (100 * (event.clientX - box.left)) / box.width;
    show();
  }

  stage.addEventListener("pointermove", (event) => { if (event.pointerType !== "mouse" || event.buttons) follow(event); });
  stage.addEventListener("pointerdown", (event) => { event.preventDefault(); follow(event); });
  slider.addEventListener("input", show);
  sides.forEach((side) => side.addEventListener("change", show));
  show();
}
