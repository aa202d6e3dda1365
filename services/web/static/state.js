// The whole state of the page, and its place in the address: whoever gets the address sees the same.
//
// A state is {collection, q, terms, filters, count, open}. A term is {weight, kind, value, file?, preview?} of kind
// "text", "id" or "image"; a filter is {in?: string[], min?, max?: string, is?, has?: "true" | "false"} by attribute.

export const COUNT = 48;
export const MOST = 1000;
export const MAX_TERMS = 15; // the words in the box are the sixteenth

export function empty(collection = "") {
  return { collection, q: "", terms: [], filters: {}, count: COUNT, open: null };
}

export function hasQuery(state) {
  return state.q.trim() !== "" || state.terms.some((term) => term.kind !== "image" || term.file);
}

export function toAddress(state) {
  const words = new URLSearchParams();
  if (state.collection) words.set("c", state.collection);
  if (state.q) words.set("q", state.q);
  // A picture that was dropped has no place in an address, but that there was one has.
  for (const { weight, kind, value } of state.terms) words.append("t", `${weight}:${kind}:${kind === "image" ? "" : value}`);
  for (const [name, filter] of Object.entries(state.filters)) {
    const key = encodeURIComponent(name);
    for (const value of filter.in ?? []) words.append("f", `${key}:in:${value}`);
    for (const test of ["min", "max", "is", "has"]) if (filter[test]) words.append("f", `${key}:${test}:${filter[test]}`);
  }
  if (state.count !== COUNT) words.set("n", String(state.count));
  if (state.open !== null) words.set("open", state.open);
  const written = words.toString();
  return location.pathname + (written ? `?${written}` : "");
}

export function fromAddress(search) {
  const words = new URLSearchParams(search);
  const state = empty(words.get("c") ?? "");
  state.q = (words.get("q") ?? "").slice(0, 1000);
  state.terms = words.getAll("t").map(term).filter(Boolean).slice(0, MAX_TERMS);
  for (const written of words.getAll("f")) addFilter(state.filters, written);
  const count = Number(words.get("n"));
  state.count = Number.isInteger(count) && count > 0 ? Math.min(count, MOST) : COUNT;
  state.open = words.get("open");
  return state;
}

function split(written) {
  const [first, second, ...rest] = written.split(":");
  return [first, second, rest.join(":")];
}

function term(written) {
  const [weight, kind, value] = split(written);
  const number = Math.round(Number(weight) * 10) / 10;
  if (!Number.isFinite(number) || number === 0 || Math.abs(number) > 2) return null;
  if (kind === "image") return { weight: number, kind, value: "" };
  return (kind === "text" || kind === "id") && value ? { weight: number, kind, value } : null;
}

function addFilter(filters, written) {
  const [key, test, value] = split(written);
  let name;
  try {
    name = decodeURIComponent(key);
  } catch {
    return;
  }
  if (!name || !value) return;
  const known = Object.hasOwn(filters, name) ? filters[name] : {};
  if (test === "in") known.in = [...new Set([...(known.in ?? []), value])];
  else if (["min", "max"].includes(test) && Number.isFinite(Number(value))) known[test] = value;
  else if (["is", "has"].includes(test) && ["true", "false"].includes(value)) known[test] = value;
  else return;
  filters[name] = known;
}
