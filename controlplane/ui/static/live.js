// Keeps the page current: fetches it again and replaces only the parts that changed. Nothing is evaluated:
// what DOMParser makes of an answer never runs, and the page's policy allows no script but this file.
"use strict";

(() => {
  const main = document.getElementById("main");
  const light = document.getElementById("live");
  if (!main || !light || !main.dataset.every) return;
  const word = light.querySelector(".live-word");
  const parts = () => document.querySelectorAll("[data-part]");
  const shown = new Map(Array.from(parts(), (part) => [part.id, part.outerHTML]));
  let timer = 0;
  let busy = false;

  // A page that was hidden while it was fetched stands paused all the same.
  function tell(state, text) {
    if (document.hidden) [state, text] = ["paused", "paused"];
    light.dataset.state = state;
    if (word.textContent !== text) word.textContent = text;
  }

  function focusables(part) {
    return Array.from(part.querySelectorAll("a[href], button, summary, [tabindex]"));
  }

  // What a reader has done to a part: what is open, how far it is scrolled, where the focus is.
  function remember(part) {
    return {
      open: new Set(Array.from(part.querySelectorAll("details[open]"), (each) => each.id)),
      scroll: new Map(Array.from(part.querySelectorAll("[data-keep]"), (each) => [each.id, [each.scrollLeft, each.scrollTop]])),
      focus: focusables(part).indexOf(document.activeElement),
    };
  }

  function restore(part, state) {
    for (const each of part.querySelectorAll("details")) each.open = state.open.has(each.id);
    for (const each of part.querySelectorAll("[data-keep]")) {
      const [left, top] = state.scroll.get(each.id) || [0, 0];
      each.scrollLeft = left;
      each.scrollTop = top;
    }
    if (state.focus >= 0) focusables(part)[state.focus]?.focus({ preventScroll: true });
  }

  function selecting() {
    const selection = document.getSelection();
    return Boolean(selection && !selection.isCollapsed);
  }

  function take(text) {
    const fresh = new DOMParser().parseFromString(text, "text/html");
    const freshMain = fresh.getElementById("main");
    if (!freshMain || !freshMain.dataset.every) throw new Error("not a page");
    const [x, y] = [window.scrollX, window.scrollY];
    for (const part of parts()) {
      const next = fresh.getElementById(part.id);
      if (!next || shown.get(part.id) === next.outerHTML) continue;
      shown.set(part.id, next.outerHTML);
      const state = remember(part);
      const placed = document.importNode(next, true);
      part.replaceWith(placed);
      restore(placed, state);
    }
    main.dataset.every = freshMain.dataset.every;
    if (window.scrollX !== x || window.scrollY !== y) window.scrollTo({ left: x, top: y, behavior: "instant" });
  }

  async function refresh() {
    if (busy || document.hidden || selecting()) return;
    busy = true;
    try {
      const answer = await fetch(location.href, {
        headers: { Accept: "text/html" }, credentials: "same-origin", cache: "no-store",
        signal: AbortSignal.timeout(10000),
      });
      if (answer.redirected) { location.reload(); return; }
      if (!answer.ok) throw new Error(String(answer.status));
      take(await answer.text());
      tell("on", "live");
    } catch {
      tell("off", "not reachable, showing what was last seen");
    } finally {
      busy = false;
    }
  }

  function schedule() {
    window.clearTimeout(timer);
    if (document.hidden) return;
    timer = window.setTimeout(async () => { await refresh(); schedule(); }, Number(main.dataset.every));
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) { window.clearTimeout(timer); tell("paused", "paused"); return; }
    refresh().then(schedule);
  });
  tell("on", "live");
  schedule();
})();
