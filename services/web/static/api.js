// What the page asks the service, and how its errors come back.

export class Failure extends Error {
  constructor(body) {
    super(body.message);
    this.code = body.code;
    this.reason = body.reason;
    this.field = body.field;
    this.requestId = body.request_id;
  }
}

async function call(path, options = {}) {
  let reply;
  try {
    reply = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure({ code: "UNREACHABLE", message: "The service does not answer.", reason: "UNREACHABLE" });
  }
  const body = await reply.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return { code: "UNKNOWN", message: `The service answered ${reply.status}.` };
  });
  if (!reply.ok) throw new Failure(body);
  return body;
}

export async function collections() {
  return (await call("v1/collections")).collections;
}

export function search(question, signal) {
  const headers = { "content-type": "application/json" };
  return call("v1/search", { method: "POST", headers, signal, body: JSON.stringify(question) });
}

export function image(collection, id) {
  return call(imagePath(collection, id));
}

// The thumbnails of up to 64 images, each with an error of its own where it has none.
export async function thumbnails(collection, ids, generation, signal) {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ ids, fields: ["id"], thumbnails: true, generation });
  const path = `v1/collections/${encodeURIComponent(collection)}/images/batch`;
  return (await call(path, { method: "POST", headers, signal, body })).items;
}

export function thumbnail(collection, id, generation) {
  return `${imagePath(collection, id)}/thumbnail?generation=${generation}`;
}

export function original(collection, id, generation) {
  return `${imagePath(collection, id)}/original?generation=${generation}`;
}

function imagePath(collection, id) {
  return `v1/collections/${encodeURIComponent(collection)}/images/${encodeURIComponent(id)}`;
}

// The question that a state asks, as the body of a search.
export function question(state, schema) {
  const condition = toFilter(state.filters, schema);
  return {
    query: toQuery(state),
    collection: state.collection,
    top_k: state.count,
    ...(condition ? { filter: condition } : {}),
  };
}

function toQuery(state) {
  const words = state.q.trim() ? [{ weight: 1, text: state.q.trim() }] : [];
  const terms = [...words, ...state.terms.filter((term) => term.kind !== "image" || term.file).map(toTerm)];
  if (terms.length > 1 || terms[0].weight !== 1) return { weighted: terms };
  const { weight, ...alone } = terms[0];
  return alone;
}

function toTerm({ weight, kind, value, file }) {
  if (kind === "image") return { weight, image: file };
  return kind === "id" ? { weight, image_id: value } : { weight, text: value };
}

export function toFilter(filters, schema) {
  const types = new Map(schema.map((attribute) => [attribute.name, attribute.type]));
  const all = Object.entries(filters).flatMap(([name, filter]) => conditions(name, types.get(name) ?? "string", filter));
  return all.length > 1 ? { all } : all[0];
}

function conditions(attribute, type, filter) {
  const found = [];
  const values = filter.in ?? [];
  if (values.length === 1) found.push({ attribute, equals: values[0] });
  else if (values.length && type === "strings") found.push({ any: values.map((equals) => ({ attribute, equals })) });
  else if (values.length) found.push({ attribute, in: values });
  if (filter.min || filter.max) {
    const range = {};
    if (filter.min) range.at_least = type === "int" ? Math.ceil(Number(filter.min)) : Number(filter.min);
    // The contract's ranges leave their upper end out; people mean it to be in.
    if (filter.max && type === "int") range.less_than = Math.floor(Number(filter.max)) + 1;
    else if (filter.max) range.less_than = Number(filter.max);
    found.push({ attribute, range });
  }
  if (filter.is) found.push({ attribute, equals: filter.is === "true" });
  if (filter.has) found.push({ attribute, exists: filter.has === "true" });
  return found;
}
