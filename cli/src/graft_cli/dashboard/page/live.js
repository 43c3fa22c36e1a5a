// What is known of the cluster: all rows, kept up by events of the server.

const SILENCE = 12000; // milliseconds; the server says something every five seconds
const RETRY = 3000;

export const known = {
  adapters: new Map(),
  bases: new Map(),
  problem: null,
  seen: null,
  connection: "Connecting",
};

/** Follow the server; `told` is called after each change with the keys that it is about. */
export function follow(told) {
  let source = null;
  let silence = 0;

  function listen() {
    source?.close();
    clearTimeout(silence);
    if (document.hidden) return; // nobody looks; browsers also count connections
    source = new EventSource("events");
    source.addEventListener("news", (event) => {
      hear(JSON.parse(event.data), told);
      expect();
    });
    source.addEventListener("error", () => {
      become("Not connected", told);
      if (source.readyState === EventSource.CLOSED) silence = setTimeout(listen, RETRY);
    });
    expect();
  }

  function expect() {
    clearTimeout(silence);
    silence = setTimeout(() => {
      become("Not connected", told);
      listen();
    }, SILENCE);
  }

  document.addEventListener("visibilitychange", listen);
  listen();
}

function hear(news, told) {
  const changed = new Set();
  for (const kind of ["adapters", "bases"]) {
    const rows = known[kind];
    if (news.whole) rows.clear();
    for (const key of news.removed[kind]) rows.delete(key);
    for (const row of news[kind]) rows.set(row.key, row);
    for (const key of [...news.removed[kind], ...news[kind].map((row) => row.key)]) changed.add(`${kind} ${key}`);
  }
  known.seen = news.seen ? new Date(news.seen) : null;
  known.problem = news.problem;
  become(news.problem ? "Not up to date" : "Live", told, changed);
}

function become(connection, told, changed = new Set()) {
  known.connection = connection;
  told(changed);
}

/** Ask the server for a document; its errors have `message` and `fix`. */
export async function ask(place, parameters) {
  let response;
  try {
    response = await fetch(`${place}?${new URLSearchParams(parameters)}`);
  } catch {
    throw { message: "the dashboard's program does not answer", fix: "is kubectl graft dashboard still running?" };
  }
  const found = await response.json().catch(() => ({ message: "the dashboard's program has ended", fix: "start it again" }));
  if (!response.ok) throw found;
  return found;
}

/** A document of the server that is asked for again and again, never twice at a time. */
export class Document {
  constructor(place, parameters, told) {
    Object.assign(this, { place, parameters, told, data: null, error: null, asking: false, again: false });
    this.refresh();
  }

  async refresh() {
    if (this.asking) {
      this.again = true;
      return;
    }
    this.asking = true;
    try {
      this.data = await ask(this.place, this.parameters);
      this.error = null;
    } catch (error) {
      this.error = error;
    }
    this.asking = false;
    this.told();
    if (this.again) {
      this.again = false;
      this.refresh();
    }
  }
}
