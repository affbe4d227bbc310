// The check can fail: with the commit gate off, the drill that finds no loss with it must find one.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { test } from "node:test";

import { ghostlight, left, lines } from "./lab.mjs";

/** Whether a booking is on its way at the moment of the kill is chance; that it never is, four times, is a fault. */
const SEEDS = [11, 12, 13, 14];
const DRILL_MS = 4 * 60_000;

test("without the gate acknowledged bookings are lost", { timeout: SEEDS.length * DRILL_MS }, async () => {
  const mark = randomUUID();
  const told = [];
  for (const seed of SEEDS) {
    const drill = await ghostlight(
      ["drill", "site-loss", "--no-gate", "--rounds", "1", "--seed", String(seed), "--json"],
      { mark, within_ms: DRILL_MS, quiet: true },
    );
    process.stdout.write(drill.stdout);
    assert.deepEqual(await left(mark), [], "the drill leaves nothing running");
    const { rounds, summary } = lines(drill.stdout);
    assert.equal(rounds.length, 1, `the drill was not run to its end:\n${drill.stderr}`);
    assert.equal(drill.code, summary.violations > 0 ? 1 : 0, "the exit code says what the summary says");
    if (summary.lost > 0) {
      assert.equal(drill.code, 1, "a loss is a failure");
      // A drill that found something keeps its lab's files for a look; here it found what was expected.
      const kept = drill.stderr.match(/the lab's files are kept in (\S+)/)?.[1];
      if (kept) await rm(kept, { recursive: true, force: true });
      return;
    }
    told.push(summary);
  }
  assert.fail(`nothing was lost in ${SEEDS.length} rounds without the gate: ${JSON.stringify(told)}`);
});
