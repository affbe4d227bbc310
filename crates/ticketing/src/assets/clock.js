// Clocks that run by the server's time: countdowns to a sale, deadlines of a hold.
// The page says when it was made; from there a clock that never jumps counts on.

const made = Number(document.documentElement.dataset.nowMs);
const began = performance.timing ? performance.timing.responseStart : Date.now();
const lag = Math.max(0, Date.now() - began);
const zero = performance.now();
export const now = () => made + lag + (performance.now() - zero);

const two = (n) => String(n).padStart(2, "0");

function until(element) {
  const left = Math.ceil((Number(element.dataset.untilMs) - now()) / 1000);
  if (left <= 0) {
    element.textContent = element.dataset.over;
    if (element.dataset.reload && left > -2) setTimeout(() => location.reload(), 300 + Math.random() * 700);
    return false;
  }
  const hours = Math.floor(left / 3600);
  const rest = `${two(Math.floor(left / 60) % 60)}:${two(left % 60)}`;
  element.textContent = hours ? `${hours}:${rest}` : rest;
  return true;
}

function opens(element) {
  const left = Math.max(0, Math.ceil((Number(element.dataset.opensMs) - now()) / 1000));
  const parts = [Math.floor(left / 86400), two(Math.floor(left / 3600) % 24), two(Math.floor(left / 60) % 60), two(left % 60)];
  element.querySelectorAll("b").forEach((b, i) => { b.textContent = parts[i]; });
  if (left === 0) setTimeout(() => location.reload(), 300 + Math.random() * 700);
  return left > 0;
}

const clock = new Intl.DateTimeFormat("ko-KR", { timeZone: "Asia/Seoul", hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
function wall(element) {
  element.textContent = clock.format(now());
  return true;
}

const running = [
  ...[...document.querySelectorAll("[data-until-ms]")].map((e) => () => until(e)),
  ...[...document.querySelectorAll("[data-opens-ms]")].map((e) => () => opens(e)),
  ...[...document.querySelectorAll("[data-clock]")].map((e) => () => wall(e)),
];

function tick() {
  for (let i = running.length - 1; i >= 0; i -= 1) if (!running[i]()) running.splice(i, 1);
  if (running.length) setTimeout(tick, 1000 - (now() % 1000) + 5);
}
tick();
