// The server, asked and followed.
import { texts } from "./texts.js";

export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function answered(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, texts.gone);
  }
  if (!response.ok) {
    let detail = response.statusText;
    try {
      detail = (await response.json()).detail ?? detail;
    } catch { /* no problem+json */ }
    throw new Problem(response.status, detail);
  }
  return response;
}

export const json = async (path, options) => (await answered(path, options)).json();
export const blob = async (path, options) => (await answered(path, options)).blob();
export const post = (path, body, signal) => json(path, { method: "POST", body, signal });
export const remove = (path) => answered(path, { method: "DELETE" });

export async function upload(file) {
  const form = new FormData();
  form.append("file", file, file.name || "picture.png");
  return post("/api/v1/uploads", form);
}

// Saves what is at an address, under its own name or another.
export function download(address, name = "") {
  Object.assign(document.createElement("a"), { href: address, download: name }).click();
}

// Calls `tell` with what is known of a job after each change; returns what ends it.
export function follow(id, tell, lost) {
  const source = new EventSource(`/api/v1/jobs/${id}/events`);
  let gone = null;
  const found = () => {
    if (gone !== null) { clearTimeout(gone); gone = null; lost(false); }
  };
  source.onopen = found;
  source.onmessage = (event) => {
    found();
    const job = JSON.parse(event.data);
    if (!["waiting", "painting"].includes(job.state)) source.close();
    tell(job);
  };
  source.onerror = () => { gone ??= setTimeout(() => lost(true), 3000); };
  return () => { clearTimeout(gone); source.close(); };
}
