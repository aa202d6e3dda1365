// The page: keeps the state, asks, and has the answer drawn. No answer is drawn after a later question.

import * as api from "./api.js";
import * as detail from "./detail.js";
import { $ } from "./dom.js";
import * as filters from "./filters.js";
import * as grid from "./grid.js";
import * as pictures from "./pictures.js";
import { COUNT, MAX_TERMS, MOST, empty, fromAddress, hasQuery, toAddress } from "./state.js";
import * as telling from "./telling.js";
import * as terms from "./terms.js";

const DEBOUNCE_MS = 12;
const SETTLED_MS = 1500; // words that stood so long are worth a step of the history
const BUSY_MS = 200; // a bar that only flickers helps nobody

let state = fromAddress(location.search);
let known = []; // collections
let result = null;
let asking = null; // the AbortController of the question under way
let typing = false; // whether the last step of the history may be written over
let composing = false;
let timer, settling, busy;

const collection = () => known.find((one) => one.name === state.collection);
const schema = () => collection()?.attributes ?? [];
const generation = () => collection()?.generation ?? 0;

// The state and the address.

function change(changed, options) {
  note(changed, options);
  show();
}

// A change that asks nothing.
function note(changed, { replace = false } = {}) {
  state = { ...state, ...changed };
  history[replace ? "replaceState" : "pushState"](keep(), "", toAddress(state));
  if (!replace) typing = false;
}

// What has no place in an address, such as a dropped picture, stays with the step of the history.
function keep() {
  return { terms: state.terms.map(({ preview, ...term }) => term) };
}

function restore(kept) {
  state = fromAddress(location.search);
  const before = kept?.terms ?? [];
  state.terms = state.terms.map((term, place) => ({ ...term, ...(before[place]?.kind === term.kind ? before[place] : {}) }))
    .map((term) => (term.file ? { ...term, preview: previewOf(term.file) } : term));
  state.collection ||= known.length === 1 ? known[0].name : (known[0]?.name ?? "");
}

function previewOf(file) {
  const bytes = Uint8Array.from(atob(file), (one) => one.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes]));
}

// Questions and answers.

function show() {
  document.title = state.q.trim() ? `${state.q.trim()} · Sightline` : "Sightline";
  if ($("q").value !== state.q) $("q").value = state.q;
  $("collection").value = state.collection;
  $("terms").hidden = !(state.terms.length || hasQuery(state));
  terms.draw(state, generation(), { weigh, remove });
  drawFilters();
  ask();
}

function drawFilters() {
  const count = filters.count(state.filters);
  $("filters-count").hidden = count === 0;
  $("filters-count").textContent = String(count);
  const within = document.activeElement?.closest("#filters fieldset")?.dataset.attribute;
  filters.draw(collection() ?? { attributes: [], images: 0 }, state, setFilter, () => change({ filters: {} }));
  if (within !== undefined) {
    [...$("filters").querySelectorAll("fieldset")].find((one) => one.dataset.attribute === within)?.querySelector("input, select")?.focus();
  }
}

async function ask() {
  asking?.abort();
  clearTimeout(busy);
  if (!hasQuery(state)) return rest();
  const mine = (asking = new AbortController());
  busy = setTimeout(() => ($("progress").hidden = false), BUSY_MS);
  $("grid").setAttribute("aria-busy", "true");
  const asked = state;
  try {
    const answer = await api.search(api.question(asked, schema()), mine.signal);
    if (asking === mine) tell(answer, asked);
  } catch (error) {
    if (asking === mine && error.name !== "AbortError") fail(error);
  } finally {
    if (asking === mine) idle();
  }
}

function idle() {
  clearTimeout(busy);
  $("progress").hidden = true;
  $("grid").setAttribute("aria-busy", "false");
}

function rest() {
  asking = null;
  result = null;
  idle();
  grid.clear();
  detail.hide();
  telling.noNotice();
  $("more").hidden = true;
  const lost = state.terms.some((term) => term.kind === "image" && !term.file);
  if (lost) {
    $("status").replaceChildren();
    telling.blank("This search began with a picture.", "Pictures that are dropped here stay here: they are not part of the link. Drop it again to go on.");
  } else telling.welcome(collection(), (words) => change({ q: words }));
}

function tell(answer, asked) {
  result = answer;
  filters.learn(answer.hits);
  telling.noBlank();
  telling.noNotice();
  grid.draw(answer, asked.collection, { open, like, add: (hit) => put(hit, 1), subtract: (hit) => put(hit, -1) }, asking.signal);
  telling.line(answer);
  if (!answer.coverage.complete || answer.degraded.length) telling.partial(answer);
  if (!answer.hits.length && answer.coverage.complete) {
    telling.blank("No match", filters.count(asked.filters) ? "No picture meets all of these filters." : "Nothing in this collection fits.");
  }
  $("more").hidden = answer.hits.length < asked.count || asked.count >= MOST;
  $("grid").dataset.answers = asked.q; // whose answer is drawn, for those who measure
  drawOpen();
}

function fail(error) {
  result = null;
  grid.clear();
  telling.noBlank();
  $("status").replaceChildren();
  $("more").hidden = true;
  telling.failure(error, ask);
}

// What people do.

function type() {
  if (composing) return; // half a character is no question
  const first = !typing;
  typing = true;
  clearTimeout(settling);
  settling = setTimeout(() => (typing = false), SETTLED_MS);
  change({ q: $("q").value, count: COUNT, open: null }, { replace: !first });
  typing = true;
}

function weigh(place, weight, settled) {
  const changed = state.terms.map((term, at) => (at === place ? { ...term, weight: Math.round(weight * 10) / 10 } : term));
  if (settled) return change({ terms: changed });
  state = { ...state, terms: changed }; // while it is dragged the chip stays as it is
  clearTimeout(timer);
  timer = setTimeout(ask, DEBOUNCE_MS);
}

function remove(place) {
  const { preview } = state.terms[place];
  if (preview) URL.revokeObjectURL(preview);
  change({ terms: state.terms.filter((_, at) => at !== place) });
  $("q").focus();
}

function addTerm(term) {
  if (state.terms.length >= MAX_TERMS) return telling.notice("wrong", "Enough.", `A query has at most ${MAX_TERMS + 1} terms.`);
  change({ terms: [...state.terms, term], open: null, count: COUNT });
}

function put(hit, weight) {
  addTerm({ weight, kind: "id", value: hit.id, title: hit.image.caption || hit.id });
}

function like(hit) {
  change({ q: "", terms: [{ weight: 1, kind: "id", value: hit.id, title: hit.image.caption || hit.id }], open: null, count: COUNT });
  scrollTo({ top: 0 });
}

function setFilter(name, filter) {
  const { [name]: _, ...others } = state.filters;
  const tests = Object.fromEntries(Object.entries(filter).filter(([, value]) => value?.length));
  change({ filters: Object.keys(tests).length ? { ...others, [name]: tests } : others, count: COUNT, open: null });
}

function open(hit) {
  note({ open: hit.id });
  drawOpen();
}

async function drawOpen() {
  if (state.open === null || !result) return detail.hide();
  const id = state.open;
  let hit = result.hits.find((one) => one.id === id);
  if (!hit) {
    const stored = await api.image(state.collection, id).catch(() => null);
    if (state.open !== id) return;
    if (!stored) return note({ open: null }, { replace: true });
    hit = { id, score: null, image: stored.image };
  }
  const actions = { like, add: (one) => put(one, 1), subtract: (one) => put(one, -1), step, close };
  detail.show({ hit, collection: state.collection, generation: result.generation }, actions);
}

function step(by) {
  const at = result.hits.findIndex((one) => one.id === state.open);
  const to = result.hits[at + by];
  if (!to) return;
  note({ open: to.id }, { replace: true });
  drawOpen();
}

function close() {
  const id = state.open;
  if (id === null) return;
  note({ open: null });
  if (document.activeElement !== $("q")) grid.focusId(id); // whoever has gone on to the box stays there
}

$("q").addEventListener("input", (event) => {
  clearTimeout(timer);
  if (!event.isComposing) timer = setTimeout(type, DEBOUNCE_MS);
});
$("q").addEventListener("compositionstart", () => (composing = true));
$("q").addEventListener("compositionend", () => {
  composing = false;
  type();
});
$("q").addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown") {
    event.preventDefault();
    grid.focusFirst();
  }
});
$("search").addEventListener("submit", (event) => {
  event.preventDefault();
  clearTimeout(timer);
  if ($("q").value !== state.q) type();
  typing = false;
});
$("add").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = $("term").value.trim();
  if (!words) return $("term").focus();
  $("term").value = "";
  addTerm({ weight: Number(event.submitter?.value ?? 1), kind: "text", value: words });
  $("term").focus();
});
$("collection").addEventListener("change", () => {
  filters.forget();
  change(empty($("collection").value));
});
$("filters-button").addEventListener("click", () => {
  const shown = $("filters").hidden;
  $("filters").hidden = !shown;
  $("filters-button").setAttribute("aria-expanded", String(shown));
});
$("more").addEventListener("click", () => change({ count: Math.min(state.count * 2, MOST) }));
$("theme").addEventListener("click", () => {
  const order = ["system", "light", "dark"];
  paint(order[(order.indexOf(document.documentElement.dataset.theme) + 1) % order.length]);
});
addEventListener("keydown", (event) => {
  const writing = event.target.matches?.("input, textarea, select");
  if (event.key === "/" && !writing && !event.ctrlKey && !event.metaKey && !$("detail").open) {
    event.preventDefault();
    $("q").focus();
    $("q").select();
  }
  if (event.key === "Escape" && event.target.closest?.("#grid, #filters")) $("q").focus();
});
addEventListener("popstate", (event) => {
  typing = false;
  clearTimeout(timer);
  restore(event.state);
  show();
});

function paint(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  const words = { system: "as the system has them", light: "light", dark: "dark" }[theme];
  $("theme").setAttribute("aria-label", `Colours: ${words}`);
  $("theme").title = `Colours: ${words}`;
}

async function start() {
  paint(document.documentElement.dataset.theme);
  pictures.listen((picture) => addTerm({ weight: 1, kind: "image", value: "", ...picture }),
    (words) => telling.notice("wrong", "No picture.", words));
  try {
    known = await api.collections();
  } catch (error) {
    return telling.failure(error, start);
  }
  $("collection").replaceChildren(...known.map(({ name }) => new Option(name, name)));
  $("chooser").hidden = known.length < 2;
  if (!known.length) return telling.blank("No collection yet", "Nothing is published. The indexer makes collections: services.indexer build.");
  restore(history.state);
  const unfiltered = filters.count(state.filters) === 0;
  $("filters-button").hidden = schema().length === 0 && unfiltered;
  if (!unfiltered) $("filters-button").click();
  history.replaceState(keep(), "", toAddress(state));
  show();
}

start();
