import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, realpathSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { startCommand } from "../command.ts";
import { KEY, request } from "../support.ts";
import { heldBy } from "./load.ts";
import { buildShim, noShim } from "./shim.ts";

interface SmallDisk extends Disposable {
  folder: string;
  env: Record<string, string>;
  /** Takes all the room there is. */
  fill(): void;
  /** Gives it back. */
  free(): void;
}

const temporary = () => realpathSync(mkdtempSync(join(tmpdir(), "kv-full-")));

/** A disk of 8 MiB, where file systems may be mounted. */
function mounted(): SmallDisk {
  const folder = temporary();
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], { stdio: "ignore" });
  const ballast = join(folder, "ballast");
  const fill = () => {
    const file = openSync(ballast, "w");
    try {
      for (;;) writeSync(file, Buffer.alloc(4096));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    } finally {
      closeSync(file);
    }
  };
  return {
    folder,
    env: {},
    fill,
    free: () => rmSync(ballast),
    [Symbol.dispose]() {
      execFileSync("umount", ["--lazy", folder]);
      rmSync(folder, { recursive: true });
    },
  };
}

/** A disk whose every write is refused while it is full. */
function pretended(): SmallDisk {
  const folder = temporary();
  const shim = buildShim();
  return {
    folder,
    env: shim.env(folder),
    fill: () => shim.set("full"),
    free: () => shim.set("none"),
    [Symbol.dispose]() {
      shim[Symbol.dispose]();
      rmSync(folder, { recursive: true });
    },
  };
}

function canMount(): boolean {
  try {
    mounted()[Symbol.dispose]();
    return true;
  } catch {
    return false;
  }
}

const DISKS = [
  ...(canMount() ? [["a small file system", mounted] as const] : []),
  ...(noShim ? [] : [["writes that fail with ENOSPC", pretended] as const]),
];
if (noShim && process.env.CI) it("a full disk can be tested", () => expect(noShim).toBe(false));

describe.each(DISKS)("a full disk: %s", (_, make) => {
  it("refuses what does not fit with 507 and changes nothing, reads on, and writes again once there is room", async () => {
    using disk = make();
    const start = () => startCommand(disk.folder, { env: { KV_API_KEY: KEY, ...disk.env } });
    await using service = await start();
    const held = new Map<string, string>();
    const put = async (key: string, value: string) => {
      const { status, json } = await request(`${service.url}/v1/kv/${key}`, "PUT", { body: { value } });
      if (status === 200) held.set(key, value);
      else expect([status, json.error, json.detail]).toEqual([507, "storage_full", FULL]);
      return status;
    };
    const putMany = (name: string, length: number) =>
      Promise.all(Array.from({ length: 40 }, (_, index) => put(`${name}/${index}`, name.repeat(length))));

    expect(await putMany("a", 1000)).toEqual(Array(40).fill(200));
    disk.fill();
    const value = "x".repeat(100_000);
    const batch = async () => {
      const operations = [
        { op: "put", key: "a/0", value },
        { op: "delete", key: "a/1" },
      ];
      const { status, json } = await request(`${service.url}/v1/kv`, "POST", { body: { operations, atomic: true } });
      if (status !== 200) expect([status, json.detail]).toEqual([507, FULL]);
      else if (held.set("a/0", value)) held.delete("a/1");
      return status;
    };
    // What room the files have left is used up first, and the log's own once more when it begins anew.
    let rounds = 0;
    while ((await putMany("b", 60_000)).includes(200) || (await batch()) === 200) expect(++rounds).toBeLessThan(20);

    expect(await heldBy(service.url)).toEqual(held);
    expect((await request(`${service.url}/ready`, "GET")).status).toBe(200);
    expect(service.output()).toContain("error PUT failed: storage_full: The disk is full; nothing was changed");
    expect(service.output()).toContain("database or disk is full");

    disk.free();
    expect(await putMany("d", 1000)).toEqual(Array(40).fill(200));
    expect(await heldBy(service.url)).toEqual(held);

    disk.fill();
    await service.kill("SIGKILL");
    disk.free();
    await using again = await start();
    expect(await heldBy(again.url)).toEqual(held);
  });

  it("is no reason not to start where the log's index has room: reads are answered, and writes once there is more", async () => {
    using disk = make();
    const env = { KV_API_KEY: KEY, ...disk.env };
    const first = await startCommand(disk.folder, { env });
    const put = (url: string, value: string) => request(`${url}/v1/kv/a`, "PUT", { body: { value } });
    expect((await put(first.url, "old")).status).toBe(200);
    await first.kill("SIGKILL");
    disk.fill();
    if (make === pretended) {
      await expect(startCommand(disk.folder, { env })).rejects.toThrow(
        /ended with 1: .*: the disk is full; make room\n$/,
      );
      return;
    }
    await using service = await startCommand(disk.folder, { env });
    expect((await request(`${service.url}/v1/kv/a`, "GET")).json.data).toBe("old");
    expect((await put(service.url, "new".repeat(50_000))).status).toBe(507);
    disk.free();
    expect((await put(service.url, "new")).status).toBe(200);
  });
});

const FULL = "The disk is full; nothing was changed";
