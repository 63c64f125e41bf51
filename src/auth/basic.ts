import { bytesOfBase64 } from "../core/bytes.ts";
import { credentialsOf } from "./authorization.ts";
import { digestOf, isSameDigest } from "./digest.ts";
import type { Principal } from "./principal.ts";
import {
  type AuthStrategy,
  ask,
  type GetCredentials,
  principalOf,
  type StrategyContext,
  setting,
  type VerifyCredentials,
  warnShort,
} from "./strategy.ts";

export interface BasicCredentials {
  username: string;
  password: string;
}

export interface BasicOptions {
  username?: string | undefined;
  password?: string | undefined;
  env?:
    | {
        /** The variable with the user name; `"KV_USERNAME"`. */
        username?: string | undefined;
        /** The variable with the password; `"KV_PASSWORD"`. */
        password?: string | undefined;
      }
    | undefined;
  /** Where a request has its user name and password; `Authorization: Basic` by default. */
  getCredentials?: GetCredentials<BasicCredentials> | undefined;
  /** Decides about a user name and password in place of those that are configured. */
  verifyCredentials?: VerifyCredentials<BasicCredentials> | undefined;
}

/** A shorter password is warned about: that many NIST SP 800-63B asks of any. */
const PASSWORD_CHARACTERS = 8;

/** Lets in who sends the user name and the password, with the scope `admin`; `null` where they are not configured. */
export function basic(options: BasicOptions, context: StrategyContext): AuthStrategy | null {
  const { warn } = context;
  const { getCredentials = headerOf, verifyCredentials } = options;
  const { username: usernameVariable = "KV_USERNAME", password: passwordVariable = "KV_PASSWORD" } = options.env ?? {};
  const user = setting(context, options.username, "auth.basic.username", usernameVariable);
  const pass = setting(context, options.password, "auth.basic.password", passwordVariable);
  const { value: username } = user;
  const { value: password } = pass;
  const configured = username !== undefined && password !== undefined;
  if (verifyCredentials === undefined && !configured) {
    if (username !== undefined || password !== undefined) {
      const missing = username === undefined ? user.source : pass.source;
      warn(`Nobody gets in by Basic: ${missing} is not set`);
    }
    return null;
  }
  if (username?.includes(":")) {
    throw new TypeError(`${user.source}: expected a user name without ":"`);
  }
  warnShort(password, pass.source, PASSWORD_CHARACTERS, warn);
  const digest = (...pair: (string | undefined)[]) => digestOf(JSON.stringify(pair));
  const known = digest(username, password);

  async function isKnown(given: BasicCredentials): Promise<boolean> {
    return isSameDigest(await known, await digest(given.username, given.password)) && configured;
  }

  return {
    name: "basic",
    challenge: 'Basic realm="kv", charset="UTF-8"',
    async verify(request, requestEnv, attempts) {
      const given = await ask("auth.basic.getCredentials", warn, getCredentials, request, requestEnv);
      if (!given) return null;
      attempts?.check(given.username);
      const verdict =
        verifyCredentials === undefined
          ? await isKnown(given)
          : await ask("auth.basic.verifyCredentials", warn, verifyCredentials, given, requestEnv);
      const principal: Principal = { id: given.username, strategy: "basic", scope: "admin" };
      // Others may have failed meanwhile: of attempts made at once no more than so many count.
      attempts?.check(given.username);
      const accepted = principalOf(verdict, principal);
      if (accepted === null) attempts?.failed(given.username);
      return accepted;
    },
  };
}

const strictDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** RFC 7617: what stands before the first colon is the user name, all after it the password; neither has control characters. */
function headerOf(request: Request): BasicCredentials | null {
  const credentials = credentialsOf(request, "basic");
  try {
    const pair = strictDecoder.decode(bytesOfBase64(credentials ?? ""));
    const [, username = "", password] = /^([^:\p{Cc}]*):(\P{Cc}*)$/u.exec(pair) ?? [];
    return password === undefined ? null : { username, password };
  } catch {
    return null;
  }
}
