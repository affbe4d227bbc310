// The door: reads codes with the camera, checks them here, and sends what it saw when there is a network.
//
// Without a network a ticket is checked by its signature, against what came in here and what was known to have come in
// or to be cancelled when the network was last there. What two doors without a network both let in shows up when both
// have sent it.

const door = document.getElementById("door");
const verdict = document.getElementById("verdict");
const camera = document.getElementById("camera");
const start = document.getElementById("start");
const look = document.getElementById("look");
const offline = document.getElementById("offline");
const pending = document.getElementById("pending");
const entered = document.getElementById("entered");
const ko = document.documentElement.lang === "ko";
const id = Number(door.dataset.performance);
const api = `/api/door/${id}`;
const SEND_MS = 4000;
const SAME_MS = 4000;

const kept = (name, fallback) => JSON.parse(localStorage.getItem(`door:${name}`) ?? "null") ?? fallback;
const keep = (name, value) => localStorage.setItem(`door:${name}`, JSON.stringify(value));

const device = kept("device", null) ?? [...crypto.getRandomValues(new Uint8Array(12))].map((b) => b.toString(16).padStart(2, "0")).join("");
keep("device", device);
const waiting = kept(`waiting:${id}`, []);
const known = { key: null, entered: new Map(kept(`entered:${id}`, [])), cancelled: new Set(kept(`cancelled:${id}`, [])) };

const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));

async function use_key(text) {
  known.key = await crypto.subtle.importKey("raw", bytes(text), "Ed25519", false, ["verify"]);
}

/** Who a ticket says it lets in; nothing if we did not write it. */
async function read(ticket) {
  const [version, body, seal, more] = ticket.split(".");
  if (version !== "GL1" || !body || !seal || more !== undefined || !known.key) return null;
  try {
    const said = bytes(body);
    if (!await crypto.subtle.verify("Ed25519", known.key, bytes(seal), said)) return null;
    const view = new DataView(said.buffer);
    return { performance: view.getUint32(0), booking: String(view.getBigUint64(4)), seat: new TextDecoder().decode(said.subarray(20)) };
  } catch { return null; }
}

const clock = (at) => new Intl.DateTimeFormat("ko-KR", { timeZone: "Asia/Seoul", hour: "2-digit", minute: "2-digit", hour12: false }).format(at);

const WORDS = {
  enter: ["enter", "✓ 입장", "✓ Enter"],
  again: ["again", "! 이미 입장한 티켓", "! Already used"],
  elsewhere: ["no", "✕ 다른 회차의 티켓", "✕ Another performance"],
  cancelled: ["no", "✕ 취소된 티켓", "✕ Cancelled"],
  forged: ["no", "✕ 저희 티켓이 아니에요", "✕ Not a ticket of ours"],
};

function say(word, seat = "", first_at = null) {
  const [kind, in_korean, in_english] = WORDS[word];
  const strong = document.createElement("strong");
  strong.textContent = ko ? in_korean : in_english;
  const span = document.createElement("span");
  span.textContent = first_at ? `${seat} · ${clock(new Date(first_at))}` : seat;
  verdict.className = `verdict ${kind}`;
  verdict.replaceChildren(strong, span);
  navigator.vibrate?.(kind === "enter" ? 80 : [80, 60, 80]);
}

function count() {
  entered.textContent = known.entered.size.toLocaleString("ko-KR");
  pending.textContent = String(waiting.length);
}

function no_network(gone) {
  offline.hidden = !gone;
}

/** Asks what other doors saw. */
async function refresh() {
  const answer = await fetch(api, { headers: { accept: "application/json" } });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const body = await answer.json();
  keep("key", body.public_key);
  await use_key(body.public_key);
  known.cancelled = new Set(body.cancelled);
  for (const [name, at_ms] of body.entered) known.entered.set(name, at_ms);
  keep(`cancelled:${id}`, body.cancelled);
  keep(`entered:${id}`, [...known.entered]);
  count();
}

/** Sends what waits, and says what the box office says of the last one if that is news. */
async function send(shown = null) {
  if (!waiting.length) return;
  const scans = waiting.slice(0, 200);
  const answer = await fetch(`${api}/scans`, {
    method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ device, scans }),
  });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const verdicts = await answer.json();
  waiting.splice(0, scans.length);
  keep(`waiting:${id}`, waiting);
  const last = verdicts.at(-1);
  if (shown !== null && scans.at(-1).number === shown) say(last.verdict, last.seat, last.first_at);
}

let lately = ["", 0];
async function show(ticket) {
  const now = Date.now();
  // A camera sees the same code many times a second.
  if (lately[0] === ticket && now - lately[1] < SAME_MS) { lately[1] = now; return; }
  lately = [ticket, now];
  const who = await read(ticket);
  if (!who) { say("forged"); return; }
  if (who.performance !== id) { say("elsewhere"); return; }
  if (known.cancelled.has(who.booking)) { say("cancelled", who.seat); return; }
  const name = `${who.booking}/${who.seat}`;
  const first = known.entered.get(name);
  if (first) say("again", who.seat, first);
  else {
    known.entered.set(name, now);
    keep(`entered:${id}`, [...known.entered]);
    say("enter", who.seat);
  }
  const number = kept("number", 0) + 1;
  keep("number", number);
  waiting.push({ ticket, number, at_ms: now });
  keep(`waiting:${id}`, waiting);
  count();
  try { await send(first ? null : number); no_network(false); } catch { no_network(true); }
  count();
}

look.addEventListener("submit", (event) => {
  const typed = look.elements.q.value.trim();
  if (!typed.startsWith("GL1.")) return; // A booking number: the page looks for it.
  event.preventDefault();
  look.elements.q.value = "";
  show(typed);
});

async function watch() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  camera.srcObject = stream;
  camera.hidden = false;
  start.hidden = true;
  await camera.play();
  const detector = new BarcodeDetector({ formats: ["qr_code"] });
  const next = async () => {
    try {
      for (const code of await detector.detect(camera)) await show(code.rawValue);
    } catch { /* A frame that cannot be read; the next one can. */ }
    setTimeout(next, 120);
  };
  next();
}

if ("BarcodeDetector" in window && navigator.mediaDevices) {
  start.hidden = false;
  start.addEventListener("click", () => watch().catch((e) => {
    start.textContent = ko ? `카메라를 켤 수 없어요 (${e.name}). 코드를 입력해 주세요.` : `The camera cannot be used (${e.name}). Please type the code.`;
  }));
}

async function round() {
  try { await send(); await refresh(); no_network(false); } catch { no_network(true); count(); }
  setTimeout(round, SEND_MS);
}
const key = kept("key", null);
if (key) await use_key(key).catch(() => {});
round();
