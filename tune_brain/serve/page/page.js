"use strict";
// Everything shown is set as text, never as markup; an image is sent to the service that this page came from.

const $ = (selector, inside = document) => inside.querySelector(selector);
const results = $("#results"), status = $("#status"), input = $("#files"), drop = $("#drop");
const TYPES = { jpg: "image/jpeg", jpeg: "image/jpeg", png: "image/png", tif: "image/tiff", tiff: "image/tiff", dcm: "application/dicom" };
const ATTEMPTS = 20;
$("#place").textContent = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname) ? "this machine’s own service" : `the service at ${location.host}`;
let queue = Promise.resolve(), asked = 0, done = 0, generation = 0;

const percent = (value) => {
  const shown = value * 100;
  return shown > 99.9 ? "over 99.9 %" : shown < 0.1 ? "under 0.1 %" : `${shown.toFixed(1)} %`;
};
const about = (value) => value >= 0.995 ? "more than 99" : `about ${Math.round(value * 100)}`;
const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

function made(id) {
  return $(id).content.firstElementChild.cloneNode(true);
}

function row(body, cells) {
  const line = body.insertRow();
  cells.forEach((cell, index) => {
    const place = index ? line.insertCell() : line.appendChild(document.createElement("th"));
    if (!index) place.scope = "row";
    place.append(cell);
    if (typeof cell === "string" && /%$/.test(cell)) place.className = "number";
  });
}

function bar(value, label) {
  const meter = document.createElement("meter");
  Object.assign(meter, { min: 0, max: 1, value });
  meter.setAttribute("aria-label", `${label}: ${percent(value)}`);
  return meter;
}

function shown(name, frame) {
  const article = made("#result");
  $(".name", article).textContent = frame.of > 1 ? `${name}, slice ${frame.number} of ${frame.of}` : name;
  const sure = !frame.unsure;
  article.classList.toggle("unsure", !sure);
  if (frame.advice) Object.assign($(".advice", article), { textContent: frame.advice, hidden: false });
  $(".headline", article).textContent = frame.foreign
    ? "No answer: this picture does not look like those it knows"
    : `${sure ? "" : "If anything: "}${frame.label}, ${percent(frame.probability)}`;
  $(".words", article).textContent = frame.foreign
    ? "The numbers below are what the networks make of any picture. They mean nothing here."
    : !sure
    ? "It is less sure of this than it must be to be relied on."
    : `${frame.words[0].toUpperCase()}${frame.words.slice(1)}. Of 100 images like those of its training with so much confidence, ${about(frame.probability)} are ${frame.label}.`;

  $(".image", article).src = frame.image;
  $(".image", article).alt = `The picture as the networks see it, in grey and square: ${name}`;
  const heat = $(".heat", article), slider = $(".opacity", article);
  if (frame.heat && !frame.foreign) {
    heat.src = frame.heat;
    heat.style.opacity = slider.value / 100;
    slider.addEventListener("input", () => { heat.style.opacity = slider.value / 100; });
    $(".heat-words", article).textContent = `Red: where the networks saw what speaks for ${frame.label}. It shows what weighed, not where a tumour is.`;
  } else {
    heat.remove();
    $(".slide", article).remove();
    $(".heat-words", article).textContent = frame.foreign ? "" : "These networks have no heat map.";
  }
  const body = $(".probabilities tbody", article);
  Object.entries(frame.probabilities).sort((a, b) => b[1] - a[1])
    .forEach(([label, value]) => row(body, [label, bar(value, label), percent(value)]));
  const many = frame.members.length;
  $(".agreement", article).textContent = many > 1
    ? (frame.agreeing === many ? `All ${many} networks agree.` : `The networks disagree: ${frame.agreeing} of ${many} say ${frame.label}.`)
    : "A single network: there is no second opinion.";
  if (many > 1) frame.members.forEach((one) => row($(".members tbody", article), [one.name, one.label, percent(one.probability), percent(one.weight)]));
  else $(".members", article).remove();
  if (frame.foreign) $(".similar", article).remove();
  else $(".similar", article).textContent = `The ${frame.similar.length} most similar training images: ${frame.similar_in_words} (similarity ${frame.similar.at(-1).similarity.toFixed(2)} to ${frame.similar[0].similarity.toFixed(2)} of 1).`;
  return article;
}

function failed(name, detail) {
  const article = made("#problem");
  $(".name", article).textContent = name;
  $(".detail", article).textContent = detail;
  return article;
}

async function predict(file) {
  const kind = TYPES[file.name.split(".").pop().toLowerCase()] || "application/octet-stream";
  for (let attempt = 0; ; attempt++) {
    let answer;
    try {
      answer = await fetch("predict", { method: "POST", body: file, headers: { "Content-Type": kind } });
    } catch {
      throw new Error("The service cannot be reached. Is `tune-brain serve` still running?");
    }
    if (answer.status === 503 && attempt < ATTEMPTS) {
      await wait(0.5 + Math.random());
      continue;
    }
    const said = await answer.json().catch(() => ({ detail: `The service answered ${answer.status}.` }));
    if (!answer.ok) throw new Error(said.detail);
    return said;
  }
}

function tell() {
  status.textContent = done < asked ? `Looking at image ${done + 1} of ${asked}…` : `${done} image${done === 1 ? "" : "s"} done.`;
  $("#print").disabled = $("#clear").disabled = !results.children.length;
}

function take(files) {
  const own = generation;
  asked += files.length;
  tell();
  for (const file of files) {
    queue = queue.then(async () => {
      if (own !== generation) return;
      let articles;
      try {
        articles = (await predict(file)).frames.map((frame) => shown(file.name, frame));
      } catch (error) {
        articles = [failed(file.name, error.message)];
      }
      if (own !== generation) return;
      results.append(...articles);
      done++;
      tell();
      if (done === asked) (results.querySelector("article") || results).scrollIntoView({ block: "start" });
    });
  }
}

input.addEventListener("change", () => { take([...input.files]); input.value = ""; });
for (const name of ["dragenter", "dragover"]) document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const name of ["dragleave", "drop"]) document.addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
document.addEventListener("drop", (event) => take([...event.dataTransfer.files]));
$("#clear").addEventListener("click", () => { generation++; asked = done = 0; results.replaceChildren(); tell(); status.textContent = ""; input.focus(); });
$("#print").addEventListener("click", () => window.print());
let closed = [];
addEventListener("beforeprint", () => { closed = [...results.querySelectorAll("details:not([open])")]; closed.forEach((one) => { one.open = true; }); });
addEventListener("afterprint", () => closed.forEach((one) => { one.open = false; }));
$("#card-open").addEventListener("click", async () => {
  const text = $("#card-text");
  if (!text.childElementCount) {
    try {
      const page = new DOMParser().parseFromString(await (await fetch("card")).text(), "text/html");
      text.append(...$("main", page).childNodes);
    } catch {
      text.textContent = "The service cannot be reached.";
    }
  }
  $("#card").showModal();
});
fetch("health").then((answer) => answer.json()).then((about) => {
  $("#model").textContent = `${about.bundle}: ${about.members} network${about.members === 1 ? "" : "s"}, which tell apart ${about.classes.join(", ")}. Fingerprint ${about.fingerprint.slice(0, 12)}.`;
}).catch(() => { $("#model").textContent = "The service cannot be reached."; });
