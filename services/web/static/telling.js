// What the page says: the line under the box, notices, and what stands where no picture is. "No match", "partial" and
// "too late" are three different things, and never look alike.

import { $, el, number } from "./dom.js";

const CACHE = { miss: "cache miss", "hit-local": "cache hit", "hit-shared": "shared cache hit", joined: "joined another search" };
const EXAMPLES = ["red apple", "雪だるま", "manzana roja", "велосипед", "a cat that laughs"];

export function line(result) {
  const { coverage, times } = result;
  const filtered = coverage.images_matched < coverage.images_searched;
  const parts = [
    `${number.format(result.hits.length)} of ${number.format(coverage.images_matched)} pictures`,
    ...(filtered ? [`${number.format(coverage.images_searched)} without filters`] : []),
    `${coverage.shards_answered} of ${coverage.shards_asked} shards`,
    `${(times.total_us / 1000).toFixed(1)} ms`,
    CACHE[result.cache] ?? result.cache,
    `generation ${result.generation}`,
  ];
  $("status").replaceChildren(...parts.flatMap((part, place) => (place ? [el("i", {}, " · "), part] : [part])));
}

export function notice(kind, title, words, ...buttons) {
  $("notice").className = `notice ${kind}`;
  $("notice").replaceChildren(el("strong", {}, title), el("span", {}, words), ...buttons);
  $("notice").hidden = false;
}

export function noNotice() {
  $("notice").hidden = true;
}

export function blank(title, words, ...more) {
  $("blank").replaceChildren(el("h1", {}, title), el("p", {}, words), ...more);
  $("blank").hidden = false;
}

export function noBlank() {
  $("blank").hidden = true;
}

export function welcome(collection, ask) {
  $("status").replaceChildren();
  const many = collection ? `${number.format(collection.images)} pictures in ${collection.name}` : "";
  const examples = EXAMPLES.map((words) => el("li", {}, el("button", { type: "button", dir: "auto", onclick: () => ask(words) }, words)));
  blank("What are you looking for?", `${many}. Type in any language, drop or paste a picture, then add and subtract.`,
    el("ul", { class: "examples", "aria-label": "Examples" }, ...examples));
}

export function partial(result) {
  const missing = result.degraded.map((one) => one.message).join("; ");
  notice("partial", "Partial answer.", missing ? `${missing}.` : "Not all of the collection was searched.");
}

const FAILURES = {
  DEADLINE_EXCEEDED: ["late", "Too late.", "The answer did not come in time."],
  UNAVAILABLE: ["gone", "Not available.", "Nobody is there to answer just now."],
  UNREACHABLE: ["gone", "Not reachable.", "The service does not answer. Is it running?"],
  RESOURCE_EXHAUSTED: ["late", "Busy.", "Too many are asking at once. Try again in a moment."],
  NOT_FOUND: ["wrong", "Not found.", ""],
  UNIMPLEMENTED: ["wrong", "Not served here.", ""],
  FAILED_PRECONDITION: ["wrong", "Not now.", ""],
  INVALID_ARGUMENT: ["wrong", "That cannot be searched.", ""],
};

export function failure(error, again) {
  const [kind, title, words] = FAILURES[error.code] ?? ["gone", "Something went wrong.", ""];
  const message = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  const told = words || `${message}${/[.!?]$/.test(error.message) ? "" : "."}`;
  const about = error.requestId && !FAILURES[error.code] ? ` Request ${error.requestId}.` : "";
  const retry = kind === "wrong" ? [] : [el("button", { type: "button", onclick: again }, "Try again")];
  notice(kind, title, told + about, ...retry);
}
