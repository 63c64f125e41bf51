import { describe, expect, it } from "vitest";
import { clientAddress } from "../../src/access/forwarded.ts";
import { type Network, parseAddress, parseNetwork } from "../../src/access/ip.ts";

const networks = (...list: string[]) => list.map((text) => parseNetwork(text) as Network);
const PROXIES = networks("10.0.0.0/8", "2001:db8::/32");

function client(socket: string, trusted: number | Network[], fields: Record<string, string>) {
  const address = clientAddress(socket, new Headers(fields), trusted);
  return address === null ? null : address;
}
const is = (text: string) => parseAddress(text);
/** An address with something before or behind it. */
const ALMOST = ["x[2a00::1]", "[2a00::1]x", "[2a00::1]:", "[2a00::1]:8x", "x2.2.2.2:80", "2.2.2.2:80x", "2.2.2.2:"];

describe("the client behind proxies", () => {
  it("is the socket's own, whatever the request says, where no proxy is trusted", () => {
    expect(client("1.1.1.1", 0, { "X-Forwarded-For": "2.2.2.2", Forwarded: "for=2.2.2.2" })).toBe(is("1.1.1.1"));
    expect(client("1.1.1.1", PROXIES, { "X-Forwarded-For": "2.2.2.2" })).toBe(is("1.1.1.1"));
  });

  it("is the first from the right that no trusted proxy has", () => {
    const forged = { "X-Forwarded-For": "6.6.6.6, 2.2.2.2, 10.0.0.2" };
    expect(client("10.0.0.1", PROXIES, forged)).toBe(is("2.2.2.2"));
    expect(client("::ffff:10.0.0.1", PROXIES, { "X-Forwarded-For": "2.2.2.2" })).toBe(is("2.2.2.2"));
    expect(client("2001:db8::5", PROXIES, { "X-Forwarded-For": "2a00::1" })).toBe(is("2a00::1"));
  });

  it("is so many hops from the right, and no further", () => {
    const fields = { "X-Forwarded-For": "6.6.6.6, 2.2.2.2, 3.3.3.3" };
    expect(client("10.0.0.1", 1, fields)).toBe(is("3.3.3.3"));
    expect(client("10.0.0.1", 2, fields)).toBe(is("2.2.2.2"));
    expect(client("10.0.0.1", 9, { "X-Forwarded-For": "2.2.2.2" })).toBe(is("2.2.2.2"));
    expect(client("10.0.0.1", 1, {})).toBe(is("10.0.0.1"));
  });

  it("is a proxy itself where the chain holds nothing else", () => {
    expect(client("10.0.0.1", PROXIES, { "X-Forwarded-For": "10.0.0.9" })).toBe(is("10.0.0.9"));
  });

  it.each(["unknown", "", "a, b", "2.2.2.2,", "2.2.2.2;", "999.1.1.1", "2.2.2.2 3.3.3.3", ...ALMOST])(
    "is nobody where the trusted proxy's word is %j",
    (word) => {
      expect(client("10.0.0.1", PROXIES, { "X-Forwarded-For": word })).toBeNull();
    },
  );

  it.each([
    ["2.2.2.2:5678", "2.2.2.2"],
    ["[2a00::1]:5678", "2a00::1"],
    ["[2a00::1]", "2a00::1"],
    ["  2.2.2.2\t", "2.2.2.2"],
  ])("%j is %s", (word, address) => {
    expect(client("10.0.0.1", PROXIES, { "X-Forwarded-For": word })).toBe(is(address));
  });
});

describe("Forwarded (RFC 7239)", () => {
  it.each([
    ["for=2.2.2.2", "2.2.2.2"],
    ["For=2.2.2.2;proto=https;by=203.0.113.43", "2.2.2.2"],
    ["proto=http ; for=2.2.2.2", "2.2.2.2"],
    ['for="[2a00::1]:4711"', "2a00::1"],
    ['for="2.2.2.2:80"', "2.2.2.2"],
    ['for=6.6.6.6, for="2.2.2.2", for=10.1.1.1', "2.2.2.2"],
    ['for=6.6.6.6;host="a,b", for=2.2.2.2', "2.2.2.2"],
    ['host="x;for=6.6.6.6";for=2.2.2.2', "2.2.2.2"],
  ])("%s names %s", (field, address) => {
    expect(client("10.0.0.1", PROXIES, { Forwarded: field })).toBe(is(address));
  });

  it.each(["for=unknown", "for=_hidden", "by=2.2.2.2", 'for="2.2.2.2', 'for="6.6.6.6, for=2.2.2.2', "2.2.2.2", ""])(
    "%j names nobody",
    (field) => {
      expect(client("10.0.0.1", PROXIES, { Forwarded: field })).toBeNull();
    },
  );

  it.each(["x for=2.2.2.2", "=x;for=2.2.2.2", "for=2.2.2.2 x", "for=2.2.2.2;x", 'for=2.2.2.2"'])(
    "%j is no element, and so names nobody",
    (field) => {
      expect(client("10.0.0.1", PROXIES, { Forwarded: field })).toBeNull();
    },
  );

  it.each(ALMOST)('for="%s" names nobody', (node) => {
    expect(client("10.0.0.1", PROXIES, { Forwarded: `for="${node}"` })).toBeNull();
  });

  it("and X-Forwarded-For must agree: one of them may come from outside", () => {
    const fields = { Forwarded: "for=2.2.2.2", "X-Forwarded-For": "2.2.2.2" };
    expect(client("10.0.0.1", PROXIES, fields)).toBe(is("2.2.2.2"));
    expect(client("10.0.0.1", PROXIES, { ...fields, Forwarded: "for=6.6.6.6" })).toBeNull();
    expect(client("10.0.0.1", PROXIES, { ...fields, "X-Forwarded-For": "6.6.6.6" })).toBeNull();
  });

  it("a long field takes no long time", () => {
    const field = `${"for=1.2.3.4;a=b,".repeat(900)}for=2.2.2.2`;
    expect(client("10.0.0.1", PROXIES, { Forwarded: field })).toBe(is("2.2.2.2"));
    expect(client("10.0.0.1", PROXIES, { Forwarded: "a=b;".repeat(4000) })).toBeNull();
    expect(client("10.0.0.1", PROXIES, { Forwarded: `for="${"\\\\".repeat(8000)}` })).toBeNull();
    expect(client("10.0.0.1", PROXIES, { Forwarded: " ".repeat(16_000).concat("x") })).toBeNull();
  });
});
