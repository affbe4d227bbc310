// The lab as an operator has it: `ghostlight up` as a child process, everything else as commands beside it.
//
// Every process that a lab starts inherits a mark in its environment, so that what is left of it can be found,
// whatever it is called and whoever its parent has become.

import { execFile, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { chmod, mkdtemp, open, readFile, readdir, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const MARK = "GHOSTLIGHT_E2E";
/** Two busy cores, databases that are made anew: a minute is a lot, three are a fault. */
const UP_WITHIN_MS = 180_000;
const END_WITHIN_MS = 60_000;

const run = promisify(execFile);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** Asks until the answer is neither `undefined` nor `false`. */
export async function eventually(what, ask, within_ms) {
  const started = Date.now();
  let last;
  for (;;) {
    try {
      const answer = await ask();
      if (answer !== undefined && answer !== false) return answer;
      last = undefined;
    } catch (e) {
      last = e;
    }
    if (Date.now() - started > within_ms) {
      throw new Error(`${what}: not within ${within_ms / 1000} s`, { cause: last });
    }
    await pause(100);
  }
}

/** The folder with the programs: `GHOSTLIGHT_PROGRAMS`, or where cargo builds them. */
let known;
export async function programs() {
  known ??= process.env.GHOSTLIGHT_PROGRAMS ?? await (async () => {
    const here = fileURLToPath(new URL(".", import.meta.url));
    const question = ["metadata", "--format-version", "1", "--no-deps"];
    const { stdout } = await run("cargo", question, { cwd: here, maxBuffer: 64 << 20 });
    return join(JSON.parse(stdout).target_directory, "debug");
  })();
  return known;
}

/** Runs `ghostlight` to its end; after `within_ms` it is asked to end. Its stderr goes to ours, unless `quiet`. */
export async function ghostlight(args, { mark = randomUUID(), within_ms = 60_000, quiet = false } = {}) {
  const child = spawn(join(await programs(), "ghostlight"), ["--die-with-parent", ...args], {
    env: { ...process.env, [MARK]: mark },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text) => { stdout += text; });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    stderr += text;
    if (!quiet) process.stderr.write(text);
  });
  const late = setTimeout(() => child.kill("SIGTERM"), within_ms);
  const later = setTimeout(() => child.kill("SIGKILL"), within_ms + END_WITHIN_MS);
  const [code, signal] = await once(child, "close");
  clearTimeout(late);
  clearTimeout(later);
  return { code, signal, stdout, stderr };
}

/** The JSON lines of a drill: its rounds and its summary. */
export function lines(stdout) {
  const all = stdout.split("\n").filter(Boolean).map((line) => JSON.parse(line));
  return { rounds: all.filter((line) => !line.summary), summary: all.at(-1)?.summary };
}

/** Processes that carry `mark`, as `pid name`; the dead that nobody has waited for yet do not count. */
export async function left(mark) {
  const found = [];
  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    try {
      const environment = await readFile(`/proc/${pid}/environ`, "utf8");
      if (environment.split("\0").includes(`${MARK}=${mark}`)) {
        found.push(`${pid} ${(await readFile(`/proc/${pid}/comm`, "utf8")).trim()}`);
      }
    } catch { /* It has ended, or it is somebody else's. */ }
  }
  return found;
}

async function free_port() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** A running lab with a front door. */
export class Lab {
  /** Starts one in a folder of its own, on a free number and port, and waits until both sites are in `sync`. */
  static async up() {
    const lab = new Lab();
    lab.mark = randomUUID();
    lab.root = await mkdtemp("/var/tmp/ghostlight-e2e-");
    await chmod(lab.root, 0o755); // the databases' own user passes through
    lab.folder = join(lab.root, "lab");
    lab.port = await free_port();
    lab.site = `http://localhost:${lab.port}`;
    const talk = await open(join(lab.root, "up.log"), "w");
    const args = ["--die-with-parent", "up", "--folder", lab.folder, "--lab-number", "any", "--port", String(lab.port)];
    lab.child = spawn(join(await programs(), "ghostlight"), args, {
      env: { ...process.env, [MARK]: lab.mark },
      stdio: ["ignore", talk.fd, talk.fd],
    });
    lab.ended = once(lab.child, "exit").then(([code, signal]) => ({ code, signal }));
    await talk.close();
    let over = false;
    lab.ended.then(() => { over = true; });
    await eventually("both sites in sync", async () => {
      if (over) return "ended";
      return (await lab.mode()) === "sync";
    }, UP_WITHIN_MS);
    if (over) throw new Error(`ghostlight up ended by itself:\n${await lab.talk()}`);
    return lab;
  }

  /** What `up` has said. */
  async talk() {
    return readFile(join(this.root, "up.log"), "utf8");
  }

  config() {
    return ["--config", join(this.folder, "ghostlight.toml")];
  }

  async status() {
    const { stdout, stderr } = await ghostlight([...this.config(), "status", "--json"], { mark: this.mark, quiet: true });
    if (!stdout) throw new Error(stderr);
    return JSON.parse(stdout);
  }

  async register() {
    const { register } = await this.status();
    if (!register.Ok) throw new Error(register.Err);
    return register.Ok;
  }

  async mode() {
    return (await this.register()).mode;
  }

  /** Ctrl-C, and what is left then: how it ended, and processes that should not be there. */
  async interrupt() {
    this.child.kill("SIGINT");
    const late = setTimeout(() => this.child.kill("SIGKILL"), END_WITHIN_MS);
    const ended = await this.ended;
    clearTimeout(late);
    return { ...ended, left: await left(this.mark) };
  }

  /** For the end of a test that may have failed: kills what runs; removes the folder only if all went well. */
  async end(went_well) {
    if (this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill("SIGKILL");
      await this.ended;
      await eventually("nothing is left", async () => (await left(this.mark)).length === 0, END_WITHIN_MS);
    }
    if (went_well) {
      await rm(this.root, { recursive: true, force: true });
    } else {
      console.error(`the lab's files are kept in ${this.root} for a look`);
    }
  }
}
