// Unpacks plotly's library, which would otherwise be most of the page.
const ready = (async () => {
  const packed = new Blob([Uint8Array.from(atob(PLOTLY), (letter) => letter.charCodeAt(0))]);
  const script = document.createElement("script");
  script.textContent = await new Response(packed.stream().pipeThrough(new DecompressionStream("gzip"))).text();
  document.head.append(script);
})();
const night = matchMedia("(prefers-color-scheme: dark)");
const coarse = matchMedia("(pointer: coarse)");
const figures = new Map();
// Hooks that a page may replace: the label of a trial, and a change to a figure's traces before it is drawn.
const page = { label: (trial) => `trial ${trial}`, fill: () => {} };
let printing = false; // paper is white
const coloured = (text) => (night.matches && !printing ? text.replace(/#[0-9a-f]{6}/g, (colour) => NIGHT[colour] ?? colour) : text);

async function draw(place) {
  await ready;
  // Plotly would draw a hidden figure at a size of its own: this one is drawn when it is shown.
  if (place.offsetParent === null) return near.observe(place);
  const { data, layout } = JSON.parse(coloured(figures.get(place)));
  for (const trace of data) if (trace.meta === "trials") trace.hovertext = trace.customdata.map(page.label);
  page.fill(data);
  // On touch screens, dragging over a figure scrolls the page.
  if (coarse.matches) layout.dragmode = false;
  layout.uirevision = "kept";
  // Else a figure that is drawn again keeps its old width.
  layout.autosize = true;
  await Plotly.react(place, data, layout, { responsive: true, displayModeBar: false });
  place.dataset.drawn = "";
}

// Figures are drawn when they come near the viewport, one per frame, so that a long page opens at once and stays
// responsive.
let last = ready;
function soon(place) {
  const frame = () => new Promise(requestAnimationFrame);
  last = last.then(frame).then(() => figures.has(place) && draw(place)).catch(console.error);
}
const near = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      soon(target);
    }
  },
  { rootMargin: "500px" },
);

function adopt(root) {
  for (const place of root.querySelectorAll(".plot")) {
    if (figures.has(place)) continue;
    figures.set(place, place.firstElementChild.textContent);
    place.replaceChildren();
    near.observe(place);
  }
  for (const mark of root.querySelectorAll("[data-colour]")) {
    for (const key of ["background", "borderColor", "color"]) {
      if (mark.style[key]) mark.style[key] = coloured(mark.dataset.colour);
    }
  }
}
adopt(document);

function drawAgain() {
  adopt(document);
  for (const place of figures.keys()) if ("drawn" in place.dataset) draw(place);
}
night.addEventListener("change", drawAgain);
// Figures keep the width and the colours with which they were drawn: for a print, those of a sheet of paper.
addEventListener("beforeprint", () => {
  document.body.classList.add("sheet");
  printing = true;
  adopt(document);
  for (const place of figures.keys()) draw(place);
});
addEventListener("afterprint", () => {
  document.body.classList.remove("sheet");
  printing = false;
  drawAgain();
});
