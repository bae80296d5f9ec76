"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const make = (name, text = "", look = "") => {
    const made = document.createElement(name);
    made.textContent = text; // never innerHTML: names come from data
    if (look) made.className = look;
    return made;
  };
  const percent = (share) => `${(100 * share).toFixed(1)}%`;
  const counted = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

  // ---- Tables: sort by any column, cells without a value last.
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.value ?? cell.textContent.trim();
  };
  const order = new Intl.Collator("en", { numeric: true });
  const sort = (table, column, descending) => {
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => {
      const [x, y] = [value(a, column), value(b, column)];
      if (x === "" || y === "") return (x === "") - (y === "");
      const [m, n] = [Number(x), Number(y)];
      const compared = Number.isNaN(m) || Number.isNaN(n) ? order.compare(x, y) : m - n;
      return descending ? -compared : compared;
    });
    table.tBodies[0].append(...rows);
  };
  for (const table of all("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      head.firstElementChild.addEventListener("click", () => {
        const next = head.ariaSort === "ascending" ? "descending" : "ascending";
        heads.forEach((other) => { other.ariaSort = "none"; });
        head.ariaSort = next;
        sort(table, column, next === "descending");
        if (table.id === "class-table") show();
      });
    });
  }

  // ---- Classes: filter by name, the first few unless all are wanted.
  const classes = document.getElementById("class-table");
  const filter = document.getElementById("filter");
  const more = document.getElementById("all-classes");
  let every = false;
  const show = () => {
    const wanted = filter.value.trim().toLowerCase();
    const rows = [...classes.tBodies[0].rows];
    const found = rows.filter((row) => row.cells[0].textContent.toLowerCase().includes(wanted));
    const shown = new Set(every ? found : found.slice(0, Number(classes.dataset.first)));
    rows.forEach((row) => { row.hidden = !shown.has(row); });
    document.getElementById("class-count").textContent = `${shown.size.toLocaleString("en")} of ${rows.length.toLocaleString("en")} classes`;
    if (more) more.hidden = shown.size === found.length;
  };
  if (classes) {
    filter.addEventListener("input", show);
    more?.addEventListener("click", () => { every = true; show(); });
  }

  // ---- Confusion: a cell names its images.
  const panel = document.getElementById("cell");
  const pictures = new Map(all("img[data-image]").map((image) => [image.dataset.image, image.src]));
  const cells = new Map((data.confusion?.cells ?? []).map(([row, column, images]) => [`${row},${column}`, images]));
  const entry = ([image, probability, ofLabel], right) => {
    const item = make("li");
    if (pictures.has(image)) {
      const thumbnail = make("img");
      thumbnail.src = pictures.get(image);
      thumbnail.alt = "";
      item.append(thumbnail);
    }
    const words = make("div");
    words.append(make("span", image, "path"));
    words.append(make("div", right ? `${percent(probability)} sure` : `${percent(probability)} sure, label ${percent(ofLabel)}`, "small"));
    item.append(words);
    return item;
  };
  const choose = (key) => {
    all("[data-cell]").forEach((button) => { button.ariaPressed = String(button.dataset.cell === key); });
    const [row, column] = key.split(",").map(Number);
    const { names, images } = data.confusion;
    const named = images[key] ?? [];
    const bar = make("div", "", "bar");
    const right = row === column;
    bar.append(make("h3", right ? `${names[row]}, recognised` : `${names[row]} taken for ${names[column]}`));
    const close = make("button", "Close", "close");
    close.type = "button";
    close.addEventListener("click", () => { panel.hidden = true; all("[data-cell]").forEach((b) => { b.ariaPressed = "false"; }); });
    bar.append(close);
    const list = make("ul");
    list.append(...named.map((image) => entry(image, right)));
    const total = cells.get(key) ?? 0;
    const which = named.length === 0 ? "" : right ? ", the least sure first" : ", the surest first";
    const part = named.length && named.length < total ? `; ${named.length} shown` : "";
    panel.replaceChildren(bar, make("p", `${counted(total, "image")}${which}${part}`, "note"), list);
    panel.hidden = false;
    panel.scrollIntoView({ block: "nearest" });
  };
  all("[data-cell]").forEach((button) => button.addEventListener("click", () => choose(button.dataset.cell)));

  const map = document.getElementById("map");
  if (map && data.confusion) {
    const { names } = data.confusion;
    const totals = new Float64Array(names.length);
    for (const [row, , images] of data.confusion.cells) totals[row] += images;
    const paint = () => {
      const style = getComputedStyle(document.documentElement);
      const colour = (name) => style.getPropertyValue(name).split(",").map(Number);
      const [right, wrong] = [colour("--right"), colour("--wrong")];
      const context = map.getContext("2d");
      const picture = context.createImageData(names.length, names.length);
      for (const [row, column, images] of data.confusion.cells) {
        const share = images / totals[row];
        const opacity = 255 * (row === column ? 0.2 + 0.8 * share : Math.min(1, 0.35 + share));
        picture.data.set([...(row === column ? right : wrong), opacity], 4 * (row * names.length + column));
      }
      context.putImageData(picture, 0, 0);
    };
    paint();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
    const at = (event) => {
      const box = map.getBoundingClientRect();
      const place = (share) => Math.min(names.length - 1, Math.max(0, Math.floor(share * names.length)));
      return [place((event.clientY - box.top) / box.height), place((event.clientX - box.left) / box.width)];
    };
    // Cells are small: the nearest one that holds images is meant.
    const nearest = ([row, column]) => {
      const reach = Math.ceil(names.length / 80);
      let best = null;
      for (const [r, c] of data.confusion.cells) {
        const far = Math.max(Math.abs(r - row), Math.abs(c - column));
        if (far <= reach && (best === null || far < best[0])) best = [far, `${r},${c}`];
      }
      return best?.[1];
    };
    const says = document.getElementById("map-says");
    map.addEventListener("pointermove", (event) => {
      const [row, column] = at(event);
      const found = nearest([row, column]) ?? `${row},${column}`;
      const [r, c] = found.split(",").map(Number);
      says.textContent = `${names[r]} ${r === c ? "recognised" : `taken for ${names[c]}`}: ${counted(cells.get(found) ?? 0, "image")}`;
    });
    map.addEventListener("click", (event) => { const found = nearest(at(event)); if (found) choose(found); });
  }

  // ---- Mistakes: picture or map.
  const maps = document.getElementById("maps");
  all(".picture").forEach((button) => button.addEventListener("click", () => {
    button.ariaPressed = String(button.ariaPressed !== "true");
  }));
  maps?.addEventListener("click", () => {
    maps.ariaPressed = String(maps.ariaPressed !== "true");
    maps.textContent = maps.ariaPressed === "true" ? "Show pictures" : "Show where it looked";
    all(".picture").forEach((button) => { button.ariaPressed = maps.ariaPressed; });
  });

  // ---- Curves: values under the pointer.
  for (const chart of all("[data-chart]")) {
    const lines = data.charts[chart.dataset.chart];
    const [svg, cursor, tip] = [chart.querySelector("svg"), chart.querySelector(".cursor"), chart.querySelector(".tip")];
    const hide = () => { tip.hidden = true; cursor.setAttribute("hidden", ""); };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
      const near = lines.map(({ name, values }) => [name, values.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a))]);
      const place = near.reduce((a, [, b]) => (Math.abs(b[0] - x) < Math.abs(a - x) ? b[0] : a), near[0][1][0]);
      tip.replaceChildren(make("b", near[0][1][3]), ...near.filter(([, at]) => Math.abs(at[0] - place) < 0.6)
        .flatMap(([name, at]) => [make("br"), `${name} ${at[2]}`]));
      cursor.setAttribute("x1", place);
      cursor.setAttribute("x2", place);
      cursor.removeAttribute("hidden");
      tip.hidden = false;
      const left = (place / svg.viewBox.baseVal.width) * box.width;
      tip.style.top = "2.2rem";
      tip.style.left = `${left < box.width / 2 ? left + 10 : Math.max(0, left - tip.offsetWidth - 10)}px`;
    });
    svg.addEventListener("pointerleave", hide);
  }

  // ---- Commands: copy. Pages opened as files may have no clipboard, so the old way stays as the second.
  const select = (code) => getSelection().selectAllChildren(code);
  all(".copy").forEach((button) => button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    let copied = true;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      select(code);
      copied = document.execCommand("copy");
    }
    button.textContent = copied ? "Copied" : "Press Ctrl+C";
    setTimeout(() => { button.textContent = "Copy"; }, 1600);
  }));
})();
