/** What `getCredentials` and `verifyCredentials` are held to, whatever the strategy. */
import { describe, expect, it } from "vitest";
import type { AuthOptions } from "../../src/auth/authenticate.ts";
import type { GetCredentials, Verdict, VerifyCredentials } from "../../src/auth/strategy.ts";
import { answerLate, startWatched } from "./support.ts";

interface Callbacks<C, V> {
  getCredentials?: GetCredentials<C>;
  verifyCredentials?: VerifyCredentials<V>;
}

/** A strategy whose `getCredentials` reads a `C` and whose `verifyCredentials` is given a `V`. */
interface Subject<C, V> {
  /** What the warnings call it. */
  option: "auth.apiKey" | "auth.basic" | "auth.jwt";
  /** The strategy alone, configured so that `credential` is accepted. */
  auth(callbacks: Callbacks<C, V>): AuthOptions;
  /** What a request carries. */
  authorization(): string | Promise<string>;
  /** The same credential as `getCredentials` answers it. */
  credential(): C | Promise<C>;
  /** What `verifyCredentials` is given of it. */
  verified: V;
  /** The principal without a say of `verifyCredentials`. */
  principal: { id: string; scope: string };
}

export function describeCallbacks<C, V>(subject: Subject<C, V>): void {
  const { option, auth, authorization, credential, verified, principal } = subject;
  const start = async (callbacks: Callbacks<C, V>) => {
    const service = await startWatched(auth(callbacks));
    return { service, Authorization: await authorization() };
  };

  describe("verifyCredentials", () => {
    it("is given the credential, and says who it is and what he may do", async () => {
      const other = { id: "other", scope: "write" } as const;
      const verdicts: [Verdict, object][] = [
        [true, principal],
        [{ id: "other" }, { ...principal, id: "other" }],
        [{ scope: "read" }, { ...principal, scope: "read" }],
        [other, other],
      ];
      let verdict: Verdict = false;
      const given: unknown[] = [];
      const { service, Authorization } = await start({
        verifyCredentials: async (input) => {
          given.push(input);
          return verdict;
        },
      });
      await using _ = service;
      for (const [answer, expected] of verdicts) {
        verdict = answer;
        expect((await service.get({ Authorization })).status).toBe(200);
        expect(service.callers.at(-1)).toMatchObject(expected);
      }
      expect(given).toEqual(verdicts.map(() => verified));
      verdict = { scope: "read" };
      const refused = await service.send("PUT", "/v1/kv/a", { Authorization }, { value: 1 });
      expect(refused).toMatchObject({ status: 403, json: { error: "forbidden" } });
      expect((await service.get({})).status).toBe(401);
      expect(given).toHaveLength(verdicts.length + 1);
    });

    it("refuses with anything else", async () => {
      let verdict: unknown;
      const { service, Authorization } = await start({ verifyCredentials: () => verdict as never });
      await using _ = service;
      for (verdict of [false, null, undefined, 0, 1, "", "yes", {}, [], [true], { error: "away" }, { id: undefined }]) {
        expect((await service.get({ Authorization })).status, JSON.stringify(verdict)).toBe(401);
      }
      expect(service.callers.every((caller) => caller === null)).toBe(true);
    });

    it("that throws or rejects refuses, and a warning names it", async () => {
      const failures: VerifyCredentials<V>[] = [
        () => {
          throw new Error("the directory is away");
        },
        () => Promise.reject(new Error("the directory is away")),
      ];
      for (const verifyCredentials of failures) {
        const { service, Authorization } = await start({ verifyCredentials });
        await using _ = service;
        const answer = await service.get({ Authorization });
        expect(answer).toMatchObject({ status: 401, json: { error: "unauthorized" } });
        expect(answer.text).not.toContain("directory");
        expect(service.warnings).toEqual([expect.stringMatching(`^${option}.verifyCredentials .*directory is away`)]);
      }
    });

    it("that never returns refuses after 5 s", async () => {
      const late = await answerLate((hang) => auth({ verifyCredentials: hang }), await authorization());
      const warning = expect.stringMatching(`^${option}.verifyCredentials .*5000 ms`);
      expect(late).toEqual({ status: 401, warnings: [warning] });
    });
  });

  describe("getCredentials", () => {
    it("reads the credential in place of the usual header", async () => {
      const value = await credential();
      const { service, Authorization } = await start({
        getCredentials: async (request) => (request.headers.has("X-Elsewhere") ? value : null),
      });
      await using _ = service;
      expect((await service.get({ "X-Elsewhere": "1" })).status).toBe(200);
      expect(service.callers).toEqual([expect.objectContaining(principal)]);
      expect((await service.get({ Authorization })).status).toBe(401);
    });

    it("that answers nothing, or nothing that is a credential, refuses", async () => {
      let given: unknown;
      const { service, Authorization } = await start({ getCredentials: () => given as never });
      await using _ = service;
      for (given of [null, undefined, "", "wrong", 12, {}, [], true]) {
        expect((await service.get({ Authorization })).status, JSON.stringify(given)).toBe(401);
      }
      expect(service.callers.every((caller) => caller === null)).toBe(true);
    });

    it("that throws refuses, and a warning names it", async () => {
      const { service, Authorization } = await start({
        getCredentials: () => {
          throw new Error("no such cookie");
        },
      });
      await using _ = service;
      expect((await service.get({ Authorization })).status).toBe(401);
      expect(service.warnings).toEqual([expect.stringMatching(`^${option}.getCredentials .*no such cookie`)]);
    });

    it("that never returns refuses after 5 s", async () => {
      const late = await answerLate((hang) => auth({ getCredentials: hang }), await authorization());
      const warning = expect.stringMatching(`^${option}.getCredentials .*5000 ms`);
      expect(late).toEqual({ status: 401, warnings: [warning] });
    });
  });
}
