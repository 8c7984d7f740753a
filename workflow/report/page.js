// Everything here extends a page that is readable without it. Nothing is fetched.
"use strict";
(() => {
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  // Colours: light or dark, as the system is set, unless the reader chooses.
  const themes = ["auto", "light", "dark"];
  const root = document.documentElement;
  const toggle = document.querySelector("button.theme");
  const paint = (theme) => {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
    toggle.textContent = `Colours: ${theme}`;
  };
  paint(root.dataset.theme ?? "auto");
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    const theme = themes[(themes.indexOf(root.dataset.theme ?? "auto") + 1) % themes.length];
    paint(theme);
    try {
      localStorage.setItem("kn-thesis-theme", theme);
    } catch {} // a page opened from disk may have no storage: the choice is then lost with the page
  });

  // Scroll the current chapter into view in the bar, and mark the current section in the contents.
  const bar = document.querySelector(".chapters");
  const current = bar.querySelector("[aria-current]");
  if (current) bar.scrollLeft = current.offsetLeft - bar.offsetLeft - (bar.clientWidth - current.offsetWidth) / 2;
  const links = [...document.querySelectorAll("nav.contents a")];
  const sections = links.map((link) => document.getElementById(decodeURIComponent(link.hash.slice(1))));
  const mark = () => {
    const reached = sections.findLastIndex((section) => section.getBoundingClientRect().top < innerHeight / 4);
    links.forEach((link, place) => link.toggleAttribute("aria-current", place === reached));
  };
  if (links.length) {
    let waiting = false;
    const soon = () => {
      if (!waiting) requestAnimationFrame(() => { waiting = false; mark(); });
      waiting = true;
    };
    addEventListener("scroll", soon, { passive: true });
    mark();
  }

  // Figures: a click enlarges them; the image can be saved as a file.
  const dialog = make("dialog", { className: "large fit" });
  const size = make("button", { type: "button", textContent: "Larger" });
  const close = make("button", { textContent: "Close" });
  const view = make("div", { className: "view", tabIndex: 0 });
  const form = make("form", { method: "dialog", className: "tools" }, size, close);
  dialog.append(form, view);
  const fit = (fits) => {
    dialog.classList.toggle("fit", fits);
    size.textContent = fits ? "Larger" : "Fit";
  };
  size.addEventListener("click", () => fit(!dialog.classList.contains("fit")));
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  for (const figure of document.querySelectorAll("figure.picture")) {
    const image = figure.querySelector("img");
    const open = () => {
      if (!dialog.isConnected) document.body.append(dialog);
      dialog.setAttribute("aria-label", image.alt);
      const large = make("img", { src: image.src, alt: image.alt });
      large.style.setProperty("--natural", `${Math.round(1.25 * image.naturalWidth)}px`);
      view.replaceChildren(large);
      fit(innerWidth >= 900);
      dialog.showModal();
    };
    const button = make("button", { type: "button", className: "zoom", title: "Open large" });
    button.setAttribute("aria-label", `Open large: ${image.alt}`);
    image.replaceWith(button);
    button.append(image);
    button.addEventListener("click", open);
    const kind = image.src.startsWith("data:image/svg") ? "svg" : "png";
    const name = `${figure.id.replace(/^figure-/, "")}.${kind}`;
    const larger = make("button", { type: "button", textContent: "Open large" });
    larger.addEventListener("click", open);
    const keep = make("a", { href: image.src, download: name, textContent: `Save as ${kind.toUpperCase()}` });
    figure.querySelector(".tools")?.prepend(larger, keep);
  }

  // Tables: a cell is sorted by its first number: "0.68 [0.50, 0.82]" is 0.68, "68 %" is 68, "< 0.001" is 0.001.
  const number = /^[<>≤≥≈~±]?\s*([-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?)/i;
  const empty = /^(|[-–—]|nan|n\/a)$/i;
  const compared = new Intl.Collator("en", { numeric: true });
  const valueOf = (text) => {
    const found = number.exec(text);
    return found ? Number(found[1].replaceAll(",", "").replace("−", "-")) : NaN;
  };
  const order = (rows, column, descending) => {
    const keyed = rows.map((row, place) => ({ row, place, text: row.cells[column].textContent.trim() }));
    for (const entry of keyed) entry.empty = empty.test(entry.text);
    for (const entry of keyed) entry.value = entry.empty ? NaN : valueOf(entry.text);
    const numeric = keyed.every((entry) => entry.empty || !Number.isNaN(entry.value));
    const sign = descending ? -1 : 1;
    keyed.sort((a, b) => {
      if (a.empty || b.empty) return a.empty - b.empty || a.place - b.place;
      const difference = numeric ? a.value - b.value : compared.compare(a.text, b.text);
      return sign * difference || a.place - b.place;
    });
    return keyed.map((entry) => entry.row);
  };
  const sortable = (table, rows) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button", className: "sort", title: "Sort by this column" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: null }[head.getAttribute("aria-sort")];
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        const wanted = next === undefined ? "ascending" : next;
        if (wanted) head.setAttribute("aria-sort", wanted);
        table.tBodies[0].append(...(wanted ? order(rows, column, wanted === "descending") : rows));
      });
    });
  };
  const filterable = (figure, rows) => {
    const count = figure.querySelector(".count");
    const all = count.textContent;
    let texts = null;
    const box = make("input", { type: "search", className: "filter", placeholder: "filter rows" });
    box.setAttribute("aria-label", "Filter the rows of this table");
    count.setAttribute("role", "status");
    box.addEventListener("input", () => {
      texts ??= rows.map((row) => [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase());
      const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      rows.forEach((row, place) => {
        row.hidden = !words.every((word) => texts[place].includes(word));
        left += !row.hidden;
      });
      count.textContent = words.length ? `${left.toLocaleString("en")} of ${all}` : all;
    });
    figure.querySelector(".tools").prepend(box);
  };
  for (const figure of document.querySelectorAll("figure.table")) {
    const table = figure.querySelector("table");
    const rows = [...table.tBodies[0].rows];
    if (rows.length > 1) sortable(table, rows);
    if (rows.length > 12) filterable(figure, rows);
  }

  // A shadow on the side where a table continues.
  for (const scroll of document.querySelectorAll(".scroll")) {
    const frame = make("div", { className: "frame" });
    scroll.replaceWith(frame);
    frame.append(scroll);
    const hint = () => {
      const left = scroll.scrollWidth - scroll.clientWidth - scroll.scrollLeft;
      frame.classList.toggle("more-right", left > 1);
      frame.classList.toggle("more-left", scroll.scrollLeft > 1);
    };
    scroll.addEventListener("scroll", hint, { passive: true });
    new ResizeObserver(() => {
      const first = scroll.querySelector('tbody th[scope="row"]');
      frame.style.setProperty("--first", `${first ? first.offsetWidth : 0}px`);
      hint();
    }).observe(scroll);
  }
})();
