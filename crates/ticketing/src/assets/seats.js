// Makes the seat drawing clickable. The check boxes of the list stay the truth: the drawing shows them, the form
// sends them, and without this script they are the whole thing.

const form = document.getElementById("seating");
const plan = document.getElementById("plan");
const list = document.getElementById("list");
const chosen = document.getElementById("chosen");
const total = document.getElementById("total");
const take = document.getElementById("take");
const notice = document.getElementById("notice");
const ko = document.documentElement.lang === "ko";
const left = Number(form.dataset.left);
const limit = Number(form.dataset.limit);
const price = Number(form.dataset.price);
const api = `/api/performances/${form.dataset.performance}`;

const boxes = new Map([...list.querySelectorAll("input")].map((box) => [box.value, box]));
const seats = new Map([...plan.querySelectorAll(".seat")].map((g) => [g.dataset.seat, g]));
const place = new Map([...seats].map(([name, g]) => {
  const at = g.transform.baseVal.getItem(0).matrix;
  return [name, { x: at.e, y: at.f }];
}));
const picked = () => [...boxes.values()].filter((box) => box.checked && !box.disabled);
const won = (n) => (ko ? `${n.toLocaleString("ko-KR")}원` : `₩${n.toLocaleString("en")}`);

function say(sentence, good = false) {
  notice.replaceChildren();
  if (!sentence) return;
  const p = document.createElement("p");
  p.className = good ? "notice good" : "notice";
  p.textContent = sentence;
  notice.append(p);
  p.scrollIntoView({ block: "nearest" });
}

function show() {
  const now = picked();
  for (const [name, g] of seats) {
    const box = boxes.get(name);
    if (box && g.classList.contains("free")) g.setAttribute("aria-checked", String(box.checked));
  }
  chosen.textContent = now.length
    ? now.map((box) => box.dataset.name).join(" · ")
    : (ko ? "좌석을 골라 주세요" : "Choose your seats");
  total.textContent = won(now.length * price);
  take.disabled = now.length === 0;
}

function toggle(name) {
  const box = boxes.get(name);
  if (!box || box.disabled) return;
  if (!box.checked && picked().length >= left) {
    say(ko ? `한 분이 ${limit}매까지 고를 수 있어요. 다른 자리를 원하시면 고른 자리를 먼저 풀어 주세요.`
      : `Each account may have ${limit} tickets. To change, first release a seat that you chose.`);
    return;
  }
  say("");
  box.checked = !box.checked;
  show();
}

function lost(names) {
  for (const name of names) {
    const g = seats.get(name);
    const box = boxes.get(name);
    if (box) { box.checked = false; box.disabled = true; box.closest("label").hidden = true; }
    if (!g || !g.classList.contains("free")) continue;
    g.classList.remove("free", "hint");
    g.classList.add("taken");
    for (const a of ["role", "aria-checked", "aria-label", "tabindex"]) g.removeAttribute(a);
    const square = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    for (const [k, v] of Object.entries({ class: "t", x: -10, y: -10, width: 20, height: 20, rx: 5 })) square.setAttribute(k, v);
    g.replaceChildren(g.querySelector(".hit"), square);
  }
  show();
}

// The nearest free seats to one that was lost get a dashed ring.
function suggest(name, count) {
  const from = place.get(name);
  if (!from) return;
  const near = [...seats].filter(([n, g]) => g.classList.contains("free") && !boxes.get(n)?.checked)
    .map(([n, g]) => [Math.hypot(place.get(n).x - from.x, (place.get(n).y - from.y) * 1.4), g])
    .sort((a, b) => a[0] - b[0]).slice(0, count);
  for (const g of plan.querySelectorAll(".hint")) g.classList.remove("hint");
  for (const [, g] of near) g.classList.add("hint");
  near[0]?.[1].scrollIntoView({ block: "nearest", inline: "nearest" });
}

// Keyboard: one seat is in the tab order; arrows go to the nearest free seat that way.
function go(from, dx, dy) {
  const a = place.get(from.dataset.seat);
  let best = null;
  let least = Infinity;
  for (const [name, g] of seats) {
    if (g === from || !g.hasAttribute("role")) continue;
    const b = place.get(name);
    const along = (b.x - a.x) * dx + (b.y - a.y) * dy;
    const aside = Math.abs((b.x - a.x) * dy) + Math.abs((b.y - a.y) * dx);
    if (along > 8 && along + aside * 3 < least) { least = along + aside * 3; best = g; }
  }
  if (best) focus(best);
}

function focus(g) {
  plan.querySelector('[tabindex="0"]')?.setAttribute("tabindex", "-1");
  g.setAttribute("tabindex", "0");
  g.focus();
}

const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
plan.addEventListener("keydown", (event) => {
  const g = event.target.closest(".seat");
  if (!g) return;
  if (arrows[event.key]) { event.preventDefault(); go(g, ...arrows[event.key]); }
  if (event.key === " " || event.key === "Enter") { event.preventDefault(); toggle(g.dataset.seat); }
});
plan.addEventListener("click", (event) => {
  const g = event.target.closest(".seat.free");
  if (g) toggle(g.dataset.seat);
});
list.addEventListener("change", (event) => {
  if (event.target.checked && picked().length > left) { event.target.checked = false; toggle(event.target.value); }
  show();
});

for (const [name, g] of seats) {
  const box = boxes.get(name);
  if (!box || !g.classList.contains("free")) continue;
  g.setAttribute("role", "checkbox");
  g.setAttribute("aria-label", box.dataset.name);
  g.setAttribute("tabindex", "-1");
}
plan.querySelector('[role="checkbox"]')?.setAttribute("tabindex", "0");
list.open = false;
const middle = document.querySelector(".plan-scroll");
middle.scrollLeft = (middle.scrollWidth - middle.clientWidth) / 2;

// One key for one choice: pressing twice, or again after a lost answer, holds once.
let key = null;
let keyFor = "";
form.addEventListener("submit", async (event) => {
  const names = picked().map((box) => box.value);
  if (!names.length || !crypto.getRandomValues) return;
  event.preventDefault();
  take.disabled = true;
  if (keyFor !== names.join()) {
    keyFor = names.join();
    key = [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
  }
  for (let attempt = 0; attempt < 6; attempt += 1) {
    try {
      const answer = await fetch(`${api}/holds`, {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": key },
        body: JSON.stringify({ seats: names }),
      });
      if (answer.status === 401) { form.submit(); return; }
      if (answer.status !== 503) {
        const body = await answer.json();
        if (answer.ok) { location.assign(`/checkout/${body.hold_id}`); return; }
        say(body.message);
        key = null;
        keyFor = "";
        if (body.error === "seat_taken") { lost(body.seats); suggest(body.seats[0], body.seats.length); }
        show();
        return;
      }
    } catch { /* The line broke: the same key makes asking again safe. */ }
    say(ko ? "연결을 다시 잇고 있어요. 고른 자리는 그대로예요." : "Reconnecting. Your choice is kept.", true);
    await new Promise((done) => setTimeout(done, 400 * (attempt + 1)));
  }
  say(ko ? "지금은 연결이 어려워요. 잠시 뒤 다시 눌러 주세요." : "We cannot connect right now. Please press again in a moment.");
  take.disabled = false;
});

// Others choose, too: seats that go while one looks turn grey. The stream sends a bit a seat, then what changed.
const rows = form.dataset.rows.split(",").map(Number);
const starts = rows.reduce((all, n) => [...all, all[all.length - 1] + n], [Number(form.dataset.first)]);
const at = new Map([...seats.keys()].map((name) => {
  const [row, no] = name.split("-").slice(-2).map(Number);
  return [starts[row - 1] + no - 1, name];
}));
const own = new Set([...seats].filter(([, g]) => g.classList.contains("mine")).map(([name]) => name));

function gone(names) {
  const now = names.filter((name) => !own.has(name) && seats.get(name).classList.contains("free"));
  const mine = now.filter((name) => boxes.get(name)?.checked);
  // While the form is on its way the answer to it says it better.
  if (!now.length || (mine.length && take.disabled)) return;
  lost(now);
  if (mine.length) {
    say(ko ? "방금 다른 분이 먼저 선택했어요. 가까운 자리를 찾아볼까요?" : "Somebody else was a moment faster. Shall we look for a seat nearby?");
    suggest(mine[0], mine.length);
  }
}

function read(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const names = [];
  if (bytes[0] === 0) {
    for (const [seat, name] of at) if (bytes[13 + (seat >> 3)] & (1 << (seat & 7))) names.push(name);
  } else if (bytes[0] === 1) {
    for (let i = 9; i + 4 <= bytes.length; i += 4) {
      const change = view.getUint32(i, true);
      if (change & 1 && at.has(change >>> 1)) names.push(at.get(change >>> 1));
    }
  }
  gone(names);
}

let live = null;
function follow() {
  if (document.hidden) { live?.close(); live = null; return; }
  if (live) return;
  live = new EventSource(`${api}/live`);
  live.addEventListener("seats", (event) => read(event.data));
}
document.addEventListener("visibilitychange", follow);
follow();
show();
