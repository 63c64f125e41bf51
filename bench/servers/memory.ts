/**
 * The baseline B: a plain `node:http` server that gives the service's answers from memory, byte for byte, without asking who
 * wants them. A write is answered with the body that came.
 *
 *   node bench/servers/memory.ts PORT CAPTURED '[FILL…]'
 */
import { createServer } from "node:http";
import { groupsOf, HOT } from "../harness/data.ts";
import { answerWrite, KEEP_ALIVE_MS, lengthName, type Model, modelOf, readBody } from "./answer.ts";
import { OPEN, PUT_OPEN, readCaptured } from "./captured.ts";

/** With a small body as text: node:http sends that with the header in one piece. */
type Answer = Model & { body: string | Buffer };

const TEXT_BYTES = 65_536;
const [port, file = "", fills = "[]"] = process.argv.slice(2);
const captured = readCaptured(file);
const answers = new Map<string, Answer>();
for (const [asked, answer] of captured) {
  const body = answer.body.length <= TEXT_BYTES ? answer.body.toString() : answer.body;
  answers.set(asked, { ...modelOf(answer, body), body });
}
const model = captured.get(`GET /v1/kv/${HOT}`);
if (model === undefined) throw new Error(`There is no answer to GET ${HOT} in ${file}`);
for (const fill of JSON.parse(fills)) {
  for (const group of groupsOf(fill)) {
    for (const [name, value] of group) {
      const body = `${OPEN}${value}}`;
      answers.set(`GET /v1/kv/${name}`, { ...modelOf(model, body), body });
    }
  }
}
const written = answers.get("PUT") ?? { status: 500, headers: {} };
const length = lengthName(written);

const server = createServer((request, response) => {
  if (request.method === "PUT") {
    readBody(request, (body) => answerWrite(response, written, length, [OPEN, body.subarray(PUT_OPEN.length)]));
    return;
  }
  const match = request.headers["if-none-match"];
  const answer = answers.get(`GET ${request.url}${match === undefined ? "" : ` ${match}`}`);
  if (answer === undefined) response.writeHead(404).end();
  else response.writeHead(answer.status, answer.headers).end(answer.body);
});
server.keepAliveTimeout = KEEP_ALIVE_MS;
server.listen(Number(port), "127.0.0.1");
