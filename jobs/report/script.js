// What a page can do beyond being read: change its theme, say where one is, search and sort customers.
// No network, no storage but the theme, nothing written as markup: texts are set as texts.
(() => {
  "use strict";
  const root = document.documentElement;
  const KEY = "scorehouse-theme";
  const byId = (id) => document.getElementById(id);
  const make = (tag, text, className) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (className) element.className = className;
    return element;
  };

  // A page opened as a file may have no storage.
  const stored = (value) => {
    try {
      if (value === undefined) return localStorage.getItem(KEY);
      localStorage.setItem(KEY, value);
    } catch { /* the theme then lasts as long as the page */ }
    return null;
  };
  const chosen = stored();
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

  function theme() {
    const button = byId("theme");
    const preference = matchMedia("(prefers-color-scheme: dark)");
    const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : preference.matches);
    const say = () => button.setAttribute("aria-pressed", String(isDark()));
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      stored(root.dataset.theme);
      say();
    });
    preference.addEventListener("change", say);
    button.hidden = false;
    say();
  }

  function contents() {
    const list = document.querySelector(".contents details");
    if (!list) return;
    list.open = matchMedia("(min-width: 56rem)").matches;
    const links = new Map([...list.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
    const seen = new Set();
    const observer = new IntersectionObserver((entries) => {
      for (const entry of entries) seen[entry.isIntersecting ? "add" : "delete"](entry.target.id);
      const first = [...links.keys()].find((id) => seen.has(id));
      for (const [id, link] of links) {
        if (id === first) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    }, { rootMargin: "-5% 0px -75% 0px" });
    for (const id of links.keys()) if (byId(id)) observer.observe(byId(id));
  }

  // As the page writes them itself (customers.rs).
  const percent = (share) => {
    const value = share * 100;
    const size = Math.abs(value);
    return value.toFixed(size >= 0.95 || size === 0 ? 1 : size >= 0.095 ? 2 : 3) + "%";
  };
  const decimal = (value) => (Number.isInteger(value) ? String(value) : value.toFixed(2)).replace("-", "−");
  const count = (value) => value.toLocaleString("en-US");
  const shown = (kind, value) => {
    if (value === null || value === undefined) return null;
    if (kind === "share") return percent(value);
    if (kind === "number") return decimal(value);
    return typeof value === "object" ? Object.values(value).join(", ") : String(value); // a list, or a named customer
  };

  function customers() {
    const source = byId("customers-data");
    if (!source) return;
    const { page, columns, rows } = JSON.parse(source.textContent);
    const table = byId("customers-table");
    const at = new Map(columns.map((column, index) => [column.name, index]));
    const [action, live] = [at.get("action"), at.get("live_action")];
    const moved = (row) => live !== undefined && row[live] !== null && row[live] !== row[action];
    const collator = new Intl.Collator("en", { numeric: true });
    const state = { query: "", filters: new Map(), changed: false, sort: null, descending: false, first: 0 };
    let texts = null; // what is searched, made when somebody searches
    let found = rows.map((_, index) => index);

    function select() {
      const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
      if (words.length && !texts) {
        const searched = columns.flatMap((c, index) => (["text", "choice", "list"].includes(c.kind) ? [index] : []));
        texts = rows.map((row) => searched.map((index) => shown("", row[index]) ?? "").join("\n").toLowerCase());
      }
      found = [];
      for (let index = 0; index < rows.length; index++) {
        const row = rows[index];
        if (state.changed && !moved(row)) continue;
        if ([...state.filters].some(([column, value]) => String(row[column]) !== value)) continue;
        if (words.some((word) => !texts[index].includes(word))) continue;
        found.push(index);
      }
      if (state.sort !== null) sort();
      state.first = 0;
      show();
    }

    function sort() {
      const { sort: column, descending } = state;
      const numeric = ["number", "share"].includes(columns[column].kind);
      const keys = found.map((index) => {
        const value = rows[index][column];
        const missing = value === null || value === undefined || (Array.isArray(value) && value.length === 0);
        return { index, missing, value: numeric || missing ? value : shown("", value) };
      });
      keys.sort((a, b) => {
        if (a.missing || b.missing) return a.missing - b.missing || a.index - b.index; // missing ones last, both ways
        const order = numeric ? a.value - b.value : collator.compare(a.value, b.value);
        return (descending ? -order : order) || a.index - b.index;
      });
      found = keys.map((key) => key.index);
    }

    function row(index) {
      const line = make("tr", undefined, moved(rows[index]) ? "changed" : "");
      columns.forEach((column, position) => {
        const text = shown(column.kind, rows[index][position]);
        const cell = make(position === 0 ? "th" : "td", text ?? undefined);
        if (position === 0) cell.scope = "row";
        if (column.kind === "number" || column.kind === "share") cell.className = "number";
        if (text === null) {
          const none = make("span", "–", "none");
          none.setAttribute("role", "img");
          none.setAttribute("aria-label", "none");
          cell.append(none);
        }
        line.append(cell);
      });
      return line;
    }

    function show() {
      const last = Math.min(state.first + page, found.length);
      table.tBodies[0].replaceChildren(...found.slice(state.first, last).map(row));
      byId("found").textContent = found.length === rows.length
        ? `${count(rows.length)} customers`
        : `${count(found.length)} of ${count(rows.length)} customers`;
      byId("page-of").textContent = found.length
        ? `${count(state.first + 1)} – ${count(last)} of ${count(found.length)}`
        : "Nobody is like that";
      for (const button of byId("pages").querySelectorAll("button")) {
        const back = ["first", "previous"].includes(button.dataset.page);
        button.disabled = back ? state.first === 0 : last >= found.length;
      }
    }

    function turn(to) {
      const end = Math.max(0, Math.floor((found.length - 1) / page) * page);
      const next = { first: 0, previous: state.first - page, next: state.first + page, last: end }[to];
      state.first = Math.min(Math.max(0, next), end);
      show();
      table.parentElement.scrollIntoView({ block: "start" });
    }

    for (const head of table.tHead.querySelectorAll("th")) {
      const column = at.get(head.dataset.column);
      const button = head.querySelector("button");
      button.disabled = false;
      button.addEventListener("click", () => {
        // Numbers are asked for from the top.
        const numeric = ["number", "share"].includes(columns[column].kind);
        state.descending = state.sort === column ? !state.descending : numeric;
        state.sort = column;
        for (const other of table.tHead.querySelectorAll("th")) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
        sort();
        state.first = 0;
        show();
      });
    }
    let asked = 0;
    byId("search").addEventListener("input", (event) => {
      state.query = event.target.value;
      clearTimeout(asked);
      asked = setTimeout(select, 120);
    });
    for (const choice of byId("controls").querySelectorAll("select")) {
      const column = at.get(choice.dataset.column);
      const values = [...new Set(rows.map((line) => line[column]))].filter((value) => value !== null);
      values.sort(collator.compare);
      choice.append(...values.map((value) => new Option(value, value)));
      choice.addEventListener("change", () => {
        if (choice.value) state.filters.set(column, choice.value);
        else state.filters.delete(column);
        select();
      });
    }
    byId("changed")?.addEventListener("change", (event) => {
      state.changed = event.target.checked;
      select();
    });
    byId("pages").addEventListener("click", (event) => {
      if (event.target.dataset.page) turn(event.target.dataset.page);
    });
    byId("controls").hidden = byId("pages").hidden = false;
    root.classList.add("scripted");
    show();
  }

  document.addEventListener("DOMContentLoaded", () => {
    theme();
    contents();
    customers();
  });
})();
