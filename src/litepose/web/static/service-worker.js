// Keeps the page, the engine and the first model, so that it works without a network, and whatever else was used. Puts
// the page into a context of its own where the host does not (which gives the engine threads). `litepose serve` fills in
// what to keep.

const version = "VERSION";
const files = ["FILES"];
const later = new Set(["LATER"].map((name) => new URL(name, location).href)); // large, and not everybody's
const ISOLATED = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

addEventListener("install", (event) => {
  event.waitUntil(caches.open(`litepose-${version}`).then((cache) => cache.addAll(["./", ...files])));
  skipWaiting();
});

addEventListener("activate", (event) => {
  const forget = caches.keys().then((names) => Promise.all(
    names.filter((name) => name.startsWith("litepose-") && name !== `litepose-${version}`)
      .map((name) => caches.delete(name))));
  event.waitUntil(forget.then(() => clients.claim()));
});

addEventListener("fetch", (event) => {
  const address = new URL(event.request.url);
  if (event.request.method !== "GET" || address.origin !== location.origin) return;
  if (!address.href.startsWith(registration.scope) || /^\/(v1|health|metrics|openapi\.json)/.test(address.pathname)) return;
  event.respondWith(answer(event.request));
});

async function answer(request) {
  const cache = await caches.open(`litepose-${version}`);
  const found = await cache.match(request, { ignoreSearch: true }) ?? await fetch(request);
  if (!found.ok || found.type === "opaque") return found;
  if (later.has(request.url)) await cache.put(request, found.clone());
  const headers = new Headers(found.headers);
  for (const [name, value] of Object.entries(ISOLATED)) headers.set(name, value);
  return new Response(found.body, { status: found.status, statusText: found.statusText, headers });
}
