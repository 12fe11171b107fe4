"use strict";
// Tables sort by a column when its head is chosen; cells may carry their number as data-value.
// What is typed into the search leaves the rows and pictures that hold all of its words.
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

  const field = document.getElementById("find");
  const tables = Array.from(document.querySelectorAll("table[data-sortable]"));
  // Blocks by whether they were open before something was searched for.
  let before = null;

  function search() {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    function holds(text) {
      return words.every(function (word) {
        return text.toLowerCase().includes(word);
      });
    }
    const counts = tables.map(function (table) {
      const rows = Array.from(table.tBodies[0].rows);
      rows.forEach(function (row) {
        row.hidden = !holds(row.textContent);
      });
      const shown = rows.filter(function (row) {
        return !row.hidden;
      });
      return shown.length + " of " + rows.length + " " + table.dataset.noun;
    });
    const blocks = Array.from(document.querySelectorAll("details"));
    if (words.length && before === null) {
      before = blocks.map(function (block) {
        return block.open;
      });
    }
    blocks.forEach(function (block, index) {
      let found = 0;
      block.querySelectorAll("figure").forEach(function (figure) {
        figure.hidden = !holds(figure.dataset.path + " " + figure.textContent);
        found += figure.hidden ? 0 : 1;
      });
      block.hidden = found === 0;
      if (words.length) block.open = found > 0;
      else if (before !== null) block.open = before[index];
    });
    if (!words.length) before = null;
    document.getElementById("found").value = words.length ? counts.join(", ") : "";
  }

  if (field) {
    field.addEventListener("input", search);
    // A browser may fill it in again when the page is loaded anew.
    if (field.value) search();
  }

  // A link to a tensor opens the group that holds it.
  function reveal() {
    const target = document.getElementById(location.hash.slice(1));
    const part = target && target.closest("details");
    if (part) {
      if (target.hidden) {
        field.value = "";
        search();
      }
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
