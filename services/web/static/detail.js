// One picture, large: the original where it is served, its thumbnail until then or else.

import { original, thumbnail } from "./api.js";
import { $, ICONS, el, icon, number } from "./dom.js";

const dialog = $("detail");
let onClose = () => {};
let onStep = () => {};

// shown: {hit, collection, generation}; actions: {like, add, subtract, step(±1), close}
export function show({ hit, collection, generation }, actions) {
  const { image } = hit;
  const whole = original(collection, hit.id, generation);
  const picture = el("img", {
    src: thumbnail(collection, hit.id, generation), alt: image.caption || hit.id,
    onerror: () => (absent.textContent = "There is no picture of it here."),
  });
  const link = el("a", { href: whole, target: "_blank", rel: "noopener", hidden: true }, "Open the original");
  const absent = el("p", { class: "absent", hidden: true }, "The original is not served from here; this is its thumbnail.");
  const loading = new Image();
  loading.onload = () => {
    picture.src = whole;
    link.hidden = false;
  };
  loading.onerror = () => (absent.hidden = false);
  loading.src = whole;

  const act = (label, what, path) => el("button", { type: "button", onclick: () => actions[what](hit) }, icon(path), label);
  const step = (label, by, path) => el("button", { type: "button", class: `icon step ${label.toLowerCase()}`, "aria-label": `${label} picture`, onclick: () => actions.step(by) }, icon(path));
  dialog.replaceChildren(
    el("div", { class: "detail-picture" }, picture, step("Previous", -1, ICONS.left), step("Next", 1, ICONS.right)),
    el("div", { class: "detail-text" },
      el("h2", { id: "detail-title", dir: "auto" }, image.caption || hit.id),
      el("div", { class: "actions" }, act("More like this", "like", ICONS.like), act("Add", "add", ICONS.plus), act("Subtract", "subtract", ICONS.minus)),
      el("dl", {}, ...facts(hit)), absent, link),
    el("button", { type: "button", class: "icon close", "aria-label": "Close", onclick: () => dialog.close() }, icon(ICONS.close)));
  onClose = actions.close;
  onStep = actions.step;
  if (!dialog.open) dialog.showModal();
}

export function hide() {
  onClose = () => {};
  if (dialog.open) dialog.close();
}

function facts({ id, score, image }) {
  const rows = Object.entries(image.attributes).sort(([a], [b]) => a.localeCompare(b))
    .map(([name, value]) => [name, Array.isArray(value) ? value.join(", ") : String(value)]);
  if (image.width) rows.push(["size", `${number.format(image.width)} × ${number.format(image.height)}`]);
  if (score !== null) rows.push(["score", score.toFixed(4)]);
  rows.push(["id", id], ["file", image.uri]);
  return rows.filter(([, value]) => value !== "")
    .map(([name, value]) => el("div", {}, el("dt", { dir: "auto" }, name), el("dd", { dir: "auto" }, value)));
}

dialog.addEventListener("close", () => onClose());
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // its backdrop
});
dialog.addEventListener("keydown", (event) => {
  if (event.key === "ArrowRight") onStep(1);
  if (event.key === "ArrowLeft") onStep(-1);
});
