// The pictures found: cards that are kept from one answer to the next, so that nothing flickers while one types.

import { $, ICONS, el, icon } from "./dom.js";
import { load } from "./thumbnails.js";

const grid = $("grid");
let cards = new Map();

// actions: {open(hit), like(hit), add(hit), subtract(hit)}; `signal` ends what the next question makes useless
export function draw(result, collection, actions, signal) {
  const kept = new Map();
  result.hits.forEach((hit, rank) => {
    const key = `${collection} ${result.generation} ${hit.id}`;
    const card = cards.get(key) ?? make(actions);
    card.tell(hit, rank);
    kept.set(key, card);
  });
  cards = kept;
  grid.replaceChildren(...[...kept.values()].map((card) => card.item));
  load([...kept.values()].filter((card) => !card.pictured), collection, result.generation, signal);
}

export function clear() {
  cards = new Map();
  grid.replaceChildren();
}

function make(actions) {
  let hit;
  const act = (what) => () => actions[what](hit);
  const picture = el("img", {
    alt: "", width: 256, height: 256, decoding: "async", draggable: "false",
    // Only a missing file says so: the caption stands beneath anyhow.
    onerror: () => picture.classList.add("missing"),
  });
  const caption = el("span", { class: "caption", dir: "auto" });
  const score = el("span", { class: "score" });
  const main = el("button", { type: "button", class: "open", onclick: act("open") }, el("span", { class: "frame" }, picture),
    el("span", { class: "line" }, caption, score));
  const tool = (what, label, path) =>
    el("button", { type: "button", class: "icon", title: label, "aria-label": label, onclick: act(what) }, icon(path));
  const tools = el("div", { class: "card-tools" }, tool("like", "More like this", ICONS.like),
    tool("add", "Add to the query", ICONS.plus), tool("subtract", "Subtract from the query", ICONS.minus));
  const item = el("li", { class: "card" }, main, tools);
  return {
    item,
    id: null,
    pictured: false,
    show(address, lazily = false) {
      picture.loading = lazily ? "lazy" : "eager";
      picture.classList.toggle("missing", !address);
      if (address) picture.src = address;
      this.pictured = true;
    },
    tell(found, place) {
      const title = found.image.caption || found.id;
      hit = found;
      this.id = found.id;
      item.dataset.id = found.id;
      item.dataset.rank = String(place);
      caption.textContent = title;
      caption.title = title;
      score.textContent = found.score.toFixed(3);
      main.setAttribute("aria-label", `${title}, score ${found.score.toFixed(3)}`);
    },
  };
}

// Arrows go through the grid as it is laid out at the moment.
grid.addEventListener("keydown", (event) => {
  const from = event.target.closest(".card");
  if (!from || event.altKey || event.ctrlKey || event.metaKey) return;
  const all = [...grid.children];
  const to = next(all, all.indexOf(from), event.key);
  if (to === undefined) return;
  event.preventDefault();
  if (to === null) $("q").focus();
  else focusCard(to);
});

export function focusFirst() {
  if (grid.firstElementChild) focusCard(grid.firstElementChild);
}

export function focusId(id) {
  const card = [...grid.children].find((one) => one.dataset.id === id);
  if (card) focusCard(card);
}

function focusCard(card) {
  card.querySelector(".open").focus();
  card.scrollIntoView({ block: "nearest" });
}

function next(all, at, key) {
  const onward = getComputedStyle(grid).direction === "rtl" ? -1 : 1;
  if (key === "ArrowRight") return all[Math.min(at + onward, all.length - 1)];
  if (key === "ArrowLeft") return all[Math.max(at - onward, 0)];
  if (key === "Home") return all[0];
  if (key === "End") return all.at(-1);
  if (key !== "ArrowDown" && key !== "ArrowUp") return undefined;
  const columns = all.filter((card) => card.offsetTop === all[0].offsetTop).length;
  if (key === "ArrowUp") return at < columns ? null : all[at - columns];
  return all[Math.min(at + columns, all.length - 1)];
}
