// A fan books a seat in a real browser, a cloud burns down, and the fan does not notice: the same login, the same
// held seat, the same tickets.

import assert from "node:assert/strict";
import { test } from "node:test";

import { open_browser, picture, visitor } from "./browser.mjs";
import { Lab, eventually, ghostlight, lines } from "./lab.mjs";

const WHOLE_MS = 8 * 60_000;
const DRILL_MS = 5 * 60_000;
const LATE = "방금 다른 분이 먼저 선택했어요. 가까운 자리를 찾아볼까요?";
const PASSWORD = "lamp on the stage";
/** A musical in the middle hall (2 tickets each), and a concert in the large one (4 each). */
const MUSICAL = "/shows/lighthouse-winter";
const CONCERT = "/shows/yunseul-fragments";

test("a booking in a browser outlives a cloud", { timeout: WHOLE_MS }, async (t) => {
  const lab = await Lab.up();
  const browser = await open_browser();
  let went_well = false;
  // What a step leaves to the ones behind it; a step that fails ends the story.
  const story = {};
  const step = async (name, act) => {
    let fault = null;
    await t.test(name, async () => {
      try {
        await act();
      } catch (e) {
        fault = e;
        throw e;
      }
    });
    if (fault) throw new Error(`ended at: ${name}`);
  };
  try {
    const fan = await visitor(browser, lab.site);
    const { page } = fan;
    const too_wide = [];
    const look = async (name, options) => too_wide.push(...await picture(page, name, options));

    await step("the front page leads to a show", async () => {
      await page.goto("/");
      await page.getByText("다음 예매 오픈").waitFor();
      await look("01-home", { dark: true });
      await page.getByRole("link", { name: "뮤지컬" }).first().click();
      await page.waitForURL("**/musical");
      await look("02-category");
      await page.locator(`a.card[href="${MUSICAL}"]`).click();
      await page.waitForURL(`**${MUSICAL}`);
      await look("03-show", { dark: true });
    });

    await step("an account is made, and the form forgives", async () => {
      await page.getByRole("link", { name: "로그인" }).click();
      await look("04-login");
      await page.getByRole("link", { name: "회원가입" }).click();
      await page.getByLabel("이름").fill("문해준");
      await page.getByLabel("이메일").fill("haejun@example.com");
      await page.getByLabel(/^비밀번호/).fill(PASSWORD);
      await page.getByRole("checkbox").check();
      await look("05-sign-up", { dark: true });
      await page.getByRole("button", { name: "가입하기" }).click();
      await page.getByRole("link", { name: "마이페이지" }).waitFor();
      await page.goto("/terms");
      await look("06-terms");
    });

    await step("a seat is chosen on the map and held", async () => {
      await page.goto(MUSICAL);
      await page.getByRole("link", { name: "예매하기" }).first().click();
      await page.waitForURL("**/performances/*");
      await look("07-hall", { dark: true });
      await page.locator(".sections a").first().click();
      await page.locator("#plan .seat.free").first().waitFor();
      await choose(page, 2);
      await look("08-seats", { dark: true });
      await page.locator("#take").click();
      await page.waitForURL("**/checkout/*");
      await page.getByRole("timer").waitFor();
      await look("09-checkout", { dark: true });
    });

    await step("it is paid, and the ticket is on my page", async () => {
      await page.getByRole("button", { name: /결제하기/ }).click();
      story.first = await booking_number(page);
      await look("10-done", { dark: true });
      await page.getByRole("link", { name: "내 티켓 보기" }).click();
      await page.locator(`.ticket a[href="/bookings/${story.first}"]`).waitFor();
      await look("11-my-page", { dark: true });
      assert.deepEqual(fan.complaints, [], "the pages' scripts and the policy for them");
    });

    await step("a seat that somebody else was faster to buy is refused kindly", async () => {
      // Without what the map is told meanwhile: it would turn the seat grey before it is asked for.
      await page.route(/\/api\/performances\/\d+\/(seats|live|availability)/, (route) => route.abort());
      story.performance = await open_section(page, CONCERT);
      const [seat] = await choose(page, 1);
      await buy(browser, lab.site, "dogyeom@example.com", story.performance, [seat]);
      const answer = page.waitForResponse((response) => response.url().endsWith("/holds"));
      await page.locator("#take").click();
      assert.equal((await answer).status(), 409);
      await page.locator("#notice").getByText(LATE).waitFor();
      await page.locator(`#plan .seat.taken[data-seat="${seat}"]`).waitFor();
      await look("12-taken");
      await page.unroute(/\/api\/performances\/\d+\/(seats|live|availability)/);
      // A browser without scripts is told the same, on a page.
      const plain = await fan.context.request.post(`/performances/${story.performance}/hold`, {
        form: { token: await page.locator("input[name=token]").first().inputValue(), section: seat.split("-")[0], seats: seat },
      });
      assert.equal(plain.status(), 409);
      assert.ok((await plain.text()).includes(LATE));
    });

    await step("two more seats are held, and left held", async () => {
      story.performance = await open_section(page, CONCERT);
      story.held = await choose(page, 2);
      await page.locator("#take").click();
      await page.waitForURL("**/checkout/*");
      story.checkout = new URL(page.url()).pathname;
      story.named = await page.locator(".seats-plain li").allInnerTexts();
      assert.equal(story.named.length, 2);
    });

    await step("a cloud burns down under load, and comes back as the standby", async () => {
      const before = await lab.register();
      const drill = await ghostlight(
        ["drill", "site-loss", "--attach", "--folder", lab.folder, "--rounds", "1", "--json"],
        { mark: lab.mark, within_ms: DRILL_MS },
      );
      process.stdout.write(drill.stdout);
      const { rounds, summary } = lines(drill.stdout);
      assert.equal(rounds.length, 1);
      assert.deepEqual({ code: drill.code, lost: summary.lost, violations: summary.violations }, { code: 0, lost: 0, violations: 0 });
      const after = await lab.register();
      assert.notEqual(after.primary, before.primary);
      assert.ok(after.epoch > before.epoch);
      assert.equal(after.mode, "sync");
    });

    await step("the same browser is signed in, and the same seats are still mine", async () => {
      await page.goto(story.checkout);
      await page.getByRole("link", { name: "마이페이지" }).waitFor();
      assert.deepEqual(await page.locator(".seats-plain li").allInnerTexts(), story.named);
      await look("13-checkout-after");
      await page.getByRole("button", { name: /결제하기/ }).click();
      story.second = await booking_number(page);
      assert.notEqual(story.second, story.first);
      await page.goto("/my");
      for (const number of [story.first, story.second]) {
        await page.locator(`.ticket a[href="/bookings/${number}"]`).waitFor();
      }
      await look("14-my-page-after", { dark: true });
      await page.goto("/nowhere");
      await look("15-nowhere");
    });

    await step("no page must be pushed sideways", () => assert.deepEqual(too_wide, []));

    await step("Ctrl-C ends everything", async () => {
      assert.deepEqual(await lab.interrupt(), { code: 0, signal: null, left: [] });
    });
    went_well = true;
  } finally {
    await browser.close();
    await lab.end(went_well);
  }
});

/** Opens the seats of the first section of a show's first performance on sale; returns the performance's number. */
async function open_section(page, show) {
  await page.goto(show);
  await page.getByRole("link", { name: "예매하기" }).first().click();
  await page.waitForURL("**/performances/*");
  await page.locator(".sections a").first().click();
  await page.locator("#plan .seat.free[role=checkbox]").first().waitFor();
  return Number(new URL(page.url()).pathname.split("/").at(-1));
}

/** Chooses free seats on the map, side by side in the middle of what is shown; returns their names. */
async function choose(page, count) {
  const names = await page.locator("#plan .seat.free").evaluateAll((all) => all.map((g) => g.dataset.seat));
  const from = Math.floor(names.length / 2);
  const wanted = names.slice(from, from + count);
  for (const name of wanted) {
    const seat = page.locator(`#plan .seat[data-seat="${name}"]`);
    await seat.click();
    await page.locator(`#plan .seat[data-seat="${name}"][aria-checked=true]`).waitFor();
  }
  return wanted;
}

/** The number on the page behind a payment. */
async function booking_number(page) {
  await page.waitForURL("**/bookings/*");
  const number = await page.locator("[data-booking-no]").getAttribute("data-booking-no");
  assert.match(number, /^[0-9A-Z]{14}$/);
  return number;
}

/** Somebody else signs up and buys seats, without looking at pages. */
async function buy(browser, site, email, performance, seats) {
  const { context } = await visitor(browser, site);
  const post = async (path, data, key = "") => {
    const answer = await context.request.post(path, { data, headers: key ? { "idempotency-key": key } : {} });
    assert.equal(answer.status(), 201, await answer.text());
    return answer.json();
  };
  await post("/api/signup", { email, name: "백도겸", password: PASSWORD, terms: true });
  const { hold_id } = await post(`/api/performances/${performance}/holds`, { seats }, "e2e-hold");
  await post(`/api/holds/${hold_id}/pay`, { method: "test" }, "e2e-pay");
  await context.close();
}
