"use strict";
(() => {
  // Numbers as the page writes them: commas between thousands, a real minus, ∞, "–" for none, percents.
  const valueOf = (text) => {
    const plain = text.trim().replace(/,/g, "").replace(/\u2212/g, "-");
    if (plain === "\u221e") return Infinity;
    if (plain === "-\u221e") return -Infinity;
    if (plain.startsWith("<")) return 0;
    return parseFloat(plain);
  };

  const sortBy = (heading) => {
    const table = heading.closest("table");
    const body = table.tBodies[0];
    const column = heading.cellIndex;
    const words = heading.classList.contains("w");
    const now = heading.getAttribute("aria-sort");
    const down = now === "none" ? !words : now === "ascending";
    for (const other of table.tHead.rows[0].cells) {
      if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
    }
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => (words ? row.cells[column].textContent.trim() : valueOf(row.cells[column].textContent));
    const rows = Array.from(body.rows, (row) => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (words) return (down ? -1 : 1) * a.localeCompare(b, undefined, { numeric: true });
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
      return a === b ? 0 : (a < b) === down ? 1 : -1;
    });
    body.append(...rows.map(([, row]) => row));
  };
  for (const button of document.querySelectorAll("th[aria-sort] button")) {
    button.addEventListener("click", () => sortBy(button.parentElement));
  }

  const data = document.getElementById("stops");
  if (!data) return;
  const { t, tp, fp, events, others, start } = JSON.parse(data.textContent);
  const slider = document.getElementById("threshold");
  const chosen = document.getElementById("chosen");
  // What is not all of it never reads as 100 %: see markup.py.
  const percent = (value) => {
    const rest = 1 - value;
    if (value === 0) return "0";
    if (!(rest > 0 && rest < 0.0005)) return (100 * value).toPrecision(3);
    const places = Math.min(Math.ceil(-Math.log10(rest) - 1e-9), 14) - 2;
    const text = (100 * value).toFixed(places);
    return Number(text) < 100 ? text : (100 * value).toFixed(places + 1);
  };
  const say = (value) => (value === null ? "\u2013" : `${percent(value)}\u00a0%`);
  const part = (a, b) => (b > 0 ? a / b : null);
  const move = (key, x, y) => {
    const mark = document.getElementById(key);
    const [left, top, right, bottom] = mark.ownerSVGElement.dataset.box.split(",").map(Number);
    mark.setAttribute("visibility", x === null || y === null ? "hidden" : "visible");
    if (x === null || y === null) return;
    mark.setAttribute("cx", left + x * (right - left));
    mark.setAttribute("cy", bottom + y * (top - bottom));
  };
  const show = (i) => {
    const [yes, no] = [tp[i], fp[i]];
    const precision = part(yes, yes + no);
    const recall = part(yes, events);
    const f1 = part(2 * yes, yes + no + events);
    const live = {
      tp: yes.toLocaleString("en"),
      fp: no.toLocaleString("en"),
      fn: (events - yes).toLocaleString("en"),
      tn: (others - no).toLocaleString("en"),
      precision: say(precision),
      recall: say(recall),
      specificity: say(part(others - no, others)),
      accuracy: say((yes + others - no) / (events + others)),
      F1: f1 === null ? "\u2013" : f1 === 0 ? "0" : f1.toPrecision(4),
    };
    for (const place of document.querySelectorAll("[data-live]")) place.textContent = live[place.dataset.live];
    const told = String(Number(t[i].toPrecision(4)));
    chosen.textContent = told;
    slider.value = i;
    slider.setAttribute("aria-valuetext", `${told}: precision ${live.precision}, recall ${live.recall}`);
    move("roc-mark", part(no, others), recall);
    move("pr-mark", recall, precision);
    for (const button of document.querySelectorAll("[data-stop]")) {
      const here = Number(button.dataset.stop) === i;
      button.setAttribute("aria-pressed", String(here));
      button.closest("tr").classList.toggle("here", here);
    }
  };
  slider.closest(".slider").hidden = false;
  slider.addEventListener("input", () => show(Number(slider.value)));
  for (const button of document.querySelectorAll("[data-stop]")) {
    button.addEventListener("click", () => show(Number(button.dataset.stop)));
  }
  show(start);
})();
