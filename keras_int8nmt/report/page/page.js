"use strict";
// Tables sort by a column when its head is chosen; cells may carry their number as data-value.
(function () {
  function key(row, column) {
    const cell = row.cells[column];
    const value = cell.dataset.value;
    return value === undefined ? cell.textContent.trim() : value === "" ? null : Number(value);
  }

  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function sort(table, head, sign) {
    const column = head.cellIndex;
    const body = table.tBodies[0];
    const rows = Array.from(body.rows, function (row) {
      return [key(row, column), row];
    });
    // Stable; what has no value is last in both directions.
    rows.sort(function (a, b) {
      if (a[0] === null || b[0] === null) return (a[0] === null) - (b[0] === null);
      return sign * compare(a[0], b[0]);
    });
    rows.forEach(function (pair) {
      body.appendChild(pair[1]);
    });
  }

  document.querySelectorAll("table[data-sortable]").forEach(function (table) {
    const heads = Array.from(table.tHead.rows[0].cells);
    heads.forEach(function (head) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", function () {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach(function (other) {
          other.removeAttribute("aria-sort");
        });
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        sort(table, head, down ? -1 : 1);
      });
    });
  });

  document.querySelectorAll("button[data-open]").forEach(function (button) {
    button.addEventListener("click", function () {
      document.querySelectorAll("details").forEach(function (part) {
        part.open = button.dataset.open === "all";
      });
    });
  });

  // A link to a tensor opens the group that holds it.
  function reveal() {
    const target = document.getElementById(location.hash.slice(1));
    const part = target && target.closest("details");
    if (part) {
      part.open = true;
      target.scrollIntoView();
    }
  }
  window.addEventListener("hashchange", reveal);
  reveal();

  document.querySelectorAll(".tools").forEach(function (tools) {
    tools.hidden = false;
  });
  document.documentElement.dataset.ready = "yes";
})();
