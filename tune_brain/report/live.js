// A server stands behind this page: what has changed and is in sight is asked for and put in place.
const EVERY = 2000; // milliseconds
const said = document.getElementById("live");

function inSight(section) {
  const { top, bottom } = section.getBoundingClientRect();
  return bottom > -300 && top < innerHeight + 300;
}

// Figures, controls and opened details stay the elements that they are; all else is new.
function renew(section, html) {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  const focus = document.activeElement;
  const scrolled = [...section.querySelectorAll("[data-keep] .tall")].map((kept) => [kept, kept.scrollTop, kept.scrollLeft]);
  const stay = (selector, key, also = () => {}) => {
    const before = new Map([...section.querySelectorAll(selector)].map((old) => [key(old), old]));
    for (const now of fresh.content.querySelectorAll(selector)) {
      const old = before.get(key(now));
      if (!old) continue;
      also(old, now);
      now.replaceWith(old);
    }
  };
  const open = [...section.querySelectorAll("details")].map((details) => details.open);
  fresh.content.querySelectorAll("details").forEach((details, index) => (details.open = open[index] ?? false));
  const changed = [];
  stay(".plot", (plot) => plot.getAttribute("aria-label"), (old, now) => {
    const text = now.firstElementChild.textContent;
    old.style.height = now.style.height;
    if (figures.get(old) !== text) changed.push(old);
    figures.set(old, text);
  });
  stay("[data-keep]", (kept) => kept.dataset.keep);
  section.replaceChildren(fresh.content);
  for (const place of figures.keys()) if (!place.isConnected) figures.delete(place);
  if (section.contains(focus)) focus.focus({ preventScroll: true });
  for (const [kept, top, left] of scrolled) kept.scrollTo(left, top);
  return changed;
}

async function ask(path) {
  const answer = await fetch(`${location.pathname}/views${path}`);
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

async function update(section) {
  const answer = await ask(`/${section.id}`);
  const changed = renew(section, await answer.text());
  section.dataset.version = answer.headers.get("X-Version");
  if (section.id === "configurations") learn();
  if (section.id === "steps") learnEpochs();
  offer();
  choose();
  adopt(section);
  for (const plot of changed) if ("drawn" in plot.dataset) await draw(plot);
  if (section.id === "steps") look();
}

async function tick() {
  try {
    if (!document.hidden) {
      const versions = await (await ask("")).json();
      // What is known of the trials first: every figure tells of them.
      const sections = [...document.querySelectorAll("section.view")].sort((a, b) => (b.id === "configurations") - (a.id === "configurations"));
      for (const section of sections) {
        const stale = section.dataset.version !== versions[section.id];
        const wanted = section.dataset.version === "" || section.id === "configurations" || inSight(section);
        if (stale && wanted) await update(section);
      }
      said.textContent = "live";
      said.classList.remove("lost");
    }
  } catch (error) {
    said.textContent = `not live: ${error.message}`;
    said.classList.add("lost");
  }
  setTimeout(tick, EVERY);
}
tick();
