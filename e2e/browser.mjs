// A real Chromium, and pictures of what it shows.

import { accessSync, constants } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import axe from "axe-core";
import { chromium } from "playwright-core";

const PICTURES = fileURLToPath(new URL("screenshots/", import.meta.url));
/** A phone and a desk. */
const WIDTHS = [[390, 844], [1280, 900]];
const FLAGS = [
  "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

function executable() {
  const folders = (process.env.PATH ?? "").split(":").concat("/usr/bin");
  const names = ["chromium", "chromium-browser", "google-chrome"];
  for (const path of names.flatMap((name) => folders.map((folder) => `${folder}/${name}`))) {
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch { /* the next one */ }
  }
  throw new Error("no Chromium is installed; scripts/setup --test installs it");
}

/** `keep`: beside the pictures of the tests before this one. */
export async function open_browser({ keep = false } = {}) {
  if (!keep) await rm(PICTURES, { recursive: true, force: true });
  await mkdir(PICTURES, { recursive: true });
  return chromium.launch({ executablePath: executable(), args: FLAGS });
}

/** Somebody with a browser of their own: cookies, a page, and what the page complained about. */
export async function visitor(browser, site, options = {}) {
  const context = await browser.newContext({
    baseURL: site, locale: "ko-KR", timezoneId: "Asia/Seoul", viewport: { width: 1280, height: 900 }, ...options,
  });
  context.setDefaultTimeout(20_000);
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", (e) => complaints.push(String(e)));
  page.on("console", (line) => {
    if (line.type() === "error") complaints.push(`${line.text()} ${line.location().url}`);
  });
  return { context, page, complaints };
}

/**
 * Takes pictures of the whole page on a phone and on a desk, in the dark too where `dark`. Says which width the page
 * does not fit into: a page that must be pushed sideways is a fault on a phone.
 */
export async function picture(page, name, { dark = false } = {}) {
  const too_wide = [];
  const size = page.viewportSize();
  for (const scheme of dark ? ["light", "dark"] : ["light"]) {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
    for (const [width, height] of WIDTHS) {
      await page.setViewportSize({ width, height });
      // Pictures further down load when they come into view; a picture of the whole page wants them now.
      await page.evaluate(async () => {
        document.querySelectorAll("img[loading=lazy]").forEach((image) => { image.loading = "eager"; });
        await Promise.all([...document.images].map((image) => image.decode().catch(() => {})));
        await document.fonts.ready;
      });
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
      if (overflow > 0) too_wide.push(`${name} at ${width} px by ${overflow} px`);
      await page.screenshot({ path: `${PICTURES}${name}-${width}-${scheme}.png`, fullPage: true });
    }
  }
  await page.emulateMedia({ colorScheme: "light", reducedMotion: "no-preference" });
  await page.setViewportSize(size);
  return too_wide;
}

/** What of the page people with disabilities would stumble over: serious and critical findings of axe-core. */
export async function barriers(page, name) {
  await page.evaluate(axe.source);
  // Colours on their way from one scheme to the other are nobody's barrier.
  await page.emulateMedia({ reducedMotion: "reduce" });
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  await page.emulateMedia({ reducedMotion: "no-preference" });
  return violations.filter((found) => ["serious", "critical"].includes(found.impact))
    .map((found) => `${name}: ${found.id}: ${found.nodes.slice(0, 3).map((node) => node.target.join(" ")).join(", ")}`);
}
