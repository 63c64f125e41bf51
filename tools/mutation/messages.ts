/** What is not mutated: the words of errors and log lines, which are for people and no contract. Their codes are mutated. */
import { declareValuePlugin, PluginKind } from "@stryker-mutator/api/plugin";

/** Functions whose text is for people, and which argument that is. */
const WORDS: Readonly<Record<string, number>> = {
  Error: 0,
  TypeError: 0,
  KvError: 1,
  invalid: 1,
  tooMany: 0,
  warn: 0,
  // What the scanner of JSON expects in each state, in words.
  state: 0,
  path: 1,
};

/** What is used of Babel's path to a node of the syntax tree. */
interface Path {
  node: { type: string; callee?: { type: string; name: string }; arguments?: readonly unknown[] };
  parentPath: Path | null;
}

/** Whether a text stands, alone or within an expression, where words do. */
function isWords(path: Path): boolean {
  if (path.node.type !== "StringLiteral" && path.node.type !== "TemplateLiteral") return false;
  let argument = path;
  while (argument.parentPath !== null && argument.parentPath.node.arguments === undefined)
    argument = argument.parentPath;
  const { callee, arguments: given } = argument.parentPath?.node ?? {};
  return given !== undefined && given.indexOf(argument.node) === WORDS[`${callee?.name}`];
}

export const strykerPlugins = [
  declareValuePlugin(PluginKind.Ignore, "messages", {
    shouldIgnore: (path) => (isWords(path as Path) ? "words for people" : undefined),
  }),
];
