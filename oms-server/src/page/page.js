// Copies, and asks for the page again when the server says that something has changed. The page
// works without it.
"use strict";
(() => {
  const said = document.getElementById("said");
  const say = (text) => {
    if (!said) return;
    said.textContent = text;
    setTimeout(() => { if (said.textContent === text) said.textContent = ""; }, 4000);
  };
  const copy = (text) => navigator.clipboard.writeText(text).then(() => say("Copied"), () => say("The browser does not allow copying"));
  const quoted = (text) => "'" + text.replaceAll("'", "'\\''") + "'";

  document.addEventListener("click", (event) => {
    const from = event.target.closest("[data-copy], [data-copy-curl], [data-copy-from]");
    if (!from || !navigator.clipboard) return;
    const { copy: text, copyCurl: curl, copyFrom: path } = from.dataset;
    event.preventDefault();
    if (text !== undefined) copy(text);
    else if (curl !== undefined) copy("curl -H \"X-Authorization: $OMS_TOKEN\" " + quoted(new URL(curl, location.href).href));
    else fetch(path).then((answer) => answer.text()).then(copy, () => say("It could not be had"));
  });

  // What is open or being written stays as it is.
  const busy = (part) => part.querySelector("form:focus-within, details.act[open]");
  const opened = (part) => new Map([...part.querySelectorAll("details[id]")].map((one) => [one.id, one.open]));
  const focused = (part) => part.contains(document.activeElement) ? document.activeElement : null;
  const same = (root, old) => {
    if (old.id) return document.getElementById(old.id);
    const href = old.getAttribute("href");
    return href ? [...root.querySelectorAll("a")].find((one) => one.getAttribute("href") === href) : null;
  };

  const shown = new WeakMap();
  const put = (page) => {
    let left = false;
    for (const part of document.querySelectorAll("[data-part]")) {
      const next = page.getElementById(part.id);
      if (!next || next.outerHTML === (shown.get(part) ?? part.outerHTML)) continue;
      if (busy(part)) { left = true; continue; }
      const was = opened(part), focus = focused(part), { scrollLeft, scrollTop } = part;
      const fresh = document.importNode(next, true);
      shown.set(fresh, next.outerHTML);
      for (const one of fresh.querySelectorAll("details[id]")) if (was.has(one.id)) one.open = was.get(one.id);
      part.replaceWith(fresh);
      fresh.scrollLeft = scrollLeft;
      fresh.scrollTop = scrollTop;
      if (focus) (focus === part ? fresh : same(fresh, focus))?.focus({ preventScroll: true });
    }
    if (page.title) document.title = page.title;
    const live = page.querySelector("[data-live]"), own = document.querySelector("[data-live]");
    if (live && own && own.dataset.live !== live.dataset.live) { own.dataset.live = live.dataset.live; listen(); }
    return left;
  };

  let asking = false, again = false, timer = 0;
  const ask = async (path, navigates) => {
    if (asking && !navigates) { again = true; return; }
    asking = true;
    try {
      const answer = await fetch(path, { headers: { accept: "text/html" } });
      if (answer.status === 401) { location.reload(); return; }
      if (!answer.ok) { if (navigates) location.href = path; return; }
      const left = put(new DOMParser().parseFromString(await answer.text(), "text/html"));
      if (left) later(1500);
    } catch { if (navigates) location.href = path; }
    finally {
      asking = false;
      if (again) { again = false; later(500); }
    }
  };
  const later = (ms) => {
    clearTimeout(timer);
    timer = setTimeout(() => ask(location.href, false), ms);
  };

  // Another task of the same run: only what differs is put in its place.
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]");
    if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    if (link.getAttribute("href").startsWith("#")) return;
    const to = new URL(link.getAttribute("href"), location.href);
    if (to.origin !== location.origin || to.pathname !== location.pathname || !to.searchParams.has("task")) return;
    event.preventDefault();
    history.pushState(null, "", to.href);
    ask(to.href, true).then(() => {
      const task = document.getElementById("task");
      if (task && task.getBoundingClientRect().top > innerHeight * 0.8) task.scrollIntoView({ block: "start" });
    });
  });
  addEventListener("popstate", () => ask(location.href, true));

  // Of a graph that is larger than its frame the middle, or what is looked at.
  const graph = document.getElementById("graph");
  if (graph) {
    const at = graph.querySelector(".chosen") ?? graph.querySelector(".node"), frame = graph.getBoundingClientRect();
    const box = at?.getBoundingClientRect();
    if (box) {
      graph.scrollLeft = box.left + box.width / 2 - frame.left - frame.width / 2;
      if (at.classList.contains("chosen")) graph.scrollTop = box.top + box.height / 2 - frame.top - frame.height / 2;
    }
  }

  let source = null;
  const listen = () => {
    source?.close();
    source = null;
    const main = document.querySelector("[data-live]");
    if (!main || document.hidden) return;
    const base = document.body.dataset.base ?? "";
    source = new EventSource(base + "/live?" + main.dataset.live);
    source.addEventListener("changed", () => later(50));
  };
  // Browsers keep few connections: a page that nobody sees needs none.
  document.addEventListener("visibilitychange", () => { if (!document.hidden) later(0); listen(); });
  listen();

  // What no event tells of is asked for at intervals, while it is seen.
  const every = Number(document.querySelector("[data-every]")?.dataset.every);
  if (every) setInterval(() => { if (!document.hidden) ask(location.href, false); }, every);
})();
