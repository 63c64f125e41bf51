import { describe, expect, it } from "vitest";
import { clientOf, isIn, parseAddress, parseNetwork } from "../../src/access/ip.ts";

describe("an address", () => {
  it.each([
    ["0.0.0.0", 0xffff_0000_0000n],
    ["192.0.2.7", 0xffff_c000_0207n],
    ["::ffff:192.0.2.7", 0xffff_c000_0207n],
    ["::FFFF:c000:207", 0xffff_c000_0207n],
    ["::", 0n],
    ["::1", 1n],
    ["1::", 1n << 112n],
    ["2001:db8::1", (0x2001_0db8n << 96n) | 1n],
    ["2001:0DB8:0:0:0:0:0:1", (0x2001_0db8n << 96n) | 1n],
    ["1:2:3:4:5:6:7:8", 0x1_0002_0003_0004_0005_0006_0007_0008n],
    ["1:2:3:4:5:6:7::", 0x1_0002_0003_0004_0005_0006_0007_0000n],
    ["fe80::1%eth0", (0xfe80n << 112n) | 1n],
  ])("%s", (text, bits) => {
    expect(parseAddress(text)).toBe(bits);
  });

  it.each([
    ...["", " ", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.04", "0x1.2.3.4", "1.2.3.4.", " 1.2.3.4"],
    ...["1.2.3.4 ", "1.2.3.4:80", "1.2.3.4/32", "１.2.3.4", "localhost", "unknown", "_hidden", "1.2.3.4@5.6.7.8", "*"],
    ...[
      ":",
      ":::",
      "1::2::3",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "12345::",
      "g::",
      "[::1]",
      "::1]",
      "::1.2.3",
      "::1/64",
    ],
    ...["::1]@[::2", "%", "::ffff:1.2.3.4.5", "abc", "abc.", "1.2.3.abc", "1.2.3.4a", "a1.2.3.4"],
  ])("%j is none", (text) => {
    expect(parseAddress(text)).toBeNull();
  });
});

describe("a network", () => {
  const includes = (network: string, address: string) => {
    const parsed = parseNetwork(network);
    if (parsed === null) throw new Error(`${network} is none`);
    return isIn([parsed], parseAddress(address));
  };

  it.each([
    ["10.0.0.0/8", "10.0.0.0", "9.255.255.255"],
    ["10.0.0.0/8", "10.255.255.255", "11.0.0.0"],
    ["1.2.3.4", "1.2.3.4", "1.2.3.40"],
    ["1.2.3.4/32", "1.2.3.4", "1.2.3.5"],
    ["1.2.3.4/32", "::ffff:1.2.3.4", "::1.2.3.4"],
    ["::ffff:1.2.3.0/120", "1.2.3.4", "1.2.4.4"],
    ["0.0.0.0/0", "255.255.255.255", "::1"],
    ["2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"],
    ["2001:db8::/32", "2001:db8::", "2001:db7:ffff::"],
    ["::1", "::1", "::2"],
    ["fc00::/7", "fdff::1", "fe00::1"],
    ["192.0.2.128/25", "192.0.2.128", "192.0.2.127"],
  ])("%s has %s and not %s", (network, inside, outside) => {
    expect(includes(network, inside)).toBe(true);
    expect(includes(network, outside)).toBe(false);
  });

  it("::/0 has all", () => {
    expect(includes("::/0", "::1") && includes("::/0", "1.2.3.4")).toBe(true);
  });

  it.each([
    ...[
      "",
      "/8",
      "10.0.0.0/",
      "10.0.0.0/33",
      "10.0.0.0/-1",
      "10.0.0.0/08",
      "10.0.0.0/8.0",
      "10.0.0.0/ 8",
      "10.0.0.0/8/8",
    ],
    ...["10.0.0.1/8", "2001:db8::1/32", "::/129", "10.0.0.0/255.0.0.0", "10.*", "localhost", "10.0.0.0-10.0.0.9"],
    ...["x\n10.0.0.0/8", "10.0.0.0/8\n", "10.0.0.0\n/8", "::/1234"],
  ])("%j is none", (text) => {
    expect(parseNetwork(text)).toBeNull();
  });

  it("no address is in no network", () => {
    expect(isIn([{ bits: 0n, shift: 128n }], null)).toBe(false);
  });
});

describe("one client", () => {
  const client = (text: string) => clientOf(parseAddress(text));

  it("is an IPv4 address, mapped or not", () => {
    expect(client("192.0.2.7")).toBe(client("::ffff:192.0.2.7"));
    expect(client("192.0.2.7")).not.toBe(client("192.0.2.8"));
  });

  it("whose address is not known is nobody in particular", () => {
    expect(clientOf(null)).toBe("");
  });

  it("is the /64 of an IPv6 address", () => {
    expect(client("2001:db8:0:1::1")).toBe(client("2001:db8:0:1:ffff:ffff:ffff:ffff"));
    expect(client("2001:db8:0:1::1")).not.toBe(client("2001:db8:0:2::1"));
  });
});
