/** Requests that are made to cost much: each is answered in few words. What they cost is measured by bench/attacks.ts. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { ATTACKS } from "../../bench/attacks/attacks.ts";
import { startService, type TestService } from "../support.ts";

let service: TestService;

beforeAll(async () => {
  service = await startService();
});
afterAll(() => service[Symbol.asyncDispose]());

/** The longest answer to what is refused, in bytes. */
const REFUSAL_BYTES = 20_000;

it.each(ATTACKS.map((attack) => [attack.name, attack] as const))("%s", { timeout: 60_000 }, async (_name, attack) => {
  const { method = "POST", path = "/v1/kv", headers = {}, status } = attack;
  const body = attack.body();
  const answer = await service.call(method, path, { ...(body !== "" && { body }), headers, contract: false });
  expect(answer.status).toBe(status);
  expect(answer.json).toMatchObject({ status, success: status === 200 });
  if (status !== 200) expect(answer.text.length).toBeLessThan(REFUSAL_BYTES);
  if (method === "PUT" && status === 200)
    expect(answer.text === body.replace('"value"', '"status":200,"success":true,"data"')).toBe(true);
});
