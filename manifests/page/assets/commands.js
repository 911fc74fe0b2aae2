// Commands to copy: with the address of the release, and with the filter.

// Words of a shell, and arguments in Python, as `publish` was told or found them; RELEASE where it
// lay in a folder.
const [baked, bakedPython] = ["address", "python-address"].map((id) => document.getElementById(id).content.textContent);

export function showCommands(where) {
  const release = releaseAddress(location, baked);
  set("download", `brainpress download ${release} brains${where && ` --where ${quoted(where)}`}`);
  document.querySelector("[data-command=sync]").hidden = /^'?https?:/.test(release);
  set("sync", `aws s3 sync --no-sign-request ${release} brains`);
  set("query", `brainpress query ${release} "SELECT count(*) FROM manifest"`);
  document.getElementById("python-release").textContent = pythonAddress(location, baked, bakedPython);
  document.getElementById("python-where").textContent = where && `\n    where=${JSON.stringify(where)},`;
  // On this machine the file itself is there; a simple server does not serve the ranges polars asks.
  if (isHere(location)) return;
  const manifest = new URL("manifest.parquet", location.href.split(/[?#]/)[0]).href.replaceAll("'", "%27");
  for (const place of document.querySelectorAll(".manifest")) place.textContent = manifest;
}

// The digest of release.json, which the page cannot hold: release.json has the page's. A browser
// reckons digests for https and localhost alone.
export async function showDigest() {
  const place = document.getElementById("digest");
  if (!place || !globalThis.crypto?.subtle) return;
  try {
    const answer = await fetch("release.json", { cache: "no-store" });
    if (!answer.ok) return;
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await answer.arrayBuffer()));
    place.querySelector("span").textContent = [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    place.hidden = false;
  } catch { /* a local copy, read as a file: `brainpress info` shows it */ }
}

// What a command calls the release: the bucket that S3 itself serves the page from; what it was
// published at; else where the page was read from, if that is not this machine.
export function releaseAddress(location, published) {
  const found = foundAddress(location, published);
  return found === null ? published : word(found);
}

// The same as the first arguments of `Volumes`.
export function pythonAddress(location, published, python) {
  const found = foundAddress(location, published);
  return found === null ? python : JSON.stringify(found);
}

// Where the page itself knows better than `publish` did; null where it does not.
function foundAddress(location, published) {
  const bucket = s3Address(location);
  if (bucket) return bucket;
  if (published !== "RELEASE" || isHere(location)) return null;
  return new URL(".", location.href).href.replace(/\/$/, "");
}

function isHere({ protocol, hostname }) {
  return protocol === "file:" || /^(localhost|127\.|\[::1\])/.test(hostname);
}

// s3://bucket/prefix of a page that S3 itself serves; null of any other.
export function s3Address({ hostname, pathname }) {
  const folder = decodeURIComponent(pathname.replace(/[^/]*$/, "").replace(/\/$/, ""));
  const own = hostname.match(/^(.+)\.s3(?:-website)?(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.amazonaws\.com$/);
  if (own) return `s3://${own[1]}${folder}`;
  if (/^s3(?:[.-](?:dualstack\.)?[a-z0-9-]+)?\.amazonaws\.com$/.test(hostname)) return `s3:/${folder}`;
  return null;
}

function set(name, text) {
  const code = document.querySelector(`[data-command=${name}] code`);
  if (code.textContent !== text) code.textContent = text;
}

// One word of a POSIX shell.
function word(text) {
  return /^[\w./:@%+=-]+$/.test(text) ? text : single(text);
}

// Double quotes read better around a filter; nothing that a shell would act on stands in them.
function quoted(text) {
  return /^[\w .,+<>=()'%-]*$/.test(text) ? `"${text}"` : single(text);
}

function single(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

for (const figure of document.querySelectorAll("[data-command]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.setAttribute("aria-label", `Copy: ${figure.querySelector("figcaption").textContent}`);
  button.addEventListener("click", async () => {
    const done = await copied(figure.querySelector("code"));
    button.textContent = done ? "Copied" : "Selected";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  figure.querySelector("figcaption").append(button);
}

// S3 serves websites over plain http, where there is no clipboard for scripts: then it is selected.
async function copied(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(code);
    return document.execCommand("copy");
  }
}
