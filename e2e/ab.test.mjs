// `ab`, the plainest of loads, through a gateway to the ticketing service: not one request fails, with and without keep-alive.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";

import { Lab } from "./lab.mjs";

const run = promisify(execFile);
/** More by hand: AB_REQUESTS=100000 AB_AT_ONCE=100 node --test e2e/ab.test.mjs */
const REQUESTS = process.env.AB_REQUESTS ?? "4000";
const AT_ONCE = process.env.AB_AT_ONCE ?? "50";

/** Where the first site's gateway listens. */
async function gateway(lab) {
  const text = await readFile(join(lab.folder, "ghostlight.toml"), "utf8");
  const section = text.split(/^\[/m).find((part) => /^sites\.nhn\.gateway\]/.test(part));
  const listen = section?.match(/^listen = "(.+)"/m)?.[1] ?? text.match(/gateway = \{ listen = "(.+?)"/)?.[1];
  assert.ok(listen, `the topology names the gateway's address:\n${text}`);
  return listen;
}

/** The number behind one of ab's words; 0 where it does not say it. */
function said(text, word) {
  return Number(text.match(new RegExp(`^${word}:\\s+(\\d+)`, "m"))?.[1] ?? 0);
}

test("ab through the gateway: 0 failed", { timeout: 10 * 60_000 }, async () => {
  const lab = await Lab.up();
  let well = false;
  try {
    const url = `http://${await gateway(lab)}/`;
    for (const ways of [[], ["-k"]]) {
      // Pages differ in length from one to the next: that is no failure (-l).
      const { stdout } = await run("ab", ["-q", "-l", ...ways, "-n", REQUESTS, "-c", AT_ONCE, url], { maxBuffer: 8 << 20 });
      console.log(stdout);
      assert.equal(said(stdout, "Complete requests"), Number(REQUESTS));
      assert.equal(said(stdout, "Failed requests"), 0);
      assert.equal(said(stdout, "Non-2xx responses"), 0);
      assert.equal(said(stdout, "Write errors"), 0);
    }
    const ended = await lab.interrupt();
    assert.deepEqual(ended.left, [], "nothing is left running");
    well = true;
  } finally {
    await lab.end(well);
  }
});
