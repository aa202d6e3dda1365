// Chips: what is added to the query and what is subtracted, each with its weight.

import { thumbnail } from "./api.js";
import { $, ICONS, el, icon } from "./dom.js";

const STEP = 0.1;
const MOST = 2;

// actions: {weigh(place, weight, settled), remove(place)}
export function draw(state, generation, actions) {
  const chips = state.terms.map((term, place) => chip(term, place, state, generation, actions));
  $("chips").replaceChildren(...chips);
}

function chip(term, place, state, generation, actions) {
  const minus = term.weight < 0;
  const name = nameOf(term);
  const shown = el("output", {}, `×${Math.abs(term.weight).toFixed(1)}`);
  const slider = el("input", {
    type: "range", min: STEP, max: MOST, step: STEP, value: Math.abs(term.weight), "aria-label": `Weight of ${name}`,
    oninput: () => {
      shown.textContent = `×${Number(slider.value).toFixed(1)}`;
      actions.weigh(place, (minus ? -1 : 1) * Number(slider.value), false);
    },
    onchange: () => actions.weigh(place, (minus ? -1 : 1) * Number(slider.value), true),
  });
  const turn = el("button", {
    type: "button", class: "sign", title: minus ? "Add instead" : "Subtract instead",
    "aria-label": `${minus ? "Subtracted" : "Added"}: ${name}. Press to turn it around.`,
    onclick: () => actions.weigh(place, -term.weight, true),
  }, minus ? "−" : "+");
  const remove = el("button", { type: "button", class: "icon", "aria-label": `Remove ${name}`, onclick: () => actions.remove(place) },
    icon(ICONS.close));
  return el("li", { class: `chip ${minus ? "minus" : "plus"}${term.kind === "image" && !term.file ? " lost" : ""}` },
    turn, face(term, state, generation), slider, shown, remove);
}

function nameOf(term) {
  if (term.kind === "image") return term.file ? "your picture" : "a picture that is not part of the link";
  return term.kind === "id" ? (term.title ?? term.value) : term.value;
}

function face(term, state, generation) {
  const label = el("span", { class: "chip-name", dir: "auto" }, term.kind === "image" && !term.file ? "drop the picture again" : nameOf(term));
  const source = term.kind === "id" ? thumbnail(state.collection, term.value, generation) : term.preview;
  if (!source) return label;
  // A file that is no picture, whatever it is called, is refused by the service: its chip is words alone.
  return el("span", { class: "face" }, el("img", { src: source, alt: "", onerror: (event) => event.target.remove() }), label);
}
