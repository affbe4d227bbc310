// A box office on its own, without clouds: `crates/ticketing/examples/stand.rs` as a child process.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { eventually, programs } from "./lab.mjs";

const READY_WITHIN_MS = 60_000;
const LETTER_WITHIN_MS = 20_000;

export class Stand {
  #child;
  #lines;

  static async open() {
    const stand = new Stand();
    stand.#child = spawn(join(await programs(), "examples", "stand"), [], { stdio: ["pipe", "pipe", "inherit"] });
    stand.#lines = createInterface({ input: stand.#child.stdout })[Symbol.asyncIterator]();
    const { site, letters } = await stand.#answer();
    Object.assign(stand, { site, letters });
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

  /** The address in the newest letter of this kind to `to`, as a path of the site. */
  async link_in_letter(kind, to) {
    const text = await eventually(`a letter: ${kind} to ${to}`, async () => {
      const names = (await readdir(this.letters)).filter((name) => name.startsWith(kind) && name.endsWith(".eml")).sort().reverse();
      for (const name of names) {
        const [head, body] = (await readFile(join(this.letters, name), "utf8")).split("\r\n\r\n");
        if (head.includes(`To: <${to}>`)) return Buffer.from(body, "base64").toString("utf8");
      }
      return undefined;
    }, LETTER_WITHIN_MS);
    const link = text.split(/\s+/).find((word) => word.startsWith(this.site));
    return link.slice(this.site.length);
  }

  async close() {
    const ended = once(this.#child, "exit");
    this.#child.stdin.end();
    await ended;
  }
}
