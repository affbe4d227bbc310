// A box office on its own, without clouds: `crates/ticketing/examples/stand.rs` as a child process.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { eventually, programs } from "./lab.mjs";

const READY_WITHIN_MS = 60_000;

export class Stand {
  #child;
  #lines;

  static async open() {
    const stand = new Stand();
    stand.#child = spawn(join(await programs(), "examples", "stand"), [], { stdio: ["pipe", "pipe", "inherit"] });
    stand.#lines = createInterface({ input: stand.#child.stdout })[Symbol.asyncIterator]();
    const { site } = await stand.#answer();
    stand.site = site;
    await eventually("the box office is ready", async () => (await fetch(`${site}/readyz`)).ok, READY_WITHIN_MS);
    return stand;
  }

  async #answer() {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("the box office has ended; its last words are above");
    return JSON.parse(value);
  }

  /** Moves the box office's clock forward. */
  async advance(ms) {
    this.#child.stdin.write(`advance ${ms}\n`);
    return this.#answer();
  }

  async close() {
    const ended = once(this.#child, "exit");
    this.#child.stdin.end();
    await ended;
  }
}
