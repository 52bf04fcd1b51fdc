// Keeps a served page up to date: polls the versions of the views and replaces those that changed, at once if they are
// in sight and otherwise within a minute.
const EVERY = 2000; // milliseconds
const SELDOM = 60000; // between two updates of a section that is out of sight
const indicator = document.getElementById("live");
const REACHABLE = "a, button, input, select, summary, [tabindex]";

function inSight(section) {
  const { top, bottom } = section.getBoundingClientRect();
  return bottom > -300 && top < innerHeight + 300;
}

const asked = new Map(); // when each section was last asked for
function isDue(section) {
  if (section.id === "configurations" || inSight(section)) return true;
  if (section.dataset.version === "" && !asked.has(section)) return true;
  return performance.now() - (asked.get(section) ?? 0) > SELDOM;
}

// Replaces a section's content, except for figures and controls: they stay the same elements, and so keep their
// zoom and input. Details stay open, lists stay scrolled, and the keyboard focus stays where it was.
function renew(section, html) {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  const focus = section.contains(document.activeElement) ? document.activeElement : null;
  const focusIndex = [...section.querySelectorAll(REACHABLE)].indexOf(focus);
  const scrolled = [...section.querySelectorAll("[data-keep] .tall")].map((kept) => [kept, kept.scrollTop, kept.scrollLeft]);
  const keep = (selector, key, onKept = () => {}) => {
    const before = new Map([...section.querySelectorAll(selector)].map((old) => [key(old), old]));
    for (const now of fresh.content.querySelectorAll(selector)) {
      const old = before.get(key(now));
      if (!old) continue;
      onKept(old, now);
      now.replaceWith(old);
    }
  };
  const open = [...section.querySelectorAll("details")].map((details) => details.open);
  fresh.content.querySelectorAll("details").forEach((details, index) => (details.open = open[index] ?? false));
  const changed = [];
  keep(".plot", (plot) => plot.getAttribute("aria-label"), (old, now) => {
    const text = now.firstElementChild.textContent;
    old.style.height = now.style.height;
    if (figures.get(old) !== text) changed.push(old);
    figures.set(old, text);
  });
  keep("[data-keep]", (kept) => kept.dataset.keep);
  section.replaceChildren(fresh.content);
  for (const place of figures.keys()) if (!place.isConnected) figures.delete(place);
  if (focus) {
    const now = focus.isConnected ? focus : section.querySelectorAll(REACHABLE)[focusIndex];
    if (now?.tagName === focus.tagName) now.focus({ preventScroll: true });
  }
  for (const [kept, top, left] of scrolled) kept.scrollTo(left, top);
  return changed;
}

async function ask(path) {
  const answer = await fetch(`${location.pathname}/views${path}`);
  // A dashboard of fewer runs answers on this port.
  if (answer.status === 404 && location.pathname !== "/run/0") location.assign("/run/0");
  if (!answer.ok) throw new Error(await answer.text());
  if (answer.headers.get("X-Run") !== document.querySelector("main").dataset.run) {
    // Another server answers on this port, perhaps with another run under the same number.
    location.reload();
    await new Promise(() => {});
  }
  return answer;
}

async function update(section) {
  asked.set(section, performance.now());
  const answer = await ask(`/${section.id}`);
  const changed = renew(section, await answer.text());
  section.dataset.version = answer.headers.get("X-Version");
  if (section.id === "configurations") readTrials();
  if (section.id === "steps") readEpochs();
  fillChooser();
  showChosenArch();
  adopt(section);
  for (const plot of changed) if ("drawn" in plot.dataset) await draw(plot);
  if (section.id === "steps") redrawSteps();
}

async function tick() {
  try {
    if (!document.hidden) {
      const answer = await ask("");
      const versions = await answer.json();
      // The table of trials comes first: the labels of all figures are written from it.
      const sections = [...document.querySelectorAll("section.view")].sort((a, b) => (b.id === "configurations") - (a.id === "configurations"));
      let failure;
      for (const section of sections) {
        if (section.dataset.version === versions[section.id] || !isDue(section)) continue;
        // A view that cannot be shown must not stop the others.
        await update(section).catch((error) => (failure ??= new Error(`${section.id}: ${error.message}`)));
      }
      if (failure) throw failure;
      const state = answer.headers.get("X-State");
      setText(indicator, state);
      indicator.className = state === "live" ? "" : "idle";
    }
  } catch (error) {
    setText(indicator, `not up to date: ${error.message}`);
    indicator.className = "lost";
  }
  setTimeout(tick, EVERY);
}
tick();
