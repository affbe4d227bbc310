// The waiting room: position and waiting time from the public serving number, which every cache may keep. If nothing
// answers, the last known numbers stand and the page says so; the number is in a cookie and is not lost.
import { now } from "./clock.js";

const room = document.getElementById("queue");
const say = document.getElementById("say");
const bar = document.getElementById("bar");
const line = document.getElementById("line");
const behind = document.getElementById("behind");
const enter = document.getElementById("enter");
const ko = document.documentElement.lang === "ko";
const id = room.dataset.performance;
const spread = Number(room.dataset.entry);
let number = Number(room.dataset.number || 0);

const group = (n) => n.toLocaleString(ko ? "ko-KR" : "en");

function sentence(ahead, seconds) {
  const minutes = seconds === null ? null : Math.ceil(seconds / 60);
  if (minutes === null) return ko ? `앞에 ${group(ahead)}명이 있어요.` : `${group(ahead)} people ahead of you.`;
  if (minutes <= 1) return ko ? `앞에 ${group(ahead)}명, 곧 들어가요.` : `${group(ahead)} people ahead of you; it is your turn in a moment.`;
  return ko ? `앞에 ${group(ahead)}명, 약 ${group(minutes)}분 남았어요.` : `${group(ahead)} people ahead of you, about ${group(minutes)} minutes.`;
}

// The same table as queue/place.rs.
function pollMs(ahead, seconds) {
  const place = ahead <= 100 ? 1000 : ahead <= 1000 ? 3000 : ahead <= 10000 ? 8000 : ahead <= 100000 ? 15000 : 30000;
  const time = seconds === null ? Infinity : seconds * 333;
  const base = Math.max(1000, Math.min(place, time));
  return base + Math.floor(base / 1000) * spread;
}

async function json(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

async function look() {
  let next = 3000 + spread * 5;
  try {
    if (!number) {
      const own = await json(`/api/performances/${id}/queue`);
      if (own.number) { location.reload(); return; }
      if (own.place === "unknown") { location.reload(); return; }
      if (own.place === "lobby") next = Math.min(30000, Math.max(1000, own.opens_ms - now() + 500)) + spread * 5;
    } else {
      const open = await json(`/api/queue/${id}`);
      line.hidden = open.fresh;
      if (number <= open.serving) { enter.hidden = false; enter.requestSubmit(); return; }
      const ahead = number - open.serving - 1;
      const seconds = open.pace_milli ? Math.ceil((ahead + 1) * 1000 / open.pace_milli) : null;
      say.textContent = sentence(ahead, seconds);
      bar.value = open.serving;
      behind.textContent = group(Math.max(0, open.given - number));
      next = pollMs(ahead, seconds);
    }
  } catch {
    line.hidden = false;
  }
  setTimeout(look, next);
}

if (room.dataset.joined) {
  if (bar || !number) setTimeout(look, 1000);
} else if (!document.getElementById("join")) {
  // The lottery is being drawn: a number can be had in a moment.
  if (now() >= Number(room.dataset.opensAt)) setTimeout(() => location.reload(), 1500 + spread * 5);
}
