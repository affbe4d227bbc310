// A visitor's whole way through the box office, in Korean on a phone and in English at a desk, with axe-core looking at
// every page: find, choose, see a seat go, wait, pay, show the ticket, give it back.

import assert from "node:assert/strict";
import { test } from "node:test";

import { barriers, open_browser, picture, visitor } from "./browser.mjs";
import { eventually } from "./lab.mjs";
import { Stand } from "./stand.mjs";

const PASSWORD = "lamp on the stage";
const CONCERT = "/shows/yunseul-fragments";
const MINUTE = 60_000;
const FIRST_PAGE_MAX = 60 * 1024;

const KOREAN = {
  name: "ko-phone", view: { locale: "ko-KR", viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true }, path: "/ko/",
  show: "윤슬", category: "콘서트", book: "예매하기", seats: "좌석 선택", pay: /결제하기/, declined: /거절되는/, ranking: "랭킹", sign_up: "가입하기",
  labels: ["이름", "이메일", /^비밀번호/], taken: "방금 다른 분이 먼저 선택했어요", fee: "수수료", cancel: "예매 취소",
  agree: "이 조건으로 취소하기", cancelled: "취소한 예매예요", number: "순번 받기", enter: "좌석 고르러 가기", waiting: "대기실",
};
const ENGLISH = {
  name: "en-desk", view: { locale: "en-GB" }, path: "/en/",
  show: "Fragments", category: "Concerts", book: "Book", seats: "Choose your seats", pay: /· pay/, declined: /declined/, ranking: "Ranking", sign_up: "Sign up",
  labels: ["Name", "E-mail", /^Password/], taken: "Somebody else was a moment faster", fee: "Fee", cancel: "Cancel this booking",
  agree: "Cancel on these terms", cancelled: "Cancelled", number: "Take a number", enter: "Choose seats", waiting: "Waiting room",
};

test("a visitor's way through the box office", { timeout: 6 * MINUTE }, async (t) => {
  const stand = await Stand.open();
  const browser = await open_browser({ keep: true });
  try {
    await t.test("the first page is small and asks nobody else", () => first_page(browser, stand));
    // The clock only goes forward: whoever looks into a sale that is to open comes last.
    for (const words of [KOREAN, ENGLISH]) await t.test(`${words.name}: from a search to a cancelled booking`, () => books(browser, stand, words));
    for (const words of [KOREAN, ENGLISH]) await t.test(`${words.name}: a forgotten password, and the profile`, () => forgets(browser, stand, words));
    await t.test("a browser without scripts books, too", () => without_scripts(browser, stand));
    await t.test("the organiser's pages, and a door that goes on without a network", () => organises(browser, stand));
    await t.test("a seat that comes back, and a bank transfer", () => waits(browser, stand, KOREAN));
    await t.test("two wait together, and both come in", () => wait_together(browser, stand));
  } finally {
    await browser.close();
    await stand.close();
  }
});

/** Everything that the first page loads, as it travels; and from whom. */
async function first_page(browser, stand) {
  const { context, page } = await visitor(browser, stand.site, KOREAN.view);
  const wire = await context.newCDPSession(page);
  await wire.send("Network.enable");
  let bytes = 0;
  const hosts = new Set();
  wire.on("Network.responseReceived", ({ response }) => hosts.add(new URL(response.url).host));
  wire.on("Network.loadingFinished", ({ encodedDataLength }) => { bytes += encodedDataLength; });
  await page.goto("/", { waitUntil: "networkidle" });
  assert.deepEqual([...hosts], [new URL(stand.site).host]);
  console.log(`first page: ${(bytes / 1024).toFixed(1)} KiB with everything that it shows`);
  assert.ok(bytes > 0 && bytes <= FIRST_PAGE_MAX, `${bytes} bytes`);
  await context.close();
}

/** Somebody on the page, with a list of what is wrong with the pages that they saw. */
async function fan(browser, stand, words, email) {
  const { context, page, complaints } = await visitor(browser, stand.site, words.view);
  const faults = [];
  const look = async (name, options) => {
    const full = `${words.name}-${name}`;
    faults.push(...await picture(page, full, options), ...await barriers(page, full));
  };
  await page.goto(words.path);
  await page.goto("/signup");
  await page.getByLabel(words.labels[0]).fill("문해준");
  await page.getByLabel(words.labels[1]).fill(email);
  await page.getByLabel(words.labels[2]).fill(PASSWORD);
  await page.getByRole("checkbox").check();
  await look("sign-up");
  await page.getByRole("button", { name: words.sign_up }).click();
  await page.locator('a[href="/my"]').first().waitFor();
  // Chromium writes a refused payment down as an error; it is what the page is for.
  const said = () => complaints.filter((line) => !/status of 402/.test(line));
  return { context, page, look, wrong: () => [...faults, ...said()] };
}

async function books(browser, stand, words) {
  const { context, page, look, wrong } = await fan(browser, stand, words, `${words.name}@example.com`);
  await page.goto("/");
  await look("home", { dark: true });
  await page.goto("/search");
  await page.getByRole("searchbox").fill(words.show);
  await page.getByRole("searchbox").press("Enter");
  await page.locator(`a.card[href="${CONCERT}"]`).waitFor();
  await look("search");
  await page.locator(`a.card[href="${CONCERT}"]`).click();
  await page.waitForURL(`**${CONCERT}`);
  await look("show", { dark: true });

  await page.getByRole("link", { name: words.book, exact: true }).first().click();
  await page.waitForURL("**/performances/*");
  await page.getByRole("heading", { name: words.seats }).waitFor();
  await look("hall", { dark: true });
  const performance = Number(new URL(page.url()).pathname.split("/").at(-1));
  await page.locator(".sections a").first().click();
  await page.locator("#plan .seat.free[role=checkbox]").first().waitFor();

  // A seat that somebody takes meanwhile goes grey by itself, and the page says it kindly if it was mine.
  const names = await page.locator("#plan .seat.free").evaluateAll((all) => all.map((g) => g.dataset.seat));
  const [lost, first, second] = names.slice(Math.floor(names.length / 2));
  await page.locator(`#plan .seat[data-seat="${lost}"]`).click();
  await somebody_holds(browser, stand, `other-${words.name}@example.com`, performance, lost);
  await page.locator(`#plan .seat.taken[data-seat="${lost}"]`).waitFor();
  await page.locator("#notice").getByText(words.taken).waitFor();
  await look("seat-gone");
  for (const name of [first, second]) {
    // With the keyboard: where the focus is, a space chooses.
    await page.locator(`#plan .seat[data-seat="${name}"]`).focus();
    await page.keyboard.press(" ");
    await page.locator(`#plan .seat[data-seat="${name}"][aria-checked=true]`).waitFor();
  }
  await look("seats", { dark: true });
  await page.locator("#take").click();
  await page.waitForURL("**/checkout/*");
  await page.getByRole("timer").getByText(/^0[67]:\d\d$/).waitFor();
  await look("checkout", { dark: true });
  // A kind of ticket is priced by the server before anything is paid.
  const sum = page.locator(".sum strong");
  const before = await sum.innerText();
  await page.locator(".kinds select").first().selectOption("care");
  await page.locator("button[name=reprice]").click();
  await page.waitForURL("**/checkout/*?priced=1");
  assert.notEqual(await sum.innerText(), before);
  await look("checkout-kind", { dark: true });
  await page.getByRole("radio", { name: words.declined }).check();
  await page.getByRole("button", { name: words.pay }).click();
  await page.getByRole("alert").waitFor();
  await look("declined");
  await page.getByRole("radio").first().check();
  await page.getByRole("button", { name: words.pay }).click();
  await page.waitForURL("**/bookings/*");
  const number = await page.locator("[data-booking-no]").getAttribute("data-booking-no");
  assert.match(number, /^[0-9A-Z]{14}$/);
  assert.equal(await page.locator("svg.qr").count(), 2, "one code a seat");
  await look("booked", { dark: true });
  const calendar = await context.request.get(`/bookings/${number}/calendar.ics`);
  assert.match(calendar.headers()["content-type"], /^text\/calendar/);
  assert.match(await calendar.text(), new RegExp(`^BEGIN:VCALENDAR\r\n[^]*UID:${number}@`));
  await page.goto("/my");
  await page.locator(`.ticket a[href="/bookings/${number}"]`).click();
  await page.getByText(words.cancel).click();
  await page.getByRole("columnheader", { name: words.fee }).waitFor();
  await look("cancel", { dark: true });
  await page.getByRole("button", { name: words.agree }).click();
  await page.getByText(words.cancelled).first().waitFor();
  assert.equal(await page.locator("svg.qr").count(), 0, "a cancelled booking opens no door");
  await look("cancelled");
  await page.goto("/my");
  await look("my", { dark: true });
  await page.goto("/ranking");
  await page.getByRole("heading", { name: words.ranking }).waitFor();
  await look("ranking");
  assert.deepEqual(wrong(), [], "what is wrong with the pages");
  await context.close();
}

/** Somebody else signs up and holds a seat, without looking at pages. */
async function somebody_holds(browser, stand, email, performance, seat) {
  const { context } = await visitor(browser, stand.site);
  const post = async (path, data) => {
    const answer = await context.request.post(path, { data });
    assert.equal(answer.status(), 201, await answer.text());
  };
  await post("/api/signup", { email, name: "백도겸", password: PASSWORD, terms: true });
  await post(`/api/performances/${performance}/holds`, { seats: [seat] });
  await context.close();
}

async function forgets(browser, stand, words) {
  const email = `forgets-${words.name}@example.com`;
  const { context, page, look, wrong } = await fan(browser, stand, words, email);
  await page.goto(await stand.link_in_letter("confirm", email));
  await look("confirm");
  await page.locator("main").getByRole("button").click();
  await page.getByRole("status").waitFor();
  await look("confirmed");
  await page.goto("/my/profile");
  await page.locator("details.step summary").click();
  await look("profile", { dark: true });
  await context.clearCookies({ name: "sid" });
  await page.goto("/login");
  await page.locator('a[href="/forgot"]').click();
  await page.getByLabel(words.labels[1]).fill(email);
  await look("forgot");
  await page.locator("main").getByRole("button").click();
  await page.getByRole("status").waitFor();
  await look("forgot-asked");
  await page.goto(await stand.link_in_letter("reset", email));
  await page.locator('input[type="password"]').fill("another lamp, another stage");
  await look("reset");
  await page.locator("main").getByRole("button").click();
  await page.waitForURL("**/login");
  await page.getByLabel(words.labels[1]).fill(email);
  await page.getByLabel(words.labels[2]).fill("another lamp, another stage");
  await page.locator("main").getByRole("button").click();
  await page.locator('a[href="/my"]').first().waitFor();
  assert.deepEqual(wrong(), [], "what is wrong with the pages");
  await context.close();
}

/** The door of a performance lets people in once, whether or not it has a network. */
async function organises(browser, stand) {
  const guest = await fan(browser, stand, KOREAN, "guest@example.com");
  const performances = await (await guest.context.request.get("/api/performances")).json();
  const { id } = performances.find((p) => p.show.slug === CONCERT.split("/").at(-1) && p.sale === "open");
  const post = async (path, data, key) => {
    const answer = await guest.context.request.post(path, { data, headers: { "idempotency-key": key } });
    assert.equal(answer.status(), 201, await answer.text());
    return answer.json();
  };
  const { hold_id } = await post(`/api/performances/${id}/holds`, { seats: ["F6-5-1", "F6-5-2", "F6-5-3"] }, "door-hold");
  const { booking_no } = await post(`/api/holds/${hold_id}/pay`, { method: "test" }, "door-pay");
  const tickets = await (await guest.context.request.get(`/api/bookings/${booking_no}/tickets`)).json();
  await guest.context.close();

  const words = { ...ENGLISH, name: "en-organiser" };
  const { context, page, look, wrong } = await fan(browser, stand, words, "organiser@example.com");
  await page.goto(await stand.link_in_letter("confirm", "organiser@example.com"));
  await page.locator("main").getByRole("button").click();
  await page.getByRole("status").waitFor();
  await page.goto("/organiser");
  await look("sales");
  await page.locator(`a[href="/organiser/performances/${id}"]`).click();
  await page.locator("svg.plot").waitFor();
  await look("report", { dark: true });
  await page.locator(`a[href="/organiser/bookings/${booking_no}/refund"]`).waitFor();
  await page.goto(`/organiser/bookings/${booking_no}/refund`);
  await look("refund", { dark: true });
  await page.goBack();
  const download = page.waitForEvent("download");
  await page.getByRole("link", { name: "Download as CSV" }).click();
  assert.match((await download).suggestedFilename(), /^bookings-\d+-\d{8}\.csv$/);
  await page.getByRole("link", { name: "Door list" }).click();
  await look("door-list");
  await page.goto("/organiser/staff");
  await look("staff");
  await puts_on_sale(page, look);

  await page.goto(`/door/${id}`);
  const verdict = page.locator("#verdict");
  const show = async (ticket, kind) => {
    await page.locator("#look input").fill(ticket);
    await page.locator("#look input").press("Enter");
    await page.locator(`#verdict.${kind}`).waitFor();
    return verdict.innerText();
  };
  // The key is there once the page has asked for it.
  await page.waitForFunction(() => localStorage.getItem("door:key") !== null);
  await show(tickets[0].ticket, "enter");
  await look("door-enter", { dark: true });
  await context.setOffline(true);
  await show(tickets[1].ticket, "enter");
  await page.locator("#offline").waitFor();
  await look("door-offline");
  await page.waitForTimeout(4_100); // The same code again within four seconds is the camera, not a person.
  await show(tickets[1].ticket, "again");
  await show(`${tickets[2].ticket.slice(0, -4)}AAAA`, "no");
  await look("door-no");
  await context.setOffline(false);
  await page.locator("#offline").waitFor({ state: "hidden" });
  assert.equal(await page.locator("#pending").innerText(), "0");
  const { entered } = await (await context.request.get(`/api/door/${id}`)).json();
  assert.equal(entered.length, 2, "what was seen without a network has arrived");
  await page.goto(`/door/${id}?q=${booking_no}`);
  await look("door-number");
  await page.getByRole("button", { name: "Let in" }).click();
  await page.locator("#verdict.enter").waitFor();
  assert.equal(await page.getByRole("button", { name: "Let in" }).count(), 0, "all three are in");
  // Chromium writes down the network that was cut, and the hall that was refused for its faults.
  const meant = /ERR_INTERNET_DISCONNECTED|status of 400 .*\/organiser\/halls/;
  assert.deepEqual(wrong().filter((line) => !meant.test(line)), [], "what is wrong with the pages");
  await context.close();
}

/** A hall with a fault, mended; a show; a performance; a guest's seat. */
async function puts_on_sale(page, look) {
  await page.goto("/organiser/halls");
  await look("halls");
  await page.getByLabel("Name (Korean)").fill("작은 등대");
  await page.getByLabel("Name (English)").fill("Little Lighthouse");
  const seats = page.getByLabel("Seats (CSV)");
  const good = await seats.inputValue();
  await seats.fill(good.replace("A2,,,,,2,14", "A2,,,,,3,many"));
  await page.getByRole("button", { name: "Take this hall" }).click();
  assert.deepEqual((await page.locator("#faults strong").allInnerTexts()).map((t) => t.trim()), ["Line 5 · row", "Line 5 · seats"]);
  await look("hall-faults", { dark: true });
  await page.getByLabel("Seats (CSV)").fill(good);
  await page.getByRole("button", { name: "Take this hall" }).click();
  await page.getByRole("status").waitFor();

  await page.goto("/organiser/programme");
  const form = page.locator("form[action='/organiser/shows']");
  const texts = { title: "밤바다 Night Sea", tagline: "등대 아래 Below the light", about: "바다 이야기 A tale of the sea", cast: "문해준 Moon Haejun" };
  for (const [name, text] of Object.entries(texts)) {
    const at = text.search(/[A-Z]/);
    await form.locator(`[name=${name}_ko]`).fill(text.slice(0, at).trim());
    await form.locator(`[name=${name}_en]`).fill(text.slice(at));
  }
  for (const [name, value] of [["slug", "night-sea"], ["runtime_min", "100"], ["age_min", "8"], ["price_VIP", "66,000"], ["price_R", "55000"], ["price_S", "44000"]]) {
    await form.locator(`[name=${name}]`).fill(value);
  }
  await look("programme", { dark: true });
  await form.getByRole("button").click();
  await page.getByRole("status").waitFor();
  const soon = (days) => new Date(Date.now() + days * 86_400_000 + 9 * 3_600_000).toISOString().slice(0, 16);
  const sale = page.locator("form[action='/organiser/performances']");
  await sale.locator("[name=hall]").selectOption({ label: "Little Lighthouse (64)" });
  await sale.locator("[name=starts]").fill(soon(9));
  await sale.locator("[name=sale_opens]").fill(soon(-1));
  await sale.getByRole("button").click();
  await page.getByRole("status").waitFor();
  await page.getByRole("link", { name: /^Guests: Night Sea/ }).click();
  await page.getByLabel("Seats (section-row-number)").fill("A1-1-1 A1-1-2");
  await page.getByLabel("For whom?").fill("The cast's family");
  await page.getByRole("button", { name: "Keep them back" }).click();
  await page.getByRole("button", { name: /^Sell it/ }).first().waitFor();
  await look("guests");
  await page.goto("/shows/night-sea");
  await page.getByRole("link", { name: "Book", exact: true }).first().click();
  await page.locator(".sections a").first().waitFor();
  await look("own-hall", { dark: true });
  await page.locator('.sections a[href$="section=A1"]').click();
  await page.locator("#plan .seat.free").first().waitFor();
  assert.equal(await page.locator("#plan .seat.taken").count(), 2, "the guests' seats");
  await look("own-seats");
}

/** All seats of a grade are gone; somebody waits, is offered one that came back, and pays it by transfer. */
async function waits(browser, stand, words) {
  const { context, page, look, wrong } = await fan(browser, stand, words, `line-${words.name}@example.com`);
  const performances = await (await context.request.get("/api/performances")).json();
  const { id } = performances.find((p) => p.show.slug === "night-sea");
  const row = Array.from({ length: 20 }, (_, i) => `B1-1-${i + 1}`);
  let [booking, seller] = [];
  for (let first = 0; first < row.length; first += 4) {
    const other = await visitor(browser, stand.site);
    const post = (path, data, key) => other.context.request.post(path, { data, headers: { "idempotency-key": key } });
    await post("/api/signup", { email: `row${first}-${words.name}@example.com`, name: "백도겸", password: PASSWORD, terms: true }, "s");
    const { hold_id } = await (await post(`/api/performances/${id}/holds`, { seats: row.slice(first, first + 4) }, "h")).json();
    if (seller) { await other.context.close(); continue; }
    booking = await (await post(`/api/holds/${hold_id}/pay`, { method: "test" }, "p")).json();
    seller = other;
  }
  await page.goto(`/performances/${id}`);
  await look("hall-sold-out");
  await page.locator(`a[href="/performances/${id}/waitlist"]`).first().click();
  await page.getByRole("radio").last().check();
  await look("waitlist", { dark: true });
  await page.locator("main form button.button").click();
  await page.locator(".waits-place strong").waitFor();
  await look("waitlist-joined");
  const path = `/api/bookings/${booking.booking_no}/cancel`;
  const { fee_won } = await (await seller.context.request.get(path)).json();
  assert.equal((await seller.context.request.post(path, { data: { fee_won } })).status(), 204);
  await seller.context.close();
  await eventually("a seat is offered", async () => {
    await page.reload();
    return (await page.locator('.waits a[href^="/checkout/"]').count()) === 1;
  }, 20_000);
  await look("waitlist-offer", { dark: true });
  await page.goto("/my");
  await look("my-offer");
  await page.goto(`/performances/${id}/waitlist`);
  await page.locator('.waits a[href^="/checkout/"]').click();
  await page.waitForURL("**/checkout/*");
  await page.locator('input[name=method][value="transfer"]').check();
  await look("checkout-transfer");
  await page.getByRole("button", { name: words.pay }).click();
  await page.waitForURL("**/transfers/*");
  await look("transfer", { dark: true });
  const transfer = new URL(page.url()).pathname;
  for (const [name, at] of [["en-transfer", transfer], ["en-waitlist", `/performances/${id}/waitlist`], ["en-my", "/my"]]) {
    await page.goto(`/en${at}`);
    await look(name);
  }
  assert.deepEqual(wrong(), [], "what is wrong with the pages");
  await context.close();
}

async function without_scripts(browser, stand) {
  const words = { ...KOREAN, name: "ko-plain", view: { ...KOREAN.view, javaScriptEnabled: false } };
  const { context, page } = await visitor(browser, stand.site, words.view);
  await page.goto(CONCERT);
  await page.getByRole("link", { name: words.book, exact: true }).first().click();
  await page.locator(".sections a").first().click();
  const box = page.locator("#list input[name=seats]").nth(3);
  const seat = await box.getAttribute("value");
  await box.check({ force: true });
  await page.locator("#take").click();
  // Not signed in: the way leads over an account and back to the same seats.
  await page.waitForURL(/\/login\?next=/);
  await page.locator("main").getByRole("link", { name: "회원가입" }).click();
  await page.getByLabel(words.labels[0]).fill("문해준");
  await page.getByLabel(words.labels[1]).fill("plain@example.com");
  await page.getByLabel(words.labels[2]).fill(PASSWORD);
  await page.getByRole("checkbox").check();
  await page.getByRole("button", { name: words.sign_up }).click();
  await page.waitForURL("**/performances/*");
  assert.ok(await page.locator(`#list input[value="${seat}"]`).isChecked(), "the seat is still chosen");
  await page.locator("#take").click();
  await page.waitForURL("**/checkout/*");
  await page.getByRole("button", { name: words.pay }).click();
  await page.waitForURL("**/bookings/*");
  assert.equal(await page.locator("svg.qr").count(), 1);
  await context.close();
}

/** Everybody is in the lobby before the sale opens; then numbers are drawn, and everybody comes in. */
async function wait_together(browser, stand) {
  // The clock first: a login lasts half a day, and the sale is days away.
  const queue = await next_waiting_room(stand);
  await stand.advance(Math.max(0, queue.opens_ms - 10 * MINUTE - queue.now_ms));
  const fans = [];
  for (const words of [KOREAN, ENGLISH]) {
    const one = await fan(browser, stand, words, `waits-${words.name}@example.com`);
    fans.push({ ...one, words });
    await one.page.goto(`/performances/${queue.id}/queue`);
    await one.page.getByRole("heading", { name: words.waiting }).waitFor();
    await one.look("waiting-room");
    await one.page.getByRole("button", { name: words.number }).click();
    await one.page.getByRole("timer").waitFor();
    await one.look("lobby", { dark: true });
  }
  await stand.advance(10 * MINUTE);
  const numbers = new Set();
  for (const { context, page, look, wrong, words } of fans) {
    // The lottery is drawn by whoever notices first; the page comes along by itself.
    await page.reload();
    const enter = page.getByRole("button", { name: words.enter });
    const inside = page.getByRole("heading", { name: words.seats });
    await enter.or(inside).first().waitFor({ timeout: MINUTE });
    const place = await context.request.get(`/api/performances/${queue.id}/queue`);
    numbers.add(String((await place.json()).number));
    // A page that was waiting when the number was called goes in by itself.
    if (await enter.isVisible()) {
      await look("called", { dark: true });
      await enter.click();
    }
    await page.waitForURL(`**/performances/${queue.id}`);
    await page.getByRole("heading", { name: words.seats }).waitFor();
    assert.deepEqual(wrong(), [], "what is wrong with the pages");
    await context.close();
  }
  assert.deepEqual([...numbers].sort(), ["1", "2"]);
}

/** The next sale that opens and has a waiting room. */
async function next_waiting_room(stand) {
  const ask = (path) => fetch(`${stand.site}${path}`);
  const all = await (await ask("/api/performances")).json();
  const { now_ms } = await (await ask("/api/time")).json();
  const coming = all.filter((p) => p.sale === "not_yet").sort((a, b) => Date.parse(a.sale_opens_at) - Date.parse(b.sale_opens_at));
  for (const { id, sale_opens_at } of coming) {
    if ((await ask(`/api/queue/${id}`)).ok) return { id, now_ms, opens_ms: Date.parse(sale_opens_at) };
  }
  throw new Error("no sale with a waiting room is to open");
}
