for (const place of document.querySelectorAll(".plot")) {
  const { data, layout } = JSON.parse(place.firstElementChild.textContent);
  place.replaceChildren();
  Plotly.newPlot(place, data, layout, { responsive: true, displayModeBar: false });
}

// What is empty stays last, whichever way a table is sorted.
function compare(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  const difference = Number(a) - Number(b);
  return sign * (Number.isNaN(difference) ? a.localeCompare(b) : difference);
}

for (const heading of document.querySelectorAll("table.sortable th")) {
  heading.addEventListener("click", () => {
    const body = heading.closest("table").tBodies[0];
    const rising = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of heading.parentElement.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const value = (row) => row.cells[heading.cellIndex].dataset.value;
    body.append(...[...body.rows].sort((a, b) => compare(value(a), value(b), rising ? 1 : -1)));
  });
}
