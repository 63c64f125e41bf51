import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { startCommand } from "./command.ts";
import { request } from "./support.ts";

const CANARY = "canary-7f3a9c51e0b24d68a1c5";

it("no secret is in any answer, log line, error or file beside the database", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kv-secrets-"));
  const env = {
    KV_API_KEY: `${CANARY}-key`,
    KV_READ_API_KEY: `${CANARY}-read`,
    KV_USERNAME: "admin",
    KV_PASSWORD: `${CANARY}-password`,
    KV_JWT_SECRET: `${CANARY}-jwt-secret-of-32-bytes-or-more`,
  };
  const answers: string[] = [];
  try {
    await using command = await startCommand(folder, { env });
    const credentials = [
      `Bearer ${CANARY}-key`,
      `Bearer ${CANARY}-read`,
      `Bearer ${CANARY}-wrong`,
      `Basic ${btoa(`admin:${CANARY}-password`)}`,
      `Basic ${btoa(`admin:${CANARY}-wrong`)}`,
      `Bearer ${CANARY}.${CANARY}.${CANARY}`,
      `Bearer ${CANARY}-key, Bearer ${CANARY}-key`,
      `Nonsense ${CANARY}`,
    ];
    for (const Authorization of credentials) {
      for (const [method, path] of [
        ["GET", "/admin/info"],
        ["POST", "/admin/migrate"],
        ["GET", "/v1/kv"],
        ["GET", "/v1/kv/absent"],
        ["GET", `/v1/kv?api_key=${CANARY}`],
        ["PUT", "/v1/kv/a"],
        ["GET", "/nowhere"],
        ["GET", "/open-api.json"],
      ] as const) {
        const options = { headers: { Authorization }, ...(method === "PUT" && { body: { wrong: 1 } }) };
        const { status, text, headers } = await request(command.url + path, method, options);
        expect(status).toBeLessThan(500);
        answers.push(text, JSON.stringify([...headers]));
      }
    }
    expect(answers.some((answer) => answer.includes("unauthorized"))).toBe(true);
    expect(answers.some((answer) => answer.includes('"engine":"sqlite"'))).toBe(true);
    expect(await command.kill("SIGTERM")).toBe(0);
    for (const file of readdirSync(folder)) answers.push(readFileSync(join(folder, file), "latin1"));
    expect(command.output()).toContain("/admin/info");
    for (const text of [...answers, command.output()]) {
      expect(text).not.toContain("canary");
      expect(text).not.toContain(btoa(`admin:${CANARY}-password`).slice(8, 40));
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

it("a refusal at start quotes no secret", async () => {
  const folder = mkdtempSync(join(tmpdir(), "kv-secrets-"));
  try {
    for (const env of [
      { KV_API_KEY: "x".repeat(24), KV_JWT_SECRET: "canary" },
      { KV_API_KEY: "x".repeat(24), KV_DB: "postgres://canary:canary@127.0.0.1:1/kv" },
      { KV_API_KEY: "x".repeat(24), KV_JWKS_URL: "http://canary:canary@example.com/jwks" },
    ]) {
      const failure = await startCommand(folder, { env }).then(
        () => "it started",
        (error: Error) => error.message,
      );
      expect(failure).toMatch(/the command ended with 1: .*KV_(JWT_SECRET|DB|JWKS_URL)/);
      expect(failure).not.toContain("canary");
      expect(failure.trim().split("\n")).toHaveLength(1);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
